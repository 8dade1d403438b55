"""The bytes of a medium, of which only those are read that say how large it is."""

from __future__ import annotations

import binascii
from typing import Protocol

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class UnreadableError(Exception):
    """What stands there is no plain base64: somebody else may read something else in it."""


class Source(Protocol):
    """Bytes at a place; fewer than asked for where they end."""

    def __len__(self) -> int: ...

    def read(self, at: int, size: int) -> bytes: ...


class Plain:
    """Bytes that are at hand."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def read(self, at: int, size: int) -> bytes:
        return self._data[at : at + size] if at >= 0 else b""


class Encoded:
    """Bytes that stand in a request as base64, decoded only where they are read.

    Raises UnreadableError where anything but the plain alphabet stands at or before what is read: decoders skip such
    characters, or do not, so that the same text is two different pictures.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._checked = 0

    def __len__(self) -> int:
        """As many bytes as there are at most."""
        return len(self._text) * 3 // 4 - self._text[-2:].count("=")

    def read(self, at: int, size: int) -> bytes:
        if at < 0 or size <= 0 or at >= len(self):
            return b""
        first, last = at // 3 * 4, -(-(at + size) // 3) * 4
        self._check(min(first, len(self._text)))
        try:
            decoded = binascii.a2b_base64(self._text[first:last], strict_mode=True)
        except (binascii.Error, ValueError):
            raise UnreadableError("no base64") from None
        return decoded[at % 3 : at % 3 + size]

    def _check(self, until: int) -> None:
        """Everything before that character is of the alphabet; each is looked at once."""
        if until > self._checked:
            piece = self._text[self._checked : until]
            if not piece.isascii() or piece.encode().translate(None, _ALPHABET):
                raise UnreadableError("no base64")
            self._checked = until
