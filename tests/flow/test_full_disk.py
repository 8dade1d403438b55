"""A disk that takes no record: nothing is sent that is not written down, by real connections and in whatever order it fails."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from proxy.spool import writer as spool
from tests.flow.house import USAGE, Build, House, whole


class Provider:
    """Counts the requests that come; `on_request` is called with each."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.on_request: Any = lambda: None

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(await reader.readexactly(length))
                self.on_request()
                body = orjson.dumps({"model": "m", "choices": [], "usage": USAGE})
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                    % (len(body), body)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


BUDGETS = [{"name": "b", "limit_usd": "1", "window": "total"}]


async def begun(build: Build) -> tuple[House, Provider, asyncio.Server]:
    provider = Provider()
    server = await asyncio.start_server(provider.handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    house = build(budgets=BUDGETS, upstreams={"up": {"base_url": f"http://127.0.0.1:{port}/v1", "provider": "acme"}})
    house.upstreams.sending = None
    return house, provider, server


@contextmanager
def room_for(monkeypatch: pytest.MonkeyPatch, records: int) -> Iterator[None]:
    """A disk that takes so many records more, one by one."""
    real, left = os.write, records

    def write(fd: int, data: bytes) -> int:
        nonlocal left
        if data.count(b'{"t":"') > left:
            raise OSError(errno.ENOSPC, "full")
        left -= data.count(b'{"t":"')
        return real(fd, data)

    with monkeypatch.context() as full:
        full.setattr(spool.os, "write", write)
        yield


@pytest.mark.parametrize("connected", [False, True])
async def test_what_cannot_be_recorded_is_not_sent(
    build: Build, monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    """Also where the connection is there, so that nothing waits between the record and the request."""
    house, provider, server = await begun(build)
    async with server:
        if connected:
            assert (await house.ask()).status == 200
        sent = len(provider.requests)
        with room_for(monkeypatch, 0):
            told = await house.ask()
        assert (told.status, told.code, len(provider.requests), house.reserved()) == (
            503,
            "ledger_unavailable",
            sent,
            0,
        )
        assert (await house.ask()).status == 200
        assert house.kinds() == ["intent", "settle"] * (sent + 1)
        house.plane.configured.upstreams.close()


@pytest.mark.parametrize("room", [0, 1, 2])
async def test_of_calls_in_one_turn_those_are_sent_that_could_be_recorded(
    build: Build, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    house, provider, server = await begun(build)
    async with server:
        await asyncio.gather(*[house.ask() for _ in range(3)])  # so that there are connections
        provider.requests.clear()
        with room_for(monkeypatch, room):
            told = await asyncio.gather(*[house.ask() for _ in range(3)])
        assert sorted(one.status for one in told) == [200] * room + [503] * (3 - room)
        assert len(provider.requests) == room
        assert house.reserved() == 0
        house.plane.spool.write_owed()
        assert sorted(house.kinds()[6:]) == ["intent"] * room + ["settle"] * room
        house.plane.configured.upstreams.close()


async def test_a_smaller_answer_is_not_sent_unrecorded_either(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was granted for less than was asked is written down before the request: so is its INTENT."""
    house = build(budgets=[{"name": "b", "limit_usd": "0.003", "window": "total"}])
    with room_for(monkeypatch, 0):
        told = await house.ask(max_tokens=4000)
    assert (told.status, told.code, house.sent, house.reserved()) == (503, "ledger_unavailable", [], 0)
    told = await house.ask(max_tokens=4000)
    assert (told.status, "x-taximeter-clamped-max-tokens" in told.headers) == (200, True)
    assert house.kinds() == ["intent", "reserved", "settle"]


async def test_what_waits_for_room_is_not_sent_unrecorded_either(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = build(budgets=[{"name": "b", "limit_usd": "0.0006", "window": "total"}])
    release = asyncio.Event()

    async def later() -> Any:
        await release.wait()
        return whole()

    first = asyncio.create_task(house.ask(later))
    while not house.sent:
        await asyncio.sleep(0)
    with room_for(monkeypatch, 0):
        async with asyncio.timeout(5):
            told = await house.ask()
    assert (told.status, told.code, len(house.sent)) == (503, "ledger_unavailable", 1)
    release.set()
    assert (await first).status == 200
    assert (house.kinds(), house.reserved()) == (["intent", "settle"], 0)


async def test_what_budgets_refuse_fills_no_memory(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = build(budgets=[{"name": "b", "limit_usd": "0.000001", "window": "total", "clamp": False}])
    with room_for(monkeypatch, 0):
        for _ in range(3):
            assert (await house.ask()).status == 402
        assert house.plane.spool.write_owed() == 0
    assert (house.kinds(), house.sent) == ([], [])


async def test_what_is_cut_off_as_the_disk_refuses_its_record_costs_nothing(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, provider, server = await begun(build)
    async with server:
        await house.ask()
        with room_for(monkeypatch, 0):
            call = asyncio.create_task(house.ask())
            await asyncio.sleep(0)  # it has run up to the answer, and its request waits
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await asyncio.sleep(0)
        assert (house.kinds(), len(provider.requests), house.reserved()) == (["intent", "settle"], 1, 0)
        assert [standing.spent for standing in house.plane.store.standings()] == [40_000]
        house.plane.configured.upstreams.close()


async def test_every_record_is_on_disk_before_its_request_is_written(build: Build) -> None:
    house, provider, server = await begun(build)
    on_disk: list[bool] = []
    provider.on_request = lambda: on_disk.append(house.kinds().count("intent") >= len(provider.requests))
    async with server:
        for _ in range(3):
            await asyncio.gather(*[house.ask() for _ in range(4)])
        assert on_disk == [True] * 12
        house.plane.configured.upstreams.close()


@pytest.mark.parametrize("upstream", ["http://127.0.0.1:1/v1"])
async def test_what_never_reaches_an_upstream_is_written_down_all_the_same(build: Build, upstream: str) -> None:
    house = build(budgets=BUDGETS, upstreams={"up": {"base_url": upstream, "provider": "acme"}})
    house.upstreams.sending = None
    assert (await house.ask()).status == 502
    assert house.kinds() == ["intent", "void"]


async def test_a_call_that_is_cancelled_as_its_request_waits_has_one_intent_and_one_end(build: Build) -> None:
    house, _, server = await begun(build)
    async with server:
        await house.ask()
        call = asyncio.create_task(house.ask())
        await asyncio.sleep(0)  # it has run up to the answer, and its request waits
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.sleep(0)
        assert house.kinds()[2:] == ["intent", "settle"]
        assert house.reserved() == 0
        house.plane.configured.upstreams.close()
