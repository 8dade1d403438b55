"""A client's connection once it is a WebSocket: its bytes go to a `Peer`, its limits and counts stay the connection's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from websockets.protocol import Side

from proxy.downstream.client import Client
from proxy.upstream.peer import Peer
from proxy.wire.websocket import Opening

if TYPE_CHECKING:
    from proxy.downstream.connection import Connection

_MUCH_BYTES = 64 * 1024  # of a frame that is not whole yet; what is less is not counted


class Upgraded(asyncio.Protocol):
    """The transport's protocol in place of `connection`'s own. on_full: told whether the client reads too slowly."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.peer: Peer | None = None
        self.on_full: Callable[[bool], None] | None = None

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.connection.connection_lost(error)
        if self.peer is not None:
            self.peer.lost()

    def pause_writing(self) -> None:
        self.connection.pause_writing()
        if self.on_full is not None:
            self.on_full(True)

    def resume_writing(self) -> None:
        self.connection.resume_writing()
        if self.on_full is not None:
            self.on_full(False)


def upgrade(
    client: Client, opening: Opening, protocol: str | None, max_message_bytes: int
) -> tuple[Upgraded, Peer] | None:
    """Open the WebSocket that the client asked for; None where it has left. Whoever calls ends with `done`."""
    connection = cast("Connection", client.connection)
    if connection.gone or connection.transport.is_closing():
        return None
    client.started = True
    client.cycle.response_started = True
    upgraded = Upgraded(connection)
    transport = connection.transport
    upgraded.peer = peer = Peer(transport, Side.SERVER, max_message_bytes, _holding(client))
    transport.set_protocol(upgraded)
    transport.write(b"%b%b\r\n" % (opening.answer(protocol), client.own_lines().encode()))
    early = bytes(connection.early)
    connection.early.clear()
    if early:
        peer.received(early)
    return upgraded, peer


def done(client: Client) -> None:
    """The session is over: nobody is to answer the request that began it."""
    client.cycle.response_complete = True


def _holding(client: Client) -> Callable[[int], bool]:
    """Counts a frame's bytes among those in flight while it comes, as a request's body does."""
    counted = 0

    def holding(count: int) -> bool:
        nonlocal counted
        wanted = count if count > _MUCH_BYTES else 0
        if wanted > counted:
            if not client.hold(wanted - counted):
                return False
        elif wanted < counted:
            client.let_go(counted - wanted)
        counted = wanted
        return True

    return holding
