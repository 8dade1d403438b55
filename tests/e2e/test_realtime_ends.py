"""How spoken sessions end otherwise: clients and providers that leave, kills, revoked keys, reloads, stops, frames that are none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
import yaml
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.gateway import ADMIN_KEY
from tests.support.realtime_rig import KEY, RealtimeRig, nanousd, running, spent
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealtimeRig]:
    """One for all: whoever ends it, or changes its configuration, brings it back."""
    with running(tmp_path_factory.mktemp("ends")) as made:
        yield made


@contextlib.asynccontextmanager
async def session(rig: RealtimeRig, name: str, key: str = KEY, **options: Any) -> AsyncIterator[Any]:
    headers = {"authorization": f"Bearer {key}", "x-taximeter-session-id": name}
    url = f"{rig.url.replace('http', 'ws')}/v1/realtime?model=gpt-realtime"
    async with connect(url, additional_headers=headers, **{"compression": None, **options}) as socket:
        yield socket


async def until(socket: Any, kind: str) -> Any:
    while (event := json.loads(await socket.recv()))["type"] != kind:
        pass
    return event


async def ask(socket: Any, **orders: Any) -> None:
    content = [{"type": "input_text", "text": json.dumps(orders)}]
    item = {"type": "message", "role": "user", "content": content}
    await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await socket.send(json.dumps({"type": "response.create"}))


async def closing(socket: Any) -> tuple[int, str]:
    """How the other side closes, once all that came before is read."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await socket.recv()
    return socket.close_code, socket.close_reason


def clean(rig: RealtimeRig) -> None:
    """No traceback in the log, nothing held, and the audit finds nothing."""
    assert "Traceback" not in rig.gateway.log.read_text()
    assert rig.reserved() == 0
    assert rig.gateway.verified()["ok"]


async def test_who_leaves_in_the_middle_of_a_turn_pays_what_the_provider_bills(rig: RealtimeRig) -> None:
    """The answer is cancelled, and the provider says what it used by then; one whose connection is lost is estimated."""
    before = len(rig.lines())
    async with session(rig, "left") as socket:
        await ask(socket, text=5, audio=50, hang=30)
        await until(socket, "response.output_audio.delta")
    (entry,) = rig.ended("left", 1)
    assert (entry["status"], entry["outcome"], entry["usage_source"]) == ("settled", "ok", "provider")
    assert spent([entry]) == nanousd(rig.lines()[before:])
    with contextlib.suppress(ConnectionClosed):
        async with session(rig, "dropped") as socket:
            await ask(socket, drop=True)
            assert await closing(socket) == (1011, "the upstream is gone")
    (entry,) = rig.ended("dropped", 1)
    assert (entry["status"], entry["outcome"], entry["flags"]) == ("settled", "upstream_error", ["estimated"])
    assert entry["usage"]["audio_out"] >= 9  # half a second of sound
    clean(rig)


async def test_a_kill_in_the_middle_charges_what_was_open_at_its_ceiling(rig: RealtimeRig) -> None:
    async with session(rig, "killed") as socket:
        await ask(socket, text=1)
        await until(socket, "response.done")
        await ask(socket, hang=30)
        await until(socket, "response.created")
        rig.gateway.kill()
    rig.gateway.up()
    entries = rig.ended("killed", 2)
    assert [entry["status"] for entry in entries] == ["settled", "unconfirmed"]
    assert Decimal(entries[1]["cost_usd"]) == Decimal(entries[1]["reserved_usd"]) > Decimal("0.2")
    clean(rig)


async def test_a_revoked_key_ends_its_session(rig: RealtimeRig) -> None:
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    made = httpx.post(f"{rig.gateway.admin_url}/api/keys", json={"name": "guest", "team": "guests"}, headers=admin)
    secret, key_id = made.json()["key"], made.json()["id"]

    async def opened() -> Any:
        async with session(rig, "guest", secret) as socket:
            await until(socket, "session.created")
            httpx.delete(f"{rig.gateway.admin_url}/api/keys/{key_id}", headers=admin).raise_for_status()
            event = await until(socket, "error")
            return event["error"]["code"], await closing(socket)

    assert await opened() == ("invalid_api_key", (1008, "invalid_api_key"))
    clean(rig)


async def test_a_reload_moves_open_sessions_to_the_new_budgets(rig: RealtimeRig) -> None:
    """The next turn is counted and priced by the new configuration; where the model goes elsewhere now, the session ends."""
    original = rig.gateway.config_file.read_text()
    config = yaml.safe_load(original)
    async with session(rig, "reloaded") as socket:
        await ask(socket, text=1)
        await until(socket, "response.done")
        config["budgets"].append({"name": "late", "match": {"team": "blue"}, "limit_usd": "100", "window": "total"})
        reload(rig, config)
        eventually(lambda: [one["name"] for one in rig.get("/api/budgets")["items"]], lambda names: "late" in names)
        for _ in range(2):
            await ask(socket, text=1)
            await until(socket, "response.done")
        entry = rig.ended("reloaded", 3)[-1]
        assert {counted["name"] for counted in entry["budgets"]} == {"all", "late"}
        config["models"]["gpt-realtime"]["model"] = "gpt-realtime-mini"
        reload(rig, config)
        event: dict[str, Any] = {}
        while event.get("type") != "error":  # a turn that begins before the reload is one more
            with contextlib.suppress(ConnectionClosed):
                await ask(socket, text=1)
            while event.get("type") not in ("response.done", "error"):
                event = json.loads(await socket.recv())
            if event["type"] == "response.done":
                event = {}
        assert event["error"]["code"] == "not_ready"
        assert await closing(socket) == (1008, "not_ready")
    clean(rig)
    reload(rig, yaml.safe_load(original))
    eventually(lambda: [one["name"] for one in rig.get("/api/budgets")["items"]], lambda names: "late" not in names)


def reload(rig: RealtimeRig, config: dict[str, Any]) -> None:
    rig.gateway.config_file.write_text(yaml.safe_dump(config))
    assert rig.gateway.process is not None
    os.kill(rig.gateway.process.pid, signal.SIGHUP)


async def test_a_stop_ends_sessions_behind_their_turn(rig: RealtimeRig) -> None:
    async with session(rig, "idle") as idle, session(rig, "stopped") as socket:
        await ask(socket, text=1, hang=2)
        await until(socket, "response.created")
        assert rig.gateway.process is not None
        os.kill(rig.gateway.process.pid, signal.SIGTERM)
        assert (await closing(idle))[0] == 1001
        await until(socket, "response.done")
        assert (await closing(socket))[0] == 1001
    await asyncio.to_thread(rig.gateway.process.wait, 20)
    rig.gateway.up()
    assert [entry["status"] for entry in rig.ended("stopped", 1)] == ["settled"]
    clean(rig)


HOSTILE = {
    "no mask": (b"\x81\x02{}", 1002),
    "reserved bits": (b"\xc1\x80\0\0\0\0", 1002),
    "an opcode that is none": (b"\x83\x80\0\0\0\0", 1002),
    "a continuation of nothing": (b"\x80\x80\0\0\0\0", 1002),
    "a long ping": (b"\x89\xfe\0\x7e\0\0\0\0" + b"\0" * 126, 1002),
    "a ping in parts": (b"\x09\x80\0\0\0\0", 1002),
    "far too long": (b"\x81\xff\x7f" + b"\xff" * 7 + b"\0\0\0\0", 1009),
    "a close code that is none": (b"\x88\x82\0\0\0\0\0\x05", 1002),
    "a reason that is no text": (b"\x88\x83\0\0\0\0\x03\xe8\xff", 1007),
}


async def test_frames_that_are_none_are_closed_and_cost_nothing(rig: RealtimeRig) -> None:
    for name, (raw, code) in HOSTILE.items():
        async with session(rig, "hostile") as socket:
            await until(socket, "session.created")
            socket.transport.write(raw)
            assert (await closing(socket))[0] == code, name
    assert rig.entries("hostile") == []
    clean(rig)


async def test_messages_in_parts_and_messages_that_are_none(rig: RealtimeRig) -> None:
    """Parts are one message; what is no JSON object is answered with an error, and the session goes on. Compression is not
    agreed on, whoever offers it."""
    before = len(rig.lines())
    async with session(rig, "parts", compression="deflate") as socket:
        assert socket.protocol.extensions == []
        for text in ("no json", "[]", '{"type": "session.update", "session": {"model": "gpt-5"}}', "[" * 100_000):
            await socket.send(text)
            assert (await until(socket, "error"))["error"]["type"] == "invalid_request_error"
        content = [{"type": "input_text", "text": json.dumps({"text": 2})}]
        item = {"type": "message", "role": "user", "content": content}
        text = json.dumps({"type": "conversation.item.create", "item": item})
        await socket.send([text[:10], text[10:50], text[50:]])
        create = json.dumps({"type": "response.create"})
        await socket.send([create[:5], create[5:]])
        await until(socket, "response.done")
    (entry,) = rig.ended("parts", 1)
    assert entry["usage"]["output"] == 2
    lines = rig.lines()[before:]
    newest = max(line["session"] for line in lines)  # an earlier test's session may have been billed meanwhile
    assert spent([entry]) == nanousd([line for line in lines if line["session"] == newest])
    clean(rig)


async def test_an_error_gives_back_no_request_but_the_one_that_it_names(rig: RealtimeRig) -> None:
    """A client can have the server err as often as it likes, and under any name: what its other turns may cost stays reserved."""
    before = len(rig.lines())
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": '{"wait": 1, "text": 2}'}]}
    async with session(rig, "errs") as socket:
        await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
        for event in (
            {"type": "response.create", "event_id": "mine"},
            {"type": "response.create", "event_id": "mine", "response": {"conversation": "none"}},
        ):
            await socket.send(json.dumps(event))
        both = await asyncio.to_thread(eventually, rig.reserved, lambda reserved: reserved > Decimal("0.5"))
        errors = []
        wrong = [
            {"type": "no.such", "event_id": "mine"},
            {"type": "no.such"},
            {"type": "response.create", "event_id": "third"},
        ]
        for event in wrong:
            await socket.send(json.dumps(event))
            errors.append((await until(socket, "error"))["error"])
        assert [error["event_id"] for error in errors] == ["mine", None, "third"]
        assert errors[2]["code"] == "conversation_already_has_active_response"
        assert rig.reserved() >= both
        await socket.send('{"type": "input_audio_buffer.clear"}')
        for _ in range(2):
            await until(socket, "response.done")
    entries = rig.ended("errs", 2)
    assert spent(entries) == nanousd(rig.lines()[before:])
    clean(rig)
