"""One end of a WebSocket: what the other side sends takes bounded memory."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from websockets.frames import Frame, Opcode
from websockets.protocol import Side

from proxy.upstream.peer import Peer


class Transport:
    """Takes what is written; `unread` is what nobody has read of it."""

    def __init__(self, unread: int = 0) -> None:
        self.unread = unread
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return lambda: None


def peer(transport: Transport) -> Peer:
    return Peer(cast(asyncio.Transport, transport), Side.SERVER, 1024 * 1024)


async def test_a_message_in_endless_empty_parts_is_closed() -> None:
    transport, frames, ends = Transport(), [], []
    one = peer(transport)
    one.start(frames.extend, lambda code, reason: ends.append(code))
    one.received(Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True))
    part = Frame(Opcode.CONT, b"", fin=False).serialize(mask=True)
    for _ in range(30):
        one.received(part * 1000)
    assert ends == [1009]
    assert len(frames) < 15_000


async def test_who_reads_nothing_gets_no_answers_to_pings() -> None:
    ping = Frame(Opcode.PING, b"x" * 100).serialize(mask=True)
    for unread, answered in ((0, True), (100 * 1024 * 1024, False)):
        transport = Transport(unread)
        one = peer(transport)
        one.start(lambda frames: None, lambda code, reason: None)
        one.received(ping)
        assert bool(transport.written) is answered
        assert one.open


async def test_parts_that_wait_for_the_rest_of_their_message_count_as_in_flight() -> None:
    counts: list[int] = []

    def held(count: int) -> bool:
        counts.append(count)
        return count <= 2500

    transport, ends = Transport(), []
    one = Peer(cast(asyncio.Transport, transport), Side.SERVER, 1024 * 1024, held)
    one.start(lambda frames: None, lambda code, reason: ends.append(code))
    one.received(Frame(Opcode.TEXT, b"a" * 1000, fin=False).serialize(mask=True))
    one.received(Frame(Opcode.CONT, b"a" * 1000, fin=True).serialize(mask=True))
    assert counts == [1000, 0]
    for opcode in (Opcode.TEXT, Opcode.CONT, Opcode.CONT):
        one.received(Frame(opcode, b"a" * 1000, fin=False).serialize(mask=True))
    assert counts == [1000, 0, 1000, 2000, 3000]
    assert ends == [1013]
