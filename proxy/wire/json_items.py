"""The items of the one list in a JSON object, `{"requests": [{…}, {…}]}`, as its bytes come: never whole in memory. No I/O.

Only what is between the items is read here; an item is an object whose brackets match, and whoever parses it says what is wrong
inside. O(bytes).
"""

from __future__ import annotations

import re

_BRACKETS = re.compile(rb'["{}\[\]]')
_IN_TEXT = re.compile(rb'["\\]')
_SPACE = re.compile(rb"[ \t\r\n]*")
_MOST_HEAD_BYTES = 1024


class ItemsError(ValueError):
    """What is wrong with the list, in words for its sender."""


class ItemReader:
    """Feed it the body in any pieces. most_bytes: of one item. `count`: how many there were by now."""

    def __init__(self, name: str, most_bytes: int) -> None:
        self._name, self._most = name, most_bytes
        self._head = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"' + name.encode() + rb'"[ \t\r\n]*:[ \t\r\n]*\[')
        self._kept = bytearray()
        self._at = 0  # so far it is read
        self._begin: int | None = None  # of the item that has not ended
        self._depth = 0
        self._in_text = self._headed = self._closed = self._comma = False
        self.count = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The items that end in these bytes. Raises `ItemsError`."""
        self._kept += data
        items: list[bytes] = []
        if not self._headed and not self._find_head():
            return items
        while not self._closed and self._step(items):
            pass
        if self._closed:
            self._read_tail()
            return items
        gone = self._at if self._begin is None else self._begin
        gone = min(gone, len(self._kept))
        if len(self._kept) - gone > self._most:
            raise ItemsError(f"item {self.count + 1} of `{self._name}` is too long")
        del self._kept[:gone]
        self._at -= gone
        self._begin = None if self._begin is None else 0
        return items

    def finish(self) -> None:
        """No more is to come. Raises `ItemsError` where that is too early."""
        if not self._closed or b"}" not in self._kept:
            raise ItemsError("the body ends too early")

    def _find_head(self) -> bool:
        match = self._head.match(self._kept)
        if match is None:
            if len(self._kept) > _MOST_HEAD_BYTES:
                raise ItemsError(f'the body must begin with {{"{self._name}": [')
            return False
        self._headed, self._at = True, match.end()
        return True

    def _step(self, items: list[bytes]) -> bool:
        """One step further; whether there is more to read."""
        kept = self._kept
        if self._in_text:
            match = _IN_TEXT.search(kept, self._at)
            if match is None:
                self._at = max(self._at, len(kept))
                return False
            self._in_text = kept[match.start()] != 0x22
            self._at = match.end() + self._in_text  # behind what a backslash takes with it
            return self._at <= len(kept)
        if self._begin is None:
            return self._between()
        match = _BRACKETS.search(kept, self._at)
        if match is None:
            self._at = max(self._at, len(kept))
            return False
        self._at = match.end()
        mark = kept[match.start()]
        if mark == 0x22:
            self._in_text = True
        else:
            self._depth += 1 if mark in b"{[" else -1
        if not self._depth:
            items.append(bytes(kept[self._begin : self._at]))
            self._begin = None
            self.count += 1
            self._comma = False
        return True

    def _between(self) -> bool:
        space = _SPACE.match(self._kept, self._at)
        assert space is not None
        self._at = space.end()
        if self._at == len(self._kept):
            return False
        mark = self._kept[self._at]
        self._at += 1
        may_begin = self._comma or not self.count
        if mark == 0x7B and may_begin:
            self._begin, self._depth = self._at - 1, 1
        elif mark == 0x2C and not may_begin:
            self._comma = True
        elif mark == 0x5D and not self._comma:
            self._closed = True
        else:
            raise ItemsError(f"`{self._name}` must be a list of objects")
        return True

    def _read_tail(self) -> None:
        del self._kept[: self._at]
        self._at = 0
        if bytes(self._kept).translate(None, b" \t\r\n") not in (b"", b"}"):
            raise ItemsError(f"`{self._name}` must be the body's only field")
