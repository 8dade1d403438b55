"""Recognises requests of one connection whose heads differ only in their content-length: the head is parsed once.

Nearly every client says the same of itself in each request that it sends on a connection. Bytes that are the same mean the
same: what the parser and an application made of them (`Head.notes`) still holds. Whatever differs, or is unusual, is parsed.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from proxy.types import Identity

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_MOST_DIGITS = 9
# Sizes of a body together with the digits that say them, from which on these are one more.
_ONE_DIGIT_MORE = tuple([10**digits + digits + 1 for digits in range(1, _MOST_DIGITS)])
_MOST_UNLIKE = 3  # heads in a row that differ: of such a client none is learned any more
_OTHER_FRAMING = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class Notes:
    """What an application found out by a head alone; None: not yet.

    identity: whose key it names, at that time. client: the client's kind. silent: whether it says nothing of sessions, callers
    or labels. intent: what the latest call's INTENT has in common with all that are like it, and what these are like.
    """

    __slots__ = ("client", "identity", "intent", "silent")

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.client: str | None = None
        self.silent = False
        self.intent: tuple[tuple[object, ...], bytes] | None = None


class Head:
    """What a request's head says, and what was found out by it. bytes: of it, but for the digits of its content-length."""

    __slots__ = ("_after", "_before", "_place", "bytes", "headers", "method", "named", "notes", "url")

    def __init__(
        self, before: bytes, after: bytes, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]],
        named: dict[bytes, bytes], notes: Notes,
    ) -> None:  # fmt: skip
        self._before, self._after = before, after  # its bytes in front of and behind its content-length
        self.bytes = len(before) + len(after)
        self._place = [name for name, _ in headers].index(b"content-length")
        self.method, self.url = method, url
        self.headers, self.named = headers, named
        self.notes = notes

    def length_in(self, data: bytes) -> bytes | None:
        """The content-length of a request that is `data`, whole and nothing else, and begins with this head; None of any other.
        Its body is as long as that says. (Slices are compared, for `startswith` takes twice as long.)"""
        rest = len(data) - self.bytes
        body_bytes = rest - 1 - bisect_right(_ONE_DIGIT_MORE, rest)
        length = b"%d" % body_bytes
        head = self._before + length + self._after
        # No body comes to 11, 102, 1003 together with its digits: one of 10 whose last byte is still to come does.
        return length if data[: len(head)] == head and body_bytes + len(length) == rest else None

    def with_length(self, length: bytes) -> tuple[list[tuple[bytes, bytes]], dict[bytes, bytes]]:
        """Its headers, as they came and by their names, with that content-length."""
        if self.named[b"content-length"] == length:
            return self.headers, self.named
        headers = self.headers.copy()
        headers[self._place] = (b"content-length", length)
        return headers, {**self.named, b"content-length": length}


class HeadCache:
    """The head that one connection's requests have had so far. most_bytes: of a head."""

    __slots__ = ("_most_bytes", "_unlike", "head")

    def __init__(self, most_bytes: int) -> None:
        self.head: Head | None = None
        self._most_bytes = most_bytes - _MOST_DIGITS
        self._unlike = 0

    def hit(self) -> None:
        self._unlike = 0

    def learn(
        self, data: bytes, body_bytes: int, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]],
        named: dict[bytes, bytes], notes: Notes,
    ) -> None:  # fmt: skip
        """Note the head of a request that came whole, as `data`, from its first byte to its last; what the parser made of it
        is `method` to `named`."""
        if self._unlike >= _MOST_UNLIKE:
            self.head = None
            return
        self._unlike += 1
        end = len(data) - body_bytes
        if end > self._most_bytes or data.find(b"\r\n\r\n") != end - 4 or not _OTHER_FRAMING.isdisjoint(named):
            return
        lengths = list(_LENGTH.finditer(data, 0, end))
        if len(lengths) != 1 or int(lengths[0][1]) != body_bytes or len(headers) != len(named):
            return
        begin, behind = lengths[0].span(1)
        self.head = Head(data[:begin], data[behind:end], method, url, headers, named, notes)
