"""Whether a connection is read from and may be written to, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """is_full: what was read waits for its turn, and nothing more is read until it had that."""

    is_full = False

    def resume_reading(self) -> None:
        if not self.is_full:
            super().resume_reading()


_NO_PATIENCE = struct.pack("ii", 1, 0)  # `struct linger`: what was not sent when it closes is not waited for


def reset_at_close(transport: asyncio.Transport) -> None:
    """Let its end be an error for who reads (RST): of an answer that ends with the connection, FIN says that it is whole."""
    line = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, ValueError):  # closed by now
        if line is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_PATIENCE)
