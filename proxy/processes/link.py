"""The link between the control process and the data planes: JSON with a length in front, over a unix socket.

Control is the server. It pushes snapshots (run-time keys; at the first, what the ledger says was spent) and asks for
standings; a data plane answers, asks about what only the ledger knows, keeps its last snapshot when control is away, and
comes back when it is there again. With hello and snapshot each tells its time: neither counts in a window that is
over for the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from proxy.times import not_before, now_us

log = logging.getLogger("taximeter.link")

_LENGTH = struct.Struct("<I")
_MAX_MESSAGE_BYTES = 256 * 1024 * 1024
_RECONNECT_S = (0.005, 0.5)  # first pause and longest
_POLL_PLANES_S = 0.005

Message = Mapping[str, Any]


async def _read(reader: asyncio.StreamReader) -> Message:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > _MAX_MESSAGE_BYTES:
        raise ConnectionError(f"a message of {length} bytes")
    message = orjson.loads(await reader.readexactly(length))
    if not isinstance(message, dict):
        raise ConnectionError("a message on the link is not a JSON object")
    return message


def _write(writer: asyncio.StreamWriter, message: Message) -> None:
    data = orjson.dumps(message)
    writer.write(_LENGTH.pack(len(data)) + data)


class DataPlaneLink:
    """A data plane's end. `run` connects, and connects again, until it is cancelled.

    on_snapshot gets every snapshot; handlers answer control's questions by name, with anything that JSON can hold.
    """

    def __init__(
        self,
        path: Path,
        *,
        worker: str,
        on_snapshot: Callable[[Message], None],
        handlers: Mapping[str, Callable[[Message], Any]],
    ) -> None:
        self._path = path
        self._worker = worker
        self._on_snapshot = on_snapshot
        self._handlers = handlers
        self._writer: asyncio.StreamWriter | None = None
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._heard = False  # a snapshot, on this connection

    async def ask(self, name: str, payload: Message, timeout_s: float) -> Any:
        """Control's answer; None where it is away, knows none, or takes too long."""
        if self._writer is None:
            return None
        self._number += 1
        number, future = self._number, asyncio.get_running_loop().create_future()
        self._asked[number] = future
        _write(self._writer, {"question": name, "id": number, "payload": payload})
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return None
        finally:
            self._asked.pop(number, None)

    async def run(self) -> None:
        pause, longest = _RECONNECT_S
        while True:
            self._heard = False
            with contextlib.suppress(OSError):  # `_stay` raises none
                await self._stay(*await asyncio.open_unix_connection(str(self._path)))
            if self._heard:
                pause = _RECONNECT_S[0]
            # Behind a talk, too: control may be there and end each before its first snapshot.
            await asyncio.sleep(pause)
            pause = min(pause * 1.1, longest)  # it is there a tenth of the wait later than it could be

    async def _stay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the connection ends."""
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, orjson.JSONDecodeError):
            if self._heard:
                log.info("the control process is away; the last snapshot stays in force")
        finally:
            self._writer = None
            for future in self._asked.values():
                if not future.done():
                    future.set_result(None)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _write(writer, {"hello": self._worker, "now_us": now_us()})
        self._writer = writer
        while True:
            message = await _read(reader)
            if "reply" in message:
                future = self._asked.get(message["reply"])
                if future is not None and not future.done():
                    future.set_result(message["answer"])
            elif "snapshot" in message:
                not_before(message["now_us"] / 1e6)
                self._heard = True
                self._on_snapshot(message["snapshot"])
            elif "ask" in message:
                handler = self._handlers.get(message["ask"])
                answer = handler(message["payload"]) if handler else None
                _write(writer, {"id": message["id"], "answer": answer})
                await writer.drain()


class _Plane:
    """One connected data plane, as control sees it."""

    def __init__(self, worker: str, writer: asyncio.StreamWriter) -> None:
        self.worker = worker
        self.writer = writer
        self.asked: dict[int, asyncio.Future[Any]] = {}


class ControlServer:
    """Control's end. Everything happens on the loop that `start` ran on.

    first_snapshot: made anew for each data plane that connects, by its worker's name; may take its time.
    answers: to the questions of data planes, by name.
    """

    def __init__(
        self,
        path: Path,
        first_snapshot: Callable[[str], Awaitable[Message]],
        answers: Mapping[str, Callable[[Message], Awaitable[Any]]] | None = None,
    ) -> None:
        self._path = path
        self._first_snapshot = first_snapshot
        self._answers = answers or {}
        self._answering: set[asyncio.Task[None]] = set()
        self._planes: set[_Plane] = set()
        self._server: asyncio.Server | None = None
        self._asked = 0

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        old_mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(self._path))
        finally:
            os.umask(old_mask)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for plane in self._planes:
            plane.writer.close()

    @property
    def workers(self) -> list[str]:
        return sorted(plane.worker for plane in self._planes)

    def push(self, snapshot: Message) -> None:
        """Send to every data plane."""
        for plane in self._planes:
            _write(plane.writer, {"snapshot": snapshot, "now_us": now_us()})

    async def all_serve(self, planes: int, within_s: float) -> None:
        """Return when so many data planes have their first snapshot, or (one may be waiting, or fail) after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while len(self._planes) < planes:  # noqa: ASYNC110 - who connects tells nobody
                    await asyncio.sleep(_POLL_PLANES_S)
                await self.ask("gauges")  # answered behind the snapshot

    async def ask(self, name: str, payload: Message | None = None, timeout_s: float = 1.0) -> dict[str, Any]:
        """The answers of the data planes that answered in time, by worker."""
        self._asked += 1
        number = self._asked
        planes = list(self._planes)
        futures = []
        for plane in planes:
            plane.asked[number] = asyncio.get_running_loop().create_future()
            futures.append(plane.asked[number])
            _write(plane.writer, {"ask": name, "id": number, "payload": payload or {}})
        if futures:
            await asyncio.wait(futures, timeout=timeout_s)
        answers = {}
        for plane, future in zip(planes, futures, strict=True):
            plane.asked.pop(number, None)
            if future.done() and not future.cancelled():
                answers[plane.worker] = future.result()
        return answers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        plane: _Plane | None = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, orjson.JSONDecodeError, KeyError):
            hello = await _read(reader)
            plane = _Plane(str(hello["hello"]), writer)
            not_before(hello["now_us"] / 1e6)
            snapshot = await self._first_snapshot(plane.worker)
            _write(writer, {"snapshot": snapshot, "now_us": now_us()})
            self._planes.add(plane)
            while True:
                message = await _read(reader)
                if "question" in message:
                    answering = asyncio.create_task(self._answer(writer, message))
                    self._answering.add(answering)
                    answering.add_done_callback(self._answering.discard)
                    continue
                future = plane.asked.get(message["id"])
                if future is not None and not future.done():
                    future.set_result(message["answer"])
        if plane is not None:
            self._planes.discard(plane)
            for future in plane.asked.values():
                future.cancel()
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, message: Message) -> None:
        handler = self._answers.get(message["question"])
        answer = await handler(message["payload"]) if handler is not None else None
        _write(writer, {"reply": message["id"], "answer": answer})
