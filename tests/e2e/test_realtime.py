"""OpenAI's Realtime through its real SDK: an entry a turn by the provider's own bill, and the end of the money within a turn."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close

from tests.support.gateway import ADMIN_KEY
from tests.support.processes import get
from tests.support.realtime_rig import BROKE_KEY, KEY, OTHER_KEY, POOR_KEY, RealtimeRig, nanousd, running, spent

SECOND = base64.b64encode(b"\0" * 48_000).decode()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealtimeRig]:
    with running(tmp_path_factory.mktemp("realtime")) as made:
        yield made


def sdk(rig: RealtimeRig, key: str = KEY) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{rig.url}/v1", api_key=key, max_retries=0)


def connect(rig: RealtimeRig, session: str, key: str = KEY, model: str = "gpt-realtime") -> Any:
    return sdk(rig, key).realtime.connect(model=model, extra_headers={"x-taximeter-session-id": session})


def azure(rig: RealtimeRig) -> openai.AsyncAzureOpenAI:
    at = rig.url.replace("http", "ws", 1) + "/openai"  # else it asks for wss
    return openai.AsyncAzureOpenAI(
        azure_endpoint=rig.url, websocket_base_url=at, api_key=KEY, api_version="2024-10-01-preview", max_retries=0
    )


async def until(connection: Any, kind: str) -> Any:
    async for event in connection:
        if event.type == kind:
            return event
    raise AssertionError(f"no {kind} came")


async def say(connection: Any, **orders: Any) -> None:
    content = [{"type": "input_text", "text": json.dumps(orders)}]
    await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})


async def turn(connection: Any, **orders: Any) -> Any:
    await say(connection, **orders)
    await connection.response.create()
    return await until(connection, "response.done")


async def test_each_turn_is_an_entry_at_what_the_provider_bills(rig: RealtimeRig) -> None:
    async with connect(rig, "turns") as connection:
        assert (await until(connection, "session.created")).session.model == "gpt-realtime"
        for number in range(200):
            await turn(connection, text=3 + number % 5, audio=10 * (number % 3))
        assert "taximeter_realtime_sessions 1" in get(f"{rig.gateway.admin_url}/metrics", ADMIN_KEY)[1]
    entries = rig.ended("turns", 200)
    lines = [line for line in rig.lines() if line["session"] == 1]
    assert len(entries) == len(lines) == 200
    assert {(entry["operation"], entry["status"], entry["outcome"]) for entry in entries} == {
        ("realtime", "settled", "ok")
    }
    assert spent(entries) == nanousd(lines) > 0
    assert len({entry["session_id"] for entry in entries}) == 1
    assert rig.reserved() == 0


async def test_sound_pictures_and_transcripts_have_prices_of_their_own(rig: RealtimeRig) -> None:
    """A transcript is an entry beside the turns, at the price of the model that wrote it."""
    before = len(rig.lines())
    async with connect(rig, "sound", model="voice") as connection:
        sound = {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}
        await connection.session.update(session={"type": "realtime", "model": "voice", "audio": sound})
        assert (await until(connection, "session.updated")).session.model == "gpt-realtime"
        for _ in range(3):
            for _ in range(5):
                await connection.input_audio_buffer.append(audio=SECOND)
            await connection.input_audio_buffer.commit()  # the model answers by itself
            await until(connection, "response.done")
    entries = rig.ended("sound", 6)
    assert spent(entries) == nanousd(rig.lines()[before:])
    spoken = [entry for entry in entries if entry["operation"] == "realtime"]
    written = [entry for entry in entries if entry["operation"] == "realtime.transcription"]
    assert [entry["usage"].get("audio_in") for entry in spoken] == [50, 50, 50]
    assert [entry["usage"].get("cache_read_audio", 0) for entry in spoken] == [0, 50, 100]
    assert {entry["model"] for entry in written} == {"gpt-4o-mini-transcribe"}
    assert {entry["model_requested"] for entry in spoken} == {"voice"}


async def refusal(rig: RealtimeRig, key: str, model: str = "gpt-realtime") -> tuple[int, Any]:
    """How the opening is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(rig, "refused", key, model):
            pass
    response = refused.value.response
    return response.status_code, json.loads(bytes(response.body or b"{}"))["error"]


async def test_what_may_not_be_is_refused_before_the_socket_opens(rig: RealtimeRig) -> None:
    before = len(rig.lines())
    status, error = await refusal(rig, BROKE_KEY)
    assert (status, error["code"], error["type"]) == (402, "budget_exceeded", "insufficient_quota")
    assert (await refusal(rig, "sk-nobody"))[0] == 401
    assert (await refusal(rig, OTHER_KEY))[1]["code"] == "model_not_found"  # not among the key's
    assert (await refusal(rig, KEY, "gpt-6-realtime"))[1]["code"] == "model_not_found"
    for path in ("/v1/realtime/client_secrets", "/v1/realtime/calls", "/v1/realtime/sessions"):
        response = httpx.post(rig.url + path, json={}, headers={"authorization": f"Bearer {KEY}"})
        assert (response.status_code, response.json()["error"]["code"]) == (403, "route_refused")
    plain = httpx.get(f"{rig.url}/v1/realtime?model=gpt-realtime", headers={"authorization": f"Bearer {KEY}"})
    assert (plain.status_code, plain.json()["error"]["code"]) == (426, "upgrade_required")
    assert (len(rig.lines()), rig.reserved()) == (before, 0)


async def until_closed(connection: Any, **orders: Any) -> tuple[list[Any], Close | None]:
    """Turn after turn until the socket is closed: all that came, and how it was closed."""
    events: list[Any] = []
    try:
        while True:
            with contextlib.suppress(ConnectionClosed):  # what came before is still to be read
                await say(connection, **orders)
                await connection.response.create()
            done = len(events)
            while not any(event.type == "response.done" for event in events[done:]):
                events.append(await connection.recv())
    except ConnectionClosed as closed:
        return events, closed.rcvd


async def test_a_session_ends_within_a_turn_of_its_money(rig: RealtimeRig) -> None:
    """$0.40, and a turn may cost a quarter of a dollar: when the next would not fit any more, an error says so, and the socket
    is closed."""
    async with connect(rig, "poor", POOR_KEY) as connection:
        events, closed = await until_closed(connection, text=50, audio=1000)
    turns = len([event for event in events if event.type == "response.done"])
    (error,) = [event.error for event in events if event.type == "error"]
    assert (error.code, error.type) == ("budget_exceeded", "insufficient_quota")
    assert closed is not None
    assert (closed.code, closed.reason) == (1008, "budget_exceeded")
    entries = rig.ended("poor", turns)
    assert len(entries) == turns >= 2
    (budget,) = [one for one in rig.get("/api/budgets")["items"] if one["name"] == "poor"]
    assert Decimal("0.13") < Decimal(budget["spent_usd"]) <= Decimal("0.40")
    assert Decimal(budget["reserved_usd"]) == 0


async def test_azure_names_a_deployment_in_place_of_a_model(rig: RealtimeRig) -> None:
    headers = {"x-taximeter-session-id": "azure"}
    async with azure(rig).realtime.connect(model="gpt-realtime", extra_headers=headers) as connection:
        assert (await until(connection, "session.created")).session.model == "gpt-realtime"
        await turn(connection, text=7)
    (entry,) = rig.ended("azure", 1)
    assert (entry["model"], entry["outcome"]) == ("gpt-realtime", "ok")
