"""Compressed bodies without I/O: gzip and deflate in, plain bytes out, never more than a bound at a time or in all.

We ask upstreams for plain bodies; some compress all the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_PIECE_BYTES = 1024 * 1024
_SLICE_BYTES = 64 * 1024
_MAX_BYTES = 256 * 1024 * 1024
_WINDOWS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


class InflateError(ValueError):
    """The bytes are not what their encoding says, or are too many once they are plain."""


class Inflater:
    """One body. `complete` once its end mark has been seen."""

    __slots__ = ("_inflate", "_total")

    def __init__(self, encoding: bytes) -> None:
        self._inflate = zlib.decompressobj(_WINDOWS[encoding])
        self._total = 0

    @property
    def complete(self) -> bool:
        return self._inflate.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plain bytes of `data`, in pieces of at most a megabyte. Raises `InflateError`."""
        for start in range(0, len(data), _SLICE_BYTES):  # for each piece the rest of what was given is copied
            yield from self._feed(data[start : start + _SLICE_BYTES])

    def _feed(self, data: bytes) -> Iterator[bytes]:
        while data and not self._inflate.eof:
            try:
                piece = self._inflate.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise InflateError(f"the compressed body is damaged: {error}") from None
            self._total += len(piece)
            if self._total > _MAX_BYTES:
                raise InflateError(f"the body is larger than {_MAX_BYTES} bytes once it is plain")
            if piece:
                yield piece
            data = self._inflate.unconsumed_tail


def can_inflate(encoding: bytes) -> bool:
    return encoding in _WINDOWS
