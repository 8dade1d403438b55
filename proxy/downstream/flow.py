"""Whether a connection is read from and may be written to, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

HIGH_WATER_BYTES = 65_536  # of a body that its reader has not taken: nothing more is read until then


class Flow:
    """is_full: what was read waits for its turn, and nothing more is read until it had that."""

    is_full = False

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = False
        self.write_paused = False
        self._writable = asyncio.Event()
        self._writable.set()

    async def drain(self) -> None:
        await self._writable.wait()

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused and not self.is_full:
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        if not self.write_paused:
            self.write_paused = True
            self._writable.clear()

    def resume_writing(self) -> None:
        if self.write_paused:
            self.write_paused = False
            self._writable.set()


_NO_PATIENCE = struct.pack("ii", 1, 0)  # `struct linger`: what was not sent when it closes is not waited for


def reset_at_close(transport: asyncio.Transport) -> None:
    """Let its end be an error for who reads (RST): of an answer that ends with the connection, FIN says that it is whole."""
    line = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, ValueError):  # closed by now
        if line is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_PATIENCE)
