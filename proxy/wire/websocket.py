"""The opening of a WebSocket, RFC 6455 section 4: what a client asks, what it is answered. Pure; frames are a library's."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from websockets.utils import accept_key


class Opening(NamedTuple):
    """What a client's request to open a WebSocket says. protocols: the sub-protocols that it offers."""

    key: str
    protocols: tuple[str, ...]

    def answer(self, protocol: str | None) -> bytes:
        """The head that opens it. No extension is ever agreed on: frames stay as they are, uncompressed."""
        chosen = b"sec-websocket-protocol: %s\r\n" % protocol.encode() if protocol else b""
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: %s\r\n%s" % (accept_key(self.key).encode(), chosen)
        )


def opening_of(headers: Mapping[bytes, bytes]) -> Opening | None:
    """None where the request does not ask for a WebSocket of version 13, or not properly."""
    if headers.get(b"upgrade", b"").strip().lower() != b"websocket":
        return None
    if b"upgrade" not in words(headers.get(b"connection", b"").lower()):
        return None
    if headers.get(b"sec-websocket-version", b"").strip() != b"13":
        return None
    key = headers.get(b"sec-websocket-key", b"").strip()
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            return None
    except binascii.Error:
        return None
    offered = words(headers.get(b"sec-websocket-protocol", b""))
    return Opening(key.decode(), tuple(one.decode("latin-1") for one in offered))


def words(value: bytes) -> Sequence[bytes]:
    """The parts of a header that is a list."""
    return [part for one in value.split(b",") if (part := one.strip())]


def is_opened(key: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether an answer with status 101 opens what was asked for with `key`, and agrees on nothing that was not offered."""
    named = dict(headers)
    return (
        named.get(b"upgrade", b"").strip().lower() == b"websocket"
        and named.get(b"sec-websocket-accept", b"").strip() == accept_key(key).encode()
        and not named.get(b"sec-websocket-extensions", b"").strip()
    )
