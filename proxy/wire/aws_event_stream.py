"""AWS event streams (`application/vnd.amazon.eventstream`, Bedrock's streams) without I/O. O(bytes).

A message: total length, headers' length, CRC-32 of those two (all u32 big-endian), headers, payload, CRC-32 of all
before it. https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache

from pricing.values import frozen
from proxy.wire.sse import MAX_FRAME_BYTES

CONTENT_TYPE = b"application/vnd.amazon.eventstream"
_PRELUDE = struct.Struct(">III")
_SMALLEST = 16
_MOST_REMEMBERED_BYTES = 1024
# Header values by type: fixed sizes; 6 and 7 (bytes, string) carry a u16 length.
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class _BrokenStreamError(ValueError):
    """The bytes are not an event stream (from here on)."""


@frozen
class Message:
    """One event: its type (`metadata`, `chunk`, …; an exception's name where it is one) and its payload, JSON bytes.

    raw: the whole message as it came. failed: it is an exception, or an error, and no event.
    """

    event: str
    payload: bytes
    raw: bytes = field(default=b"", compare=False, repr=False)
    failed: bool = False

    @property
    def json(self) -> bytes:
        """The payload as the SDKs show it: under the event's name (`{"metadata": {...}}`)."""
        return b'{"%s":%s}' % (self.event.encode(), self.payload or b"{}")


class Framer:
    """`feed` returns the messages that are complete. broken: the bytes make no sense from here on; a meter stops, and the relay
    goes on with the `rest`."""

    __slots__ = ("_buffer", "_max", "broken")

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max = max_frame_bytes
        self.broken = False

    def feed(self, data: bytes) -> list[Message]:
        """Messages that `data` completes, up to where the stream breaks."""
        if self.broken:
            return []
        self._buffer += data
        messages: list[Message] = []
        start = 0
        try:
            while (message := self._at(start)) is not None:
                messages.append(message)
                start += len(message.raw)
        except _BrokenStreamError:
            self.broken = True
        del self._buffer[:start]
        return messages

    def _at(self, start: int) -> Message | None:
        """The message that begins there; None where it is not whole yet."""
        if len(self._buffer) - start < _PRELUDE.size:
            return None
        total, headers, crc = _PRELUDE.unpack_from(self._buffer, start)
        if zlib.crc32(self._buffer[start : start + 8]) != crc:
            raise _BrokenStreamError("the prelude's checksum does not fit")
        if not _SMALLEST + headers <= total <= self._max:
            raise _BrokenStreamError(f"a message of {total} bytes with {headers} of headers (limit {self._max})")
        if len(self._buffer) - start < total:
            return None
        return _message(bytes(self._buffer[start : start + total]), headers)

    def rest(self) -> bytes:
        """What has come of a message that is not whole; forgotten with this."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def close(self) -> list[Message]:
        """Nothing: a message that is cut off says nothing."""
        self._buffer.clear()
        return []


def _message(raw: bytes, headers_length: int) -> Message:
    if zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "big"):
        raise _BrokenStreamError("a message's checksum does not fit")
    end = _PRELUDE.size + headers_length
    headers = raw[_PRELUDE.size : end]
    name, failed = _remembered_kind(headers) if headers_length <= _MOST_REMEMBERED_BYTES else _kind(headers)
    return Message(name, raw[end:-4], raw, failed)


def _kind(headers: bytes) -> tuple[str, bool]:
    """The name of what the message is, and whether that is no event."""
    values = _headers(headers)
    name = values.get(":event-type") or values.get(":exception-type") or values.get(":error-code") or ""
    return name, values.get(":message-type", "event") != "event"


_remembered_kind = lru_cache(256)(_kind)  # a stream's messages have the same few headers


def _headers(raw: bytes) -> dict[str, str]:
    """The headers whose values are strings (the event's type is one)."""
    headers: dict[str, str] = {}
    position = 0
    try:
        while position < len(raw):
            name_end = position + 1 + raw[position]
            name = raw[position + 1 : name_end].decode()
            kind = raw[name_end]
            position = name_end + 1
            if kind in _FIXED:
                position += _FIXED[kind]
                continue
            (length,) = struct.unpack_from(">H", raw, position)
            if kind == 7:
                headers[name] = raw[position + 2 : position + 2 + length].decode()
            position += 2 + length
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise _BrokenStreamError(f"unreadable headers: {error}") from error
    return headers


def encode(event: str, payload: bytes) -> bytes:
    """An event as bytes."""
    return _encoded({":event-type": event, ":content-type": "application/json", ":message-type": "event"}, payload)


def encode_exception(name: str, payload: bytes) -> bytes:
    """What ends a stream that failed; SDKs raise it by its name."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return _encoded(headers, payload)


def with_payload(message: bytes, payload: bytes) -> bytes:
    """A whole message with its headers as they are, and another payload."""
    _, headers, _ = _PRELUDE.unpack_from(message)
    return _framed(message[_PRELUDE.size : _PRELUDE.size + headers], payload)


def _encoded(named: Mapping[str, str], payload: bytes) -> bytes:
    headers = b""
    for name, text in named.items():
        value = text.encode()
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value
    return _framed(headers, payload)


def _framed(headers: bytes, payload: bytes) -> bytes:
    lengths = struct.pack(">II", _SMALLEST + len(headers) + len(payload), len(headers))
    head = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return head + struct.pack(">I", zlib.crc32(head))
