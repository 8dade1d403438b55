"""A TCP proxy that does to connections what networks do: put it before an upstream, a database or Redis.

It runs in a thread of its own; `faults` may be changed at any time and holds for every connection, old and new.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong. Times in seconds; `lose` and `cut` are shares of replies; None or 0: it does not.

    latency_s, jitter_s: added to each piece, each way. bytes_per_s: to the client. cut_after: bytes of replies in a
    connection, then a reset. half_close_after: the same, then a FIN to the client while the server may go on.
    blackhole: connections are taken, and nothing passes. refuse: connections are reset at once, perhaps after a request.
    away: nobody listens, so that no connection comes about.
    lose_replies: of the replies, so many are swallowed, and their connection is reset: the server did what it was asked.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    cut_after: int | None = None
    half_close_after: int | None = None
    blackhole: bool = False
    refuse: bool = False
    away: bool = False
    lose_replies: float = 0.0


NONE = Faults()


class TcpProxy:
    """Listens on a free port of 127.0.0.1 while it is used as a context. `seen` counts what was done."""

    def __init__(self, target: tuple[str, int] | Path, faults: Faults = NONE, *, seed: int = 1) -> None:
        """target: host and port, or a unix socket."""
        self._target = target
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.faults = faults
        self.port = 0
        self._server: asyncio.Server | None = None
        self.seen: Counter[str] = Counter()

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="tcp-proxy", daemon=True)
        self._thread.start()
        started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def reset_all(self) -> None:
        """Reset every connection that is open now."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def change(self, **faults: Any) -> None:
        self.faults = replace(NONE, **faults)
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    # In the thread

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(started))
        self._loop.close()

    async def _serve(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        await self._listen()
        started.set()
        await self._stop.wait()
        if self._server is not None:
            self._server.close()
        self._reset_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> None:
        """Listen, always at the same port, or not, as the faults say."""
        if self.faults.away and self._server is not None:
            self._server.close()
            self._server = None
        elif not self.faults.away and self._server is None:
            self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port, backlog=2048)
            self.port = self._server.sockets[0].getsockname()[1]

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen["connections"] += 1
        self._writers.add(writer)
        mine = asyncio.current_task()
        assert mine is not None
        self._tasks.add(mine)
        upstream: asyncio.StreamWriter | None = None
        try:
            if self.faults.refuse:
                self.seen["refused"] += 1
                return
            from_server, upstream = await self._reach()
            self._writers.add(upstream)
            link = _Link(self, reader, writer, from_server, upstream)
            ways = [self._loop.create_task(way) for way in (link.requests(), link.replies())]
            self._tasks.update(ways)
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                self._tasks.difference_update(ways)
        except OSError:
            self.seen["unreachable"] += 1
        finally:
            for one in (writer, upstream):
                if one is not None:
                    self._writers.discard(one)
                    _reset(one)
            self._tasks.discard(mine)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    def chance(self, share: float) -> bool:
        return share > 0 and self._rng.random() < share

    async def delay(self, count: int, *, reply: bool) -> None:
        faults = self.faults
        pause_s = faults.latency_s + faults.jitter_s * self._rng.random()
        if reply and faults.bytes_per_s:
            pause_s += count / faults.bytes_per_s
        if pause_s:
            await asyncio.sleep(pause_s)
        while self.faults.blackhole:
            await asyncio.sleep(0.02)


class _Link:
    """One client's connection and the one that was opened for it."""

    def __init__(
        self,
        proxy: TcpProxy,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._asked = False
        self._replied = 0

    async def requests(self) -> None:
        while data := await self._client.read(_READ_BYTES):
            await self._proxy.delay(len(data), reply=False)
            self._asked = True
            self._to_server.write(data)
            await self._to_server.drain()
        with contextlib.suppress(OSError):
            self._to_server.write_eof()

    async def replies(self) -> None:
        """The server's side; raises ConnectionError to end the connection with a reset."""
        while data := await self._server.read(_READ_BYTES):
            faults, seen = self._proxy.faults, self._proxy.seen
            seen["replies"] += self._asked
            if self._asked and self._proxy.chance(faults.lose_replies):
                seen["lost"] += 1
                raise ConnectionResetError
            self._asked = False
            await self._proxy.delay(len(data), reply=True)
            room = None if faults.cut_after is None else faults.cut_after - self._replied
            if room is not None and len(data) > room:
                self._to_client.write(data[: max(0, room)])
                await self._to_client.drain()
                seen["cut"] += 1
                raise ConnectionResetError
            self._to_client.write(data)
            await self._to_client.drain()
            self._replied += len(data)
            if faults.half_close_after is not None and self._replied > faults.half_close_after:
                seen["half_closed"] += 1
                break
        with contextlib.suppress(OSError):
            self._to_client.write_eof()
        if self._server.at_eof():
            await self._to_client.drain()
            self._to_client.close()
        raise ConnectionAbortedError  # one side is done: so is the connection


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing():
        with contextlib.suppress(OSError, ValueError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
