"""Compressed bodies without I/O: gzip and deflate in, plain bytes out, never more than a bound at a time or in all.

We ask upstreams for plain bodies; some compress all the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

_PIECE_BYTES = 1024 * 1024
_SLICE_BYTES = 64 * 1024
_MAX_BYTES = 256 * 1024 * 1024
_MOST_MEMBERS = 4096
_GZIP = b"\x1f\x8b"
_WINDOWS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


class InflateError(ValueError):
    """The bytes are not what their encoding says, or are too many once they are plain."""


class Inflater:
    """One body. `complete` once its end mark has been seen.

    As clients do, it takes several members one behind the other (RFC 1952, 2.2), deflate without zlib's frame (RFC 9110,
    8.4.1.2), and a body that somebody on the way has made plain without saying so.
    """

    __slots__ = ("_encoding", "_held", "_inflate", "_members", "_plain", "_total")

    def __init__(self, encoding: bytes) -> None:
        self._encoding = encoding
        self._inflate: Any = None
        self._held = b""  # too few bytes to tell how to go on
        self._plain = False
        self._members = self._total = 0

    @property
    def complete(self) -> bool:
        return self._plain or (self._inflate is not None and self._inflate.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plain bytes of `data`, in pieces of at most a megabyte. Raises `InflateError`."""
        for start in range(0, len(data), _SLICE_BYTES):  # for each piece the rest of what was given is copied
            yield from self._feed(data[start : start + _SLICE_BYTES])

    def _feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._plain:
                self._count(data)
                yield data
                return
            if self._inflate is None or self._inflate.eof:
                data, self._held = self._held + data, b""
                if not self._begin(data):
                    return
                if self._plain:
                    continue
            try:
                piece = self._inflate.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise InflateError(f"the compressed body is damaged: {error}") from None
            self._count(piece)
            if piece:
                yield piece
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail

    def _begin(self, data: bytes) -> bool:
        """Whether a member begins with these bytes, or plain text; False where there are too few, or only padding follows."""
        first = self._inflate is None
        if len(data) < len(_GZIP):
            self._held = data
            return False
        window = _WINDOWS[self._encoding]
        if window > zlib.MAX_WBITS:
            if not data.startswith(_GZIP):
                self._plain = first
                return first
        elif not first:
            return False
        elif data[0] & 0x0F != zlib.DEFLATED or int.from_bytes(data[:2], "big") % 31:
            window = -zlib.MAX_WBITS
        self._members += 1
        if self._members > _MOST_MEMBERS:
            raise InflateError(f"the compressed body has more than {_MOST_MEMBERS} members")
        self._inflate = zlib.decompressobj(window)
        return True

    def _count(self, piece: bytes) -> None:
        self._total += len(piece)
        if self._total > _MAX_BYTES:
            raise InflateError(f"the body is larger than {_MAX_BYTES} bytes once it is plain")


def can_inflate(encoding: bytes) -> bool:
    return encoding in _WINDOWS
