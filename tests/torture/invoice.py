"""The invoice: one JSON line when a request is accepted, on disk before its first response byte, and one when it ends.

`Invoice` writes: a thread of its own gathers what arrived meanwhile, writes it, syncs it to disk once for all of it,
and only then lets their responses go. `read_invoice` joins the two lines of each request again.

    {"e":"open","line":…,"nonce":…,"at_us":…,"mono_ns":…,"key":…,"path":…,"dialect":…,"model":…,"max_tokens":…,"n":…,
     "stream":…,"law":…,"planned":{unit:n},"planned_nano":…,"attempt_id":…,"reply_id":…,"body":…}
    {"e":"close","line":…,"at_us":…,"mono_ns":…,"end":…,"told":…,"billed":{unit:n},"billed_nano":…}

`end`: complete, client_left, cut, failed, refused. `told`: exact (the true usage was sent), odd (in an odd
form), lie, nothing, refused.
`billed_nano` is what the caller owes, in nano-dollars.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson


class Invoice:
    """Appends lines from the event loop; `durable` waits for the disk, `note` does not."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._queue: queue.SimpleQueue[tuple[bytes, asyncio.Future[None] | None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="invoice", daemon=True)
        self._thread.start()

    async def durable(self, line: dict[str, Any]) -> None:
        waiter = self._loop.create_future()
        self._queue.put((orjson.dumps(line) + b"\n", waiter))
        await waiter

    def note(self, line: dict[str, Any]) -> None:
        self._queue.put((orjson.dumps(line) + b"\n", None))

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        os.close(self._file)

    def _write_all(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            ended = None in batch
            items = [item for item in batch if item is not None]
            data = memoryview(b"".join(line for line, _ in items))
            while data:
                data = data[os.write(self._file, data) :]
            waiters = [waiter for _, waiter in items if waiter is not None]
            if waiters or ended:
                os.fdatasync(self._file)
            if waiters:
                self._loop.call_soon_threadsafe(_release, waiters)


def _release(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


@dataclass(slots=True)
class Line:
    """One request on the invoice. Without an end (the provider died) the plan is what is owed."""

    line: str
    nonce: str
    at_us: int
    key: str
    path: str
    model: str
    stream: bool
    planned: dict[str, int]
    planned_nano: int
    attempt_id: str | None = None
    reply_id: str | None = None
    end: str | None = None
    told: str = "nothing"
    billed: dict[str, int] = field(default_factory=dict)
    billed_nano: int = 0
    ended_us: int | None = None


def read_invoice(path: Path) -> list[Line]:
    """The requests in order of their acceptance. A torn last line is left out: its response was never sent."""
    lines: dict[str, Line] = {}
    for record in _records(path):
        if record["e"] == "open":
            lines[record["line"]] = Line(
                **{name: record[name] for name in ("line", "nonce", "at_us", "key", "path", "model", "stream")},
                planned=record["planned"],
                planned_nano=record["planned_nano"],
                attempt_id=record.get("attempt_id"),
                reply_id=record.get("reply_id"),
                billed=record["planned"],
                billed_nano=record["planned_nano"],
            )
        elif record["line"] in lines:
            line = lines[record["line"]]
            line.end, line.told = record["end"], record["told"]
            line.billed, line.billed_nano, line.ended_us = record["billed"], record["billed_nano"], record["at_us"]
    return list(lines.values())


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)
