"""multipart/form-data as it comes, without I/O and never whole in memory: what a field is, then its data piece by piece.

As strict as `multipart.py`, whose words it uses.
"""

from __future__ import annotations

from proxy.wire.multipart import FIRST_LINE, MAX_PARTS, FormError, Part, part_of

_MAX_HEAD_BYTES = 4096


class FormReader:
    """Feed it the body in any pieces. `boundary` is known when the first field is; `done` when the form is whole."""

    def __init__(self) -> None:
        self.boundary = b""
        self.done = False
        self._rest = b""
        self._in_data = False
        self._parts = 0

    def feed(self, data: bytes) -> list[Part | bytes]:
        """What these bytes come to: a `Part` without data where one begins, then its data. Raises `FormError`."""
        self._rest += data
        events: list[Part | bytes] = []
        while self._step(events):
            pass
        return events

    def finish(self) -> None:
        """The body is over. Raises `FormError` where the form is not."""
        if not self.done:
            raise FormError("the form has no end")

    def _step(self, events: list[Part | bytes]) -> bool:
        """Take one thing off what is left; False where more bytes are needed for that."""
        if self.done:
            if self._rest not in (b"", b"\r", b"\r\n"):
                raise FormError("something stands after the form")
            return False
        if not self.boundary:
            return self._first_line()
        return self._data(events) if self._in_data else self._head(events)

    def _first_line(self) -> bool:
        match = FIRST_LINE.match(self._rest)
        if match is None:
            if len(self._rest) > 80 or not b"--".startswith(self._rest[:2]):
                raise FormError("the body is not multipart/form-data")
            return False
        self.boundary, self._rest = match[1], self._rest[match.end() :]
        return True

    def _head(self, events: list[Part | bytes]) -> bool:
        head, blank, rest = self._rest.partition(b"\r\n\r\n")
        if not blank:
            if len(self._rest) > _MAX_HEAD_BYTES:
                raise FormError("the head of a field is too long")
            return False
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise FormError(f"the form has more than {MAX_PARTS} fields")
        events.append(part_of(b"\r\n" + head + b"\r\n\r\n"))
        self._rest, self._in_data = rest, True
        return True

    def _data(self, events: list[Part | bytes]) -> bool:
        delimiter = b"\r\n--" + self.boundary
        at = self._rest.find(delimiter)
        if at < 0:
            sure = len(self._rest) - len(delimiter) + 1
            if sure > 0:
                events.append(self._rest[:sure])
                self._rest = self._rest[sure:]
            return False
        behind = self._rest[at + len(delimiter) : at + len(delimiter) + 2]
        if len(behind) < 2:
            if at:
                events.append(self._rest[:at])
                self._rest = self._rest[at:]
            return False
        if behind not in (b"\r\n", b"--"):
            raise FormError("a line of the form begins like its boundary")
        if at:
            events.append(self._rest[:at])
        self._rest = self._rest[at + len(delimiter) + 2 :]
        self._in_data, self.done = False, behind == b"--"
        return True
