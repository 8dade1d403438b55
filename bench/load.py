"""The load, a program of its own: `python -m bench.load closed|open|stream|race|stampede --port N …`; one JSON object on stdout."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import re
import struct
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar

import httptools
import uvloop

from bench.wire import KEY, STREAM_BODY, UNARY_BODY, race_body, request

_AGE = re.compile(rb"T(\d+);")
_STALL_S = 60.0


def quantile(ordered: list[float], share: float) -> float:
    """The value below which `share` of the ordered values lie; NaN of none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


class Connection(asyncio.Protocol):
    """A keep-alive connection. `on_end(connection, status)` is called at the end of each answer, 0 where it broke."""

    def __init__(self, on_end: Callable[[Connection, int], None]) -> None:
        self._on_end = on_end
        self._parser = httptools.HttpResponseParser(self)
        self._busy = False
        self.sent_at = 0.0
        self.transport: asyncio.Transport = None  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def send(self, data: bytes, at: float) -> None:
        self.sent_at, self._busy = at, True
        if self.transport.is_closing():  # nothing is sent: to lose it is this call's end, if that is not yet to come
            asyncio.get_running_loop().call_soon(self.connection_lost, None)
        else:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._busy = False
        status = self._parser.get_status_code()
        self._parser = httptools.HttpResponseParser(self)
        # Not at once: the parser that calls is still at work on the same bytes.
        asyncio.get_running_loop().call_soon(self._on_end, self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._busy:
            self._busy = False
            self._on_end(self, 0)


async def _connect(
    port: int, on_end: Callable[[Connection, int], None], kind: type[Connection] = Connection
) -> Connection:
    _, made = await asyncio.get_running_loop().create_connection(lambda: kind(on_end), "127.0.0.1", port)
    return made


async def closed(
    port: int, connections: int, seconds: float, headers: dict[str, str], data: bytes = b""
) -> dict[str, Any]:
    """`connections` callers, each of which calls again as soon as it is answered. Where wrk is missing, and for requests of
    one's own (`data`)."""
    data, bad = data or request(UNARY_BODY, headers=headers), 0
    latencies: list[float] = []
    finished, left = asyncio.Event(), connections
    began = time.perf_counter()

    def on_end(connection: Connection, status: int) -> None:
        nonlocal bad, left
        now = time.perf_counter()
        latencies.append(now - connection.sent_at)
        bad += status != 200
        left -= not status
        if now - began >= seconds or not left:
            finished.set()
        elif status:
            connection.send(data, now)

    for _ in range(connections):
        (await _connect(port, on_end)).send(data, time.perf_counter())
    await asyncio.wait_for(finished.wait(), seconds + _STALL_S)
    took = time.perf_counter() - began
    latencies.sort()
    return {
        "calls": len(latencies),
        "bad": bad,
        "seconds": took,
        "p50_ms": quantile(latencies, 0.5) * 1e3,
        "p99_ms": quantile(latencies, 0.99) * 1e3,
    }


def _timer(interval_s: float) -> int:
    """A timer descriptor that fires each `interval_s`: to the microsecond, where an event loop counts milliseconds."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    seconds, rest = divmod(round(interval_s * 1e9), 10**9)
    spec = struct.pack("llll", seconds, rest, seconds, rest)
    if libc.timerfd_settime(fd, 0, spec, None) != 0:
        raise OSError(ctypes.get_errno(), "timerfd_settime")
    return int(fd)


async def opened(port: int, rate: float, seconds: float, headers: dict[str, str]) -> dict[str, Any]:
    """`rate` calls a second whether or not the ones before are answered; a latency counts from the time the call was due."""
    data, bad = request(UNARY_BODY, headers=headers), 0
    latencies: list[float] = []
    loop, finished = asyncio.get_running_loop(), asyncio.Event()
    idle: list[Connection] = []
    due, total, pending = 0, int(rate * seconds), 0
    warm = min(total // 5, int(rate / 2))  # connections are made and caches filled in these

    def on_end(connection: Connection, status: int) -> None:
        if status:
            idle.append(connection)
        note_end(connection.sent_at, status)

    def note_end(due_at: float, status: int) -> None:
        nonlocal bad, pending
        pending -= 1
        if due_at >= count_from:
            latencies.append(time.perf_counter() - due_at)
            bad += status != 200
        if due >= total and not pending:
            finished.set()

    async def send_on_new(at: float) -> None:
        try:
            connection = await _connect(port, on_end)
        except OSError:  # refused: a bad call like others
            note_end(at, 0)
            return
        connection.send(data, at)

    def on_timer() -> None:
        nonlocal due, pending
        for _ in range(int.from_bytes(os.read(fd, 8), "little")):
            if due >= total:
                loop.remove_reader(fd)
                return
            due += 1
            pending += 1
            at = began + due / rate
            while idle and idle[-1].transport.is_closing():  # a server waits only for so long
                idle.pop()
            if idle:
                idle.pop().send(data, at)
            else:
                tasks.append(loop.create_task(send_on_new(at)))

    tasks: list[asyncio.Task[None]] = []
    idle += [await _connect(port, on_end) for _ in range(8)]
    began = time.perf_counter()
    count_from = began + warm / rate
    fd = _timer(1 / rate)
    loop.add_reader(fd, on_timer)
    timed_out = False
    try:
        await asyncio.wait_for(finished.wait(), seconds + _STALL_S)
    except TimeoutError:
        timed_out = True
    took = time.perf_counter() - began
    latencies.sort()
    return {
        "calls": len(latencies),
        "bad": bad,
        "seconds": took,
        "unanswered": pending if timed_out else 0,
        "p50_ms": quantile(latencies, 0.5) * 1e3,
        "p99_ms": quantile(latencies, 0.99) * 1e3,
    }


class _Reader(Connection):
    """A stream's reader: the age of each chunk as it arrives."""

    ages: ClassVar[list[float]] = []

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        for stamp in _AGE.findall(data):
            self.ages.append((now - int(stamp)) / 1e6)
        super().data_received(data)


async def streams(port: int, count: int, headers: dict[str, str]) -> dict[str, Any]:
    """`count` streams at once, each read to its end."""
    data, ended, good = request(STREAM_BODY, stream=True, headers=headers), 0, 0
    finished = asyncio.Event()

    def on_end(connection: Connection, status: int) -> None:
        nonlocal ended, good
        ended += 1
        good += status == 200
        if ended == count:
            finished.set()

    began = time.perf_counter()
    for _ in range(count):
        (await _connect(port, on_end, _Reader)).send(data, time.perf_counter())
    await asyncio.wait_for(finished.wait(), _STALL_S)
    took = time.perf_counter() - began
    ages = sorted(_Reader.ages)
    return {
        "streams": count,
        "good": good,
        "chunks": len(ages),
        "seconds": took,
        "p50_ms": quantile(ages, 0.5),
        "p99_ms": quantile(ages, 0.99),
    }


async def race(port: int, calls: int, key: str) -> dict[str, Any]:
    """`calls` different calls at the same instant; how each ended."""
    statuses: dict[int, int] = {}
    finished = asyncio.Event()

    def on_end(connection: Connection, status: int) -> None:
        statuses[status] = statuses.get(status, 0) + 1
        if sum(statuses.values()) == calls:
            finished.set()

    connections = [await _connect(port, on_end) for _ in range(calls)]
    began = time.perf_counter()
    for number, connection in enumerate(connections):
        connection.send(request(race_body(number), key), began)
    await asyncio.wait_for(finished.wait(), _STALL_S)
    return {
        "calls": calls,
        "seconds": time.perf_counter() - began,
        "statuses": {str(key): value for key, value in sorted(statuses.items())},
    }


async def stampede(port: int, calls: int, callers: int, first: int, key: str) -> dict[str, Any]:
    """`calls` different calls, numbered from `first`, by so many callers, each calling again as soon as it is answered."""
    statuses: dict[int, int] = {}
    numbers = iter(range(first, first + calls))
    finished = asyncio.Event()

    def on_end(connection: Connection, status: int) -> None:
        statuses[status] = statuses.get(status, 0) + 1
        if status and (number := next(numbers, None)) is not None:
            connection.send(request(race_body(number), key), time.perf_counter())
        elif sum(statuses.values()) >= calls or statuses.get(0, 0) == callers:
            finished.set()

    connections = [await _connect(port, on_end) for _ in range(callers)]
    began = time.perf_counter()
    for connection in connections:
        connection.send(request(race_body(next(numbers)), key), began)
    await finished.wait()
    return {"calls": calls, "seconds": time.perf_counter() - began, "statuses": {str(k): v for k, v in sorted(statuses.items())}}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["closed", "open", "stream", "race", "stampede"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=32, help="connections, streams or calls")
    parser.add_argument("--rate", type=float, default=300, help="calls a second")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--first", type=int, default=0, help="number of the first call")
    parser.add_argument("--headers", type=json.loads, default={}, help="more of them, as a JSON object")
    parser.add_argument(
        "--request", type=lambda file: Path(file).read_bytes(), default=b"", help="a file: head and body"
    )
    given = parser.parse_args()
    jobs: dict[str, Callable[[], Coroutine[Any, Any, dict[str, Any]]]] = {
        "closed": lambda: closed(given.port, given.count, given.seconds, given.headers, given.request),
        "open": lambda: opened(given.port, given.rate, given.seconds, given.headers),
        "stream": lambda: streams(given.port, given.count, given.headers),
        "race": lambda: race(given.port, given.count, given.key),
        "stampede": lambda: stampede(given.port, given.count, given.callers, given.first, given.key),
    }
    print(json.dumps(uvloop.run(jobs[given.what]())))


if __name__ == "__main__":
    main()
