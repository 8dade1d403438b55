"""The load generator, a program of its own: prints one JSON object and ends.

`python -m bench.load streams PORT COUNT` · `python -m bench.load rate PORT PER_SECOND SECONDS` ·
`python -m bench.load closed PORT CONNECTIONS SECONDS` · `python -m bench.load race PORT CALLS`
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

import httptools
import uvloop

KEY = "sk-test-key-0000-abcdefghijklmnop"
_MESSAGES = (
    '"messages":[{"role":"system","content":"You are a helpful assistant."},'
    '{"role":"user","content":"Hello there, tell me what you can do for my project in one sentence."}]'
)
UNARY = f'{{"model":"gpt-4o-mini",{_MESSAGES},"temperature":0.7,"max_tokens":256}}'
STREAM = (
    f'{{"model":"gpt-4o-mini","stream":true,"stream_options":{{"include_usage":true}},{_MESSAGES},"max_tokens":256}}'
)
_STAMP = re.compile(rb"T(\d+);")


def request(body: str) -> bytes:
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


class Call(asyncio.Protocol):
    """One connection that makes calls one after the other; `done` gets (status, seconds) of each."""

    def __init__(self, delays_ns: list[int] | None = None) -> None:
        self.delays_ns = delays_ns
        self.finished: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self.finished and not self.finished.done():
            self.finished.set_result(0)

    def data_received(self, data: bytes) -> None:
        if self.delays_ns is not None:
            now = time.perf_counter_ns()
            self.delays_ns += [now - int(stamp) for stamp in _STAMP.findall(data)]
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self.finished and not self.finished.done():
            self.finished.set_result(self.parser.get_status_code())

    async def make(self, raw: bytes) -> int:
        self.parser = httptools.HttpResponseParser(self)
        self.finished = asyncio.get_running_loop().create_future()
        self.transport.write(raw)  # type: ignore[attr-defined]
        return await self.finished


async def connect(port: int, delays_ns: list[int] | None = None) -> Call:
    _, call = await asyncio.get_running_loop().create_connection(lambda: Call(delays_ns), "127.0.0.1", port)
    return call


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


async def streams(port: int, count: int) -> dict[str, float]:
    """`count` streams at once, each read to its end; the delay of every event by the stamp that it carries."""
    delays: list[int] = []
    calls = [await connect(port, delays) for _ in range(count)]
    began = time.perf_counter()
    statuses = await asyncio.gather(*[call.make(request(STREAM)) for call in calls])
    took = time.perf_counter() - began
    milliseconds = [delay / 1e6 for delay in delays]
    return {
        "ok": sum(status == 200 for status in statuses),
        "events": len(delays),
        "seconds": took,
        "p50_ms": percentile(milliseconds, 0.5),
        "p99_ms": percentile(milliseconds, 0.99),
    }


async def rate(port: int, per_second: float, seconds: float) -> dict[str, float]:
    """Open loop: calls leave on schedule whether or not earlier ones are back; latency counts from the schedule."""
    pool = [await connect(port) for _ in range(64)]
    free = asyncio.Queue[Call]()
    for call in pool:
        free.put_nowait(call)
    latencies: list[float] = []
    failed = 0
    raw = request(UNARY)

    async def one(due: float) -> None:
        nonlocal failed
        call = await free.get()
        status = await call.make(raw)
        free.put_nowait(call)
        latencies.append((time.perf_counter() - due) * 1000)
        failed += status != 200

    began = time.perf_counter() + 0.05
    tasks = []
    for number in range(int(per_second * seconds)):
        due = began + number / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    return {
        "calls": len(latencies),
        "failed": failed,
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
    }


async def closed(port: int, connections: int, seconds: float) -> dict[str, float]:
    """Closed loop: each connection calls again as soon as it has its answer."""
    raw = request(UNARY)
    until = time.perf_counter() + seconds
    counts = [0, 0]

    async def caller() -> None:
        call = await connect(port)
        while time.perf_counter() < until:
            counts[await call.make(raw) == 200] += 1

    await asyncio.gather(*[caller() for _ in range(connections)])
    return {"rps": counts[1] / seconds, "failed": counts[0]}


async def race(port: int, calls: int) -> dict[str, float]:
    """All at once, each tried until it is refused for good (402) or served."""
    raw = request(UNARY)
    outcome = {"served": 0, "refused": 0, "other": 0}

    async def caller() -> None:
        call = await connect(port)
        while (status := await call.make(raw)) == 200:
            outcome["served"] += 1
        outcome["refused" if status in (402, 429, 422, 400) else "other"] += 1

    await asyncio.gather(*[caller() for _ in range(calls)])
    return dict(outcome)


if __name__ == "__main__":
    kinds = {"streams": streams, "rate": rate, "closed": closed, "race": race}
    arguments = [float(text) if "." in text else int(text) for text in sys.argv[2:]]
    print(json.dumps(uvloop.run(kinds[sys.argv[1]](*arguments))))
