"""The client that calls upstreams: HTTP/1.1 on pooled connections, and nothing that the hot path does not need.

Why our own and not a library: see DECISIONS.md (`upstream client`); a call through here costs about a sixth of what the
best general client costs. What a caller may rely on:

* `send` returns when the response's head is there; `Response.read` gives the body piece by piece as it arrives.
* Every failure is an `UpstreamError` (`connection.py`).
* Redirects are never followed, nothing is ever retried, the host is only ever the configured one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import cast

from proxy.spool.pending import Pending
from proxy.upstream.connect import Origin, open_transport
from proxy.upstream.connection import Connection
from proxy.upstream.response import Response, UpstreamError
from proxy.upstream.turns import Turns


class _Pool:
    """The connections to one upstream: at most `max_connections` in use, the last used first; keys share them."""

    def __init__(
        self,
        origin: Origin,
        *,
        max_connections: int,
        connect_timeout_s: float,
        first_byte_timeout_s: float,
        idle_timeout_s: float,
        reuse_after_stream: bool,
        alone: Callable[[], bool],
    ) -> None:
        self.origin = origin
        self.reuse_after_stream = reuse_after_stream
        self.first_byte_timeout_s = first_byte_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self._max_connections = max_connections
        self._connect_timeout_s = connect_timeout_s
        # Local servers (uvicorn among them) close an idle connection after 5 s, hosted ones after a minute or more.
        # We must be first: a request written as the other side closes would be lost without an answer.
        self._keepalive_s = 30.0 if origin.tls else 4.0
        self._idle: list[Connection] = []
        self.turns = Turns(max_connections, alone)
        self._sweeper: asyncio.TimerHandle | None = None

    def acquire_now(self, holder: str) -> Connection | None:
        """As `acquire`, where one is idle and nobody has to wait; else None."""
        if not (self._idle and self.turns.take_now(holder)):
            return None
        connection = self._take_idle()
        if connection is None:
            self.turns.give(holder)
            return None
        connection.holder = holder
        return connection

    async def acquire(self, holder: str) -> Connection:
        """A connection with nothing on it, open and read from. Raises `UpstreamError` with `sent=False`."""
        if not self.turns.take_now(holder):
            await self._wait_for_turn(holder)
        try:
            connection = self._take_idle() or await self._connect()
        except BaseException:
            self.turns.give(holder)
            raise
        connection.holder = holder
        return connection

    async def _wait_for_turn(self, holder: str) -> None:
        try:
            await self.turns.take(holder, self._connect_timeout_s)
        except TimeoutError:
            message = (
                f"of {self._max_connections} connections to the upstream none was free for this key within "
                f"{self._connect_timeout_s:g} s"
            )
            raise UpstreamError("connect_timeout", message, sent=False) from None

    async def open(self, factory: Callable[[Callable[[], None]], asyncio.Protocol], holder: str) -> None:
        """A connection for a protocol of the caller's, which calls what `factory` is given once it is lost. It counts among the
        pool's, but is nobody else's ever. Raises `UpstreamError` with `sent=False`."""
        if not self.turns.take_now(holder):
            await self._wait_for_turn(holder)
        given_back = False

        def give() -> None:
            nonlocal given_back
            if not given_back:
                given_back = True
                self.turns.give(holder)

        try:
            await self._reach(lambda: factory(give))
        except BaseException:
            give()
            raise

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and not connection.idle_longer_than(self._keepalive_s):
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        connection = Connection(self, asyncio.get_running_loop())
        await self._reach(lambda: cast(asyncio.Protocol, connection))
        if not connection.usable:
            raise UpstreamError("connect", "the upstream closed the connection at once", sent=False)
        return connection

    async def _reach(self, factory: Callable[[], asyncio.Protocol]) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await open_transport(self.origin, factory)
        except TimeoutError:
            message = f"no connection to the upstream within {self._connect_timeout_s:g} s"
            raise UpstreamError("connect_timeout", message, sent=False) from None
        except OSError as error:  # refused, unreachable, unknown host, TLS failure
            raise UpstreamError(
                "connect", f"cannot connect to the upstream: {error.strerror or error}", sent=False
            ) from None

    def release(self, connection: Connection) -> None:
        self._idle.append(connection)
        self._free(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._keepalive_s, self._sweep)

    def lost(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        self._free(connection)

    def _free(self, connection: Connection) -> None:
        holder, connection.holder = connection.holder, None
        if holder is not None:
            self.turns.give(holder)

    def _sweep(self) -> None:
        self._sweeper = None
        for connection in [one for one in self._idle if one.idle_longer_than(self._keepalive_s)]:
            connection.close()
        if self._idle:
            self._sweeper = asyncio.get_running_loop().call_later(self._keepalive_s / 2, self._sweep)

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.close_idle()

    def close_idle(self) -> None:
        for connection in list(self._idle):
            connection.close()


class UpstreamClient:
    """All upstreams' pools. Heads are made by the caller from configuration and allow-lists, never from raw input."""

    def __init__(self, alone: Callable[[], bool] = lambda: True) -> None:
        """alone: whether there is but one key that could call."""
        self._pools: dict[str, _Pool] = {}
        self._alone = alone

    def add(
        self,
        name: str,
        origin: Origin,
        *,
        max_connections: int = 1000,
        connect_timeout_s: float = 5,
        first_byte_timeout_s: float = 600,
        idle_timeout_s: float = 300,
        reuse_after_stream: bool = True,
    ) -> None:
        """Know an upstream by `name` (one for each upstream and dialect whose base URL differs).

        reuse_after_stream: false for servers (llama.cpp's) that promise keep-alive and close after each stream.
        """
        self._pools[name] = _Pool(
            origin,
            max_connections=max_connections,
            connect_timeout_s=connect_timeout_s,
            first_byte_timeout_s=first_byte_timeout_s,
            idle_timeout_s=idle_timeout_s,
            reuse_after_stream=reuse_after_stream,
            alone=self._alone,
        )

    async def send(
        self,
        name: str,
        head: bytes,
        body: bytes,
        sent: Callable[[Response], None] | None = None,
        *,
        holder: str = "",
        record: Pending | None = None,
    ) -> Response:
        """Send one request, await the response's head. Raises `UpstreamError`; a cancelled send closes its connection.

        sent: called with the response before it has anything, so that it can be broken off. holder: whose call it is.
        record: what has to be on disk before.
        """
        pool = self._pools[name]
        connection = pool.acquire_now(holder) or await pool.acquire(holder)
        response = connection.send(head, body, record)
        if sent is not None:
            sent(response)
        try:
            await response.wait_for_head()
        except asyncio.CancelledError:
            response.abort()
            raise
        return response

    async def upload(
        self, name: str, head: bytes, pieces: AsyncIterator[bytes], *, holder: str = "", chunked: bool = True
    ) -> Response:
        """Send one request whose body comes piece by piece, in chunks or as long as its head says; await the response's
        head, which may come before the last piece. Raises `UpstreamError`, and whatever `pieces` raises: then the upstream
        has got no whole request."""
        connection = await self._pools[name].acquire(holder)
        response = connection.send(head, b"")
        connection.body_follows()
        try:
            async for piece in pieces:
                if response.over or response.status:
                    break
                if piece:
                    await connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            else:
                if chunked:
                    await connection.write(b"0\r\n\r\n")
                connection.body_ended()
            await response.wait_for_head()
        except BaseException:
            response.abort()
            raise
        return response

    async def open(
        self, name: str, factory: Callable[[Callable[[], None]], asyncio.Protocol], *, holder: str = ""
    ) -> None:
        """A connection for a protocol of the caller's (`_Pool.open`)."""
        await self._pools[name].open(factory, holder)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def close_idle(self) -> None:
        """Whoever calls next has a new connection."""
        for pool in self._pools.values():
            pool.close_idle()


def encode_head(
    method: bytes, target: bytes, fixed: bytes, headers: Mapping[bytes, bytes], body_bytes: int | None
) -> bytes:
    """A request head. `fixed` is the upstream's own header block; `headers` must have passed the allow-list. body_bytes None:
    the body comes in chunks."""
    extra = b"\r\n".join([*map(b": ".join, headers.items()), b""])
    if body_bytes is None:
        return b"%s %s HTTP/1.1\r\n%s%stransfer-encoding: chunked\r\n\r\n" % (method, target, fixed, extra)
    return b"%s %s HTTP/1.1\r\n%s%scontent-length: %d\r\n\r\n" % (method, target, fixed, extra, body_bytes)
