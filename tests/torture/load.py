"""The load generator, a program of its own: `python -m tests.torture.load --url http://HOST:PORT --log FILE`.

Makes the calls of a `traffic.Traffic` (`--traffic JSON`, and the commonest of its fields as options), logs one JSON
line for each with what the client saw, prints a summary and ends by itself.

    {"nonce":…,"retry_of":…,"caller":…,"team":…,"user":…,"session":…,"path":…,"model":…,"stream":…,"asked_usage":…,
     "leave":…,"t0_us":…,"t1_us":…,"t0_ns":…,"first_ns":…,"t1_ns":…,"end":…,"status":…,"code":…,"bytes":…,"events":…,
     "done":…,"ended":…,"usage":{…},"usage_alone":…,"cost_usd":…,"headers":{"x-taximeter-…":…}}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import uvloop

from . import traffic as traffics
from .client import Client, Seen
from .traffic import Traffic, Wish, draw

_COST_COMMENT = re.compile(rb"^: taximeter .*?\bcost_usd=(\S+)", re.MULTILINE)
_BUSY_TRIES = 10_000
_AWAY_S = 0.1  # how long a caller lets a gateway be that cannot serve it now


def look(seen: Seen) -> dict[str, Any]:
    """What the answer's body says: its error code, its last usage, its events, whether it said that it was done."""
    body = bytes(seen.body).removeprefix(b"\xef\xbb\xbf")
    if seen.headers.get("content-encoding") == "gzip":
        body = _unzipped(body)
    if not body.startswith((b"data:", b"event:", b":", b"retry:")):
        told = _parsed(body)
        blank = {"usage_alone": False, "events": 0, "done": False, "cost_usd": None, "ended": "whole"}
        return {"code": _code(told), "usage": told.get("usage")} | blank
    if b"\r" in body or b'\ndata: "' in body:
        body = _plain_events(body)
    last = body.rfind(b'"usage":{')
    chunk: dict[str, Any] = {}
    if last >= 0:
        line = body[body.rfind(b"\n", 0, last) + 1 : (body.find(b"\n", last) + 1 or len(body))]
        chunk = _parsed(line.removeprefix(b"data:"))
    error = body.rfind(b'"error":{')
    line = body[body.rfind(b"\n", 0, error) + 1 :].partition(b"\n")[0] if error >= 0 else b""
    comment = _COST_COMMENT.search(body)
    return {
        "code": _code(_parsed(line.removeprefix(b"data:"))),
        "usage": chunk.get("usage"),
        "usage_alone": chunk.get("choices") == [],
        "events": body.count(b"\ndata:") + body.startswith(b"data:"),
        "done": b"data: [DONE]" in body,
        "cost_usd": comment.group(1).decode() if comment else None,
        "ended": _end_of(body),
    }


_LAST = ("message_stop", "response.completed", "response.incomplete", "response.failed")


def _end_of(body: bytes) -> str:
    """How a stream of events ends: `done` or `error` in its own format's way, `open` (neither), `torn` (inside an event)."""
    if not body.endswith(b"\n\n"):
        return "torn"
    blocks = [block for block in body[-4096:].split(b"\n\n") if b"data:" in block]
    block = blocks[-1] if blocks else b""
    payload = b"".join(line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:"))
    if payload == b"[DONE]":
        return "done"
    event = _parsed(payload)
    if event.get("type") in _LAST or any(one.get("finishReason") for one in event.get("candidates") or ()):
        return "done"
    if any(one.get("finish_reason") for one in event.get("choices") or ()):
        return "done"  # a connection that breaks behind a whole answer: nothing is missing but the mark
    return "error" if event.get("error") or event.get("type") == "error" else "open"


def _plain_events(body: bytes) -> bytes:
    """The same events with LF as line end and each payload on one line."""
    events = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")
    return b"\n\n".join(event.replace(b"\ndata: ", b"") for event in events) + b"\n\n"


def _unzipped(body: bytes) -> bytes:
    """As far as it goes."""
    try:
        return zlib.decompressobj(31).decompress(body)
    except zlib.error:
        return b""


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _code(told: Mapping[str, Any]) -> str | None:
    error = told.get("error")
    if not isinstance(error, dict):
        return None
    return error.get("code") or error.get("type") or "error"


class Load:
    """Makes a traffic's calls against one server and logs them."""

    def __init__(self, url: str, traffic: Traffic, log: Path) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url!r} is no http URL")
        self.traffic = traffic
        self._host = f"{parts.hostname}:{parts.port or 80}"
        self._client = Client(parts.hostname, parts.port or 80)
        self._log = log.open("ab")
        self.ends: Counter[str] = Counter()
        self._numbers = iter(range(traffic.calls))

    async def run(self) -> dict[str, Any]:
        started = time.monotonic()
        try:
            if self.traffic.rate > 0:
                await self._open_loop()
            else:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self.traffic.concurrency):
                        group.create_task(self._worker())
        finally:
            self._client.close()
            self._log.close()
        seconds = time.monotonic() - started
        total = sum(self.ends.values())
        return {"calls": total, "seconds": round(seconds, 3), "per_s": round(total / seconds, 1), "ends": self.ends}

    async def _worker(self) -> None:
        for number in self._numbers:
            code = await self._persist(number)
            if self.traffic.until_402 and code == "budget_exceeded":
                return

    async def _open_loop(self) -> None:
        rng = random.Random(self.traffic.seed)
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in self._numbers:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(self._persist(number))
                due += rng.expovariate(self.traffic.rate)

    async def _persist(self, number: int) -> str | None:
        """Make a call, again where it was only busy, or could not be served, and the traffic says so. Gives the last error code."""
        code = None
        for attempt in range(_BUSY_TRIES):
            status, code = await self._call(
                draw(self.traffic, number, attempt), first=f"{self.traffic.seed}-{number}-0"
            )
            if status == HTTPStatus.SERVICE_UNAVAILABLE and self.traffic.retry_away:
                await asyncio.sleep(_AWAY_S)
            elif code != "budget_busy" or not self.traffic.retry_busy:
                break
        return code

    async def _call(self, wish: Wish, first: str) -> tuple[int, str | None]:
        t0_us, t0_ns = time.time_ns() // 1000, time.monotonic_ns()
        seen = await self._client.call(self._request(wish), wish.leave, self.traffic.timeout_s)
        told = look(seen)
        record = {
            "nonce": wish.nonce,
            "retry_of": first if first != wish.nonce else None,
            "caller": wish.caller.name,
            "team": wish.caller.team,
            "user": wish.caller.user,
            "session": wish.session,
            "path": wish.path,
            "model": wish.model,
            "stream": wish.stream,
            "asked_usage": wish.asks_usage,
            "leave": wish.leave.manner if wish.leave else None,
            "t0_us": t0_us,
            "t1_us": time.time_ns() // 1000,
            "t0_ns": t0_ns,
            "first_ns": seen.first_ns,
            "t1_ns": time.monotonic_ns(),
            "end": seen.end,
            "status": seen.status,
            "bytes": seen.received,
            "headers": {name: value for name, value in seen.headers.items() if name.startswith("x-taximeter-")},
        } | told
        self._log.write(orjson.dumps(record) + b"\n")
        self.ends[f"{seen.end} {seen.status} {told['code'] or ''}".strip()] += 1
        return seen.status, told["code"]

    def _request(self, wish: Wish) -> bytes:
        extra = "".join(f"{name}: {value}\r\n" for name, value in wish.headers)
        return (
            f"POST {wish.path} HTTP/1.1\r\nhost: {self._host}\r\n"
            f"authorization: Bearer {wish.caller.key}\r\n"
            f"content-type: application/json\r\n{extra}content-length: {len(wish.body)}\r\n\r\n"
        ).encode() + wish.body


def main() -> None:
    parser = argparse.ArgumentParser(prog="load", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True, help="http://HOST:PORT of what to call")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--traffic", default="{}", help="fields of Traffic as JSON, or @FILE")
    parser.add_argument("--calls", type=int)
    parser.add_argument("--concurrency", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--show-traffic", action="store_true", help="print the traffic as JSON and end")
    args = parser.parse_args()
    text = Path(args.traffic[1:]).read_text() if args.traffic.startswith("@") else args.traffic
    try:
        traffic = traffics.from_json(text)
    except (ValueError, TypeError) as error:
        parser.error(f"--traffic: {error}")
    given = {name: getattr(args, name) for name in ("calls", "concurrency", "rate", "seed")}
    traffic = replace(traffic, **{name: value for name, value in given.items() if value is not None})
    if args.show_traffic:
        print(json.dumps(asdict(traffic), indent=2))
        return
    print(json.dumps(uvloop.run(Load(args.url, traffic, args.log).run())))
    sys.exit(0)


if __name__ == "__main__":
    main()
