"""One connection to Redis: commands in order, many under way at once, answers and the channel's news on the same socket.

redis-py needs a connection for each command that is under way, and several times the CPU; hiredis does the parsing here
too, and around it is no more than this file. No command is tried again: whoever sent it knows what that would mean.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from hiredis.hiredis import PushNotification

from proxy.config.store_url import Address, Tls

# Of an answer's time, counted in ticks of our own event loop: where that stands still, Redis is not to blame.
_TICKS = 5
_CONNECT_S = 1.0
_SENTINEL_ANSWERS_S = 0.5


Command = tuple[str | bytes | int | float, ...]


class LinkLost(ConnectionError):  # noqa: N818 - the state's name
    """The connection is gone, or an answer did not come in time: nobody knows whether the command was carried out."""


class CommandError(Exception):
    """Redis answered with an error."""


class Link(asyncio.Protocol):
    """Made by `connect`. on_news gets channel and message of what subscribed channels say; on_lost is called once, at the end.
    deadline_s: an answer that takes longer ends the connection.
    """

    def __init__(self, on_news: Callable[[str, str], None], on_lost: Callable[[], None], deadline_s: float) -> None:
        self._tick_s = deadline_s / _TICKS
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace")
        self._under_way: deque[tuple[asyncio.Future[Any] | None, int]] = deque()
        self._unsent: list[bytes] = []
        self._tick_number = 0
        self._ticking = False
        self._on_news = on_news
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's

    def connection_lost(self, exc: Exception | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection at once. What is under way ends with `LinkLost`."""
        if self.lost:
            return
        self.lost = True
        if self._transport is not None:
            self._transport.abort()
        under_way, self._under_way = self._under_way, deque()
        for future, _ in under_way:
            if future is not None and not future.done():
                future.set_exception(LinkLost())
        self._on_lost()

    def call(self, *command: str | bytes | int | float) -> asyncio.Future[Any]:
        """Send a command; its answer. Raises `LinkLost`; the future has `LinkLost` or `CommandError`."""
        if self.lost:
            raise LinkLost
        future: asyncio.Future[Any] = self._loop.create_future()
        self._put((command,))
        self._expect(((future, self._tick_number),))
        return future

    def tell(self, commands: Sequence[Command]) -> None:
        """Send commands whose answers, or loss, are nothing to anybody."""
        if self.lost or not commands:
            return
        self._put(commands)
        self._expect([(None, self._tick_number)] * len(commands))

    def _expect(self, answers: Sequence[tuple[asyncio.Future[Any] | None, int]]) -> None:
        self._under_way.extend(answers)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(self._tick_s, self._tick)

    def subscribe(self, channel: str) -> None:
        """Hear a channel's news; what confirms it is news too."""
        if self.lost:
            raise LinkLost
        self._put((("SUBSCRIBE", channel),))

    def _put(self, commands: Sequence[Command]) -> None:
        """All of them, or none where one is no command."""
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]  # its annotation is of one word
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent += packed

    def flush(self) -> None:
        """Send now what would be sent in the loop's next turn."""
        unsent, self._unsent = self._unsent, []
        if unsent and not self.lost and self._transport is not None:
            self._transport.write(b"".join(unsent))

    def _tick(self) -> None:
        self._ticking = False
        if self.lost or not self._under_way:
            return
        self._tick_number += 1
        if self._tick_number - self._under_way[0][1] > _TICKS:
            self.close()
            return
        self._ticking = True
        self._loop.call_later(self._tick_s, self._tick)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while (answer := reader.gets()) is not False:
                self._take(answer)
        except hiredis.ProtocolError:
            self.close()

    def _take(self, answer: Any) -> None:
        if isinstance(answer, PushNotification):
            if answer[0] == "message":
                self._on_news(answer[1], answer[2])
            return
        if not self._under_way:
            self.close()
            return
        future, _ = self._under_way.popleft()
        if future is None or future.done():  # nobody waits for it, or not any more
            return
        if isinstance(answer, hiredis.ReplyError):
            future.set_exception(CommandError(str(answer)))
        else:
            future.set_result(answer)


async def connect(
    address: Address, on_news: Callable[[str, str], None], on_lost: Callable[[], None], deadline_s: float
) -> Link:
    """A connection that is logged in, in RESP3, on its database. Raises OSError (`LinkLost` is one), CommandError."""
    host, port = (address.host, address.port) if address.sentinels is None else await _master(address)
    link = Link(on_news, on_lost, deadline_s)
    await _open(link, address.path, host, port, address.tls)
    await _log_in(link, address.user, address.password)
    if address.database:
        await _first(link, "SELECT", address.database)
    return link


async def _open(link: Link, path: str | None, host: str, port: int, tls: Tls | None) -> None:
    loop = asyncio.get_running_loop()
    context = None if tls is None else await asyncio.to_thread(_context, tls)  # it reads files, whole stores of them
    async with asyncio.timeout(_CONNECT_S):
        if path is not None:
            await loop.create_unix_connection(lambda: link, path)
        else:
            await loop.create_connection(lambda: link, host, port, ssl=context)


def _context(tls: Tls) -> ssl.SSLContext:
    """Raises OSError where a file cannot be read, or is none of its kind."""
    context = ssl.create_default_context(cafile=tls.ca_certs)
    if tls.certfile is not None:
        context.load_cert_chain(tls.certfile, tls.keyfile)
    return context


async def _log_in(link: Link, user: str | None, password: str | None) -> None:
    login = ("AUTH", user or "default", password) if password is not None else ()
    try:
        await _first(link, "HELLO", 3, *login, "SETNAME", "taximeter")
    except (
        CommandError
    ) as error:  # a server that does not know the command repeats its words, and one of them is the password
        raise CommandError(str(error).partition(", with args")[0]) from None


async def _first(link: Link, *command: str | int) -> Any:
    """A command without whose answer the connection is of no use."""
    try:
        return await link.call(*command)
    except BaseException:
        link.close()
        raise


async def _master(address: Address) -> tuple[str, int]:
    """The address of the server that takes writes, from the first Sentinel that knows it. Raises OSError."""
    assert address.sentinels is not None
    places, service, user, password = address.sentinels
    problems = []
    for host, port in places:
        link = Link(lambda *_: None, lambda: None, _SENTINEL_ANSWERS_S)
        try:
            await _open(link, None, host, port, address.tls)
            await _log_in(link, user, password)
            place = await link.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        except (OSError, CommandError) as error:
            problems.append(f"{host}:{port}: {error or type(error).__name__}")
        else:
            if place:
                return place[0], int(place[1])
            problems.append(f"{host}:{port} knows no {service}")
        finally:
            link.close()
    raise OSError(f"no Sentinel says where {service} is ({'; '.join(problems)})")
