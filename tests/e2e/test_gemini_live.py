"""Gemini's Live through its real SDK: an entry a turn by the provider's own bill, usage that is told twice counted once."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.realtime_rig import BROKE_KEY, KEY, OTHER_KEY, POOR_KEY, RealtimeRig, nanousd, running, spent
from tests.support.tls_front import tls_front

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
MODEL = "gemini-live-2.5-flash"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealtimeRig]:
    with running(tmp_path_factory.mktemp("live")) as made:
        yield made


@pytest.fixture(scope="module")
def secure(rig: RealtimeRig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    with tls_front(tmp_path_factory.mktemp("tls"), int(rig.url.rpartition(":")[2])) as front:
        yield front


def live(secure: tuple[int, Path], session: str, key: str = KEY, model: str = MODEL) -> Any:
    port, cert = secure
    context = ssl.create_default_context(cafile=str(cert))
    options = types.HttpOptions(
        base_url=f"https://127.0.0.1:{port}",
        headers={"x-taximeter-session-id": session},
        async_client_args={"ssl": context},
    )
    client = genai.Client(api_key=key, http_options=options)
    return client.aio.live.connect(model=model, config={"response_modalities": ["AUDIO"]})


async def turn(session: Any, **orders: Any) -> list[Any]:
    content = types.Content(role="user", parts=[types.Part(text=json.dumps(orders))])
    await session.send_client_content(turns=content, turn_complete=True)
    return [message async for message in session.receive()]


async def test_each_turn_is_an_entry_at_what_the_provider_bills(rig: RealtimeRig, secure: tuple[int, Path]) -> None:
    async with live(secure, "live", model="speaker") as session:
        for number in range(100):
            messages = await turn(session, text=2 + number % 4, audio=25 * (number % 2), twice=number % 3 == 0)
            assert messages[-1].usage_metadata is not None
    entries = rig.ended("live", 100)
    lines = [line for line in rig.lines() if line["session"] == 1]
    assert len(entries) == len(lines) == 100
    assert {(entry["operation"], entry["status"], entry["model"]) for entry in entries} == {
        ("realtime", "settled", MODEL)
    }
    assert spent(entries) == nanousd(lines) > 0
    assert rig.reserved() == 0


async def test_sound_is_heard_and_usage_behind_the_turns_end_is_its(rig: RealtimeRig, secure: tuple[int, Path]) -> None:
    before = len(rig.lines())
    async with live(secure, "heard") as session:
        await turn(session, text=1, late=True)
        for _ in range(3):
            for _ in range(10):
                await session.send_realtime_input(audio=types.Blob(data=b"\0" * 6400, mime_type="audio/pcm;rate=16000"))
            await session.send_realtime_input(audio_stream_end=True)
            async for _ in session.receive():
                pass
        await turn(session, text=1)
    entries = rig.ended("heard", 5)
    assert spent(entries) == nanousd(rig.lines()[before:])
    assert [entry["usage"].get("audio_in", 0) for entry in entries] == [0, 50, 100, 150, 150]
    assert {entry["usage_source"] for entry in entries} == {"provider"}


async def test_the_end_of_the_money_closes_the_session_as_google_does(
    rig: RealtimeRig, secure: tuple[int, Path]
) -> None:
    """A turn of this model may cost three quarters of a dollar in sound: the cap that the client sets makes it fit."""
    with pytest.raises((errors.APIError, ConnectionClosed)) as refused:  # by what the SDK was at
        await _poor(secure)
    assert "1011" in str(refused.value)
    assert "RESOURCE_EXHAUSTED: budget_exceeded" in str(refused.value)
    turns = len(rig.ended("poor", 3))  # the ledger has them a moment later
    (budget,) = [one for one in rig.get("/api/budgets")["items"] if one["name"] == "poor"]
    assert Decimal(budget["spent_usd"]) <= Decimal("0.40")
    assert (Decimal(budget["reserved_usd"]), turns > 2) == (0, True)


async def _poor(secure: tuple[int, Path]) -> None:
    port, cert = secure
    context = ssl.create_default_context(cafile=str(cert))
    options = types.HttpOptions(
        base_url=f"https://127.0.0.1:{port}",
        headers={"x-taximeter-session-id": "poor"},
        async_client_args={"ssl": context},
    )
    client = genai.Client(api_key=POOR_KEY, http_options=options)
    async with client.aio.live.connect(model=MODEL, config={"max_output_tokens": 5000}) as session:
        while True:
            await turn(session, audio=4000)


async def test_what_may_not_be_is_refused(rig: RealtimeRig, secure: tuple[int, Path]) -> None:
    before = len(rig.lines())
    with pytest.raises(errors.APIError, match="model_not_found"):
        async with live(secure, "no", OTHER_KEY):
            pass
    with pytest.raises(InvalidStatus) as unknown:
        async with live(secure, "no", "sk-nobody"):
            pass
    assert unknown.value.response.status_code == 401
    for first in (b"{}", b"[]", b"no json", json.dumps({"setup": {"model": f"models/{MODEL}", "Tools": []}}).encode()):
        async with connect(f"{rig.url.replace('http', 'ws')}{PATH}?key={KEY}") as socket:
            await socket.send(first.decode())
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1007
    assert (len(rig.lines()), rig.reserved()) == (before, 0)


async def test_a_key_in_the_address_is_nobody_elses_to_read(rig: RealtimeRig) -> None:
    """It is neither logged nor passed on: the provider refuses whoever shows it one."""
    async with connect(f"{rig.url.replace('http', 'ws')}{PATH}?key={KEY}") as socket:
        await socket.send(json.dumps({"setup": {"model": f"models/{MODEL}"}}))
        assert json.loads(await socket.recv()) == {"setupComplete": {}}
    assert KEY not in rig.gateway.log.read_text()


async def test_a_spent_budget_opens_nothing(rig: RealtimeRig) -> None:
    """The model is not known before the socket is open; that nothing is left is."""
    async with connect(f"{rig.url.replace('http', 'ws')}{PATH}?key={BROKE_KEY}") as socket:
        await socket.send(json.dumps({"setup": {"model": f"models/{MODEL}"}}))
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.reason.startswith("RESOURCE_EXHAUSTED: budget_exceeded")


async def test_another_teams_session_is_not_gone_on_with(rig: RealtimeRig, secure: tuple[int, Path]) -> None:
    handle = "a-handle-that-nobody-guesses"
    async with live(secure, "resumed") as session:
        messages = await turn(session, text=1, handle=handle)
    assert handle in [one.session_resumption_update.new_handle for one in messages if one.session_resumption_update]

    async def resumed(key: str) -> str:
        """The reason of its close; "" where it is open."""
        async with connect(f"{rig.url.replace('http', 'ws')}{PATH}?key={key}") as socket:
            setup = {"model": f"models/{MODEL}", "sessionResumption": {"handle": handle}}
            await socket.send(json.dumps({"setup": setup}))
            try:
                assert "setupComplete" in json.loads(await socket.recv())
            except ConnectionClosed as closed:
                return str(closed.rcvd and closed.rcvd.reason)
            return ""

    assert "NOT_FOUND" in await resumed(POOR_KEY)
    assert await resumed(KEY) == ""
    assert handle not in rig.gateway.log.read_text()
