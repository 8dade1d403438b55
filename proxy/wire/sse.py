"""Server-sent events without I/O: bytes in, in any split, whole events out.

Two layers, because the relay and the meters want different things. `Splitter` cuts a byte stream into raw *blocks*
whose concatenation is the input, byte for byte, so that a relay can leave one out and pass the rest on. `payload` says
what data a block carries. `Framer` is both together. The work is O(bytes): nothing is searched twice.
Format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re

# A frame larger than this is passed on in pieces that no meter reads. The largest real ones are base64 images (~20 MB).
MAX_FRAME_BYTES = 64 * 1024 * 1024

# Two line ends in a row. The groups are atomic, or CRLF would match as CR followed by LF.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class Splitter:
    """Cuts a byte stream after each blank line. `feed` returns whole blocks, `rest` is what has no end yet.

    A block that outgrows `max_frame_bytes` is handed out in pieces as it comes; `overflowed` is then true for good, and
    every piece up to the next blank line is not an event (`payload` of a piece would lie, so `Framer` skips them).
    """

    __slots__ = ("_buffer", "_max", "_scanned", "_skipping", "overflowed")

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max = max_frame_bytes
        self._scanned = 0
        self._skipping = False
        self.overflowed = False

    @property
    def rest(self) -> bytes:
        """Bytes that were fed and not handed out."""
        return bytes(self._buffer)

    @property
    def empty(self) -> bool:
        """Whether nothing is held back: what is fed next begins a block."""
        return not self._buffer and not self._skipping

    def feed(self, data: bytes) -> list[bytes]:
        """Blocks that `data` completes, each with the blank line that ends it."""
        return [block for block, _ in self.feed_marked(data)]

    def feed_marked(self, data: bytes) -> list[tuple[bytes, bool]]:
        """As `feed`; the flag says whether a block is a whole event (false: a piece of an oversized one)."""
        if not self._buffer and not self._skipping and len(data) <= self._max and _is_one_block(data):
            return [(data, True)]
        buffer = self._buffer
        buffer += data
        blocks: list[tuple[bytes, bool]] = []
        start = 0
        position = self._scanned
        while match := _BLANK_LINE.search(buffer, position):
            position = match.end()
            blocks.append((bytes(memoryview(buffer)[start:position]), not self._skipping))
            self._skipping = False
            start = position
        if start:
            del buffer[:start]
        if len(buffer) > self._max or (self._skipping and buffer):
            blocks += self._shed()
        # A blank line may have begun in the last three bytes, no earlier.
        self._scanned = max(0, len(buffer) - 3)
        return blocks

    def _shed(self) -> list[tuple[bytes, bool]]:
        """Give up on the oversized block: hand out all but the bytes that may begin its end."""
        self._skipping = True
        self.overflowed = True
        piece = bytes(self._buffer[:-3])
        del self._buffer[:-3]
        return [(piece, False)] if piece else []

    def close(self) -> bytes:
        """The last, unterminated block (may be empty). The splitter is then as new."""
        last = bytes(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        self._skipping = False
        return last


def _is_one_block(data: bytes) -> bool:
    """Whether `data` is one whole event as nearly every server sends it: one write, LF line ends."""
    return data.endswith(b"\n\n") and data.find(b"\r") < 0 and data.find(b"\n\n") == len(data) - 2


def payload(block: bytes) -> bytes | None:
    """The data of an event block; None where it has none (comments, `event:` alone, an empty line)."""
    if block.startswith(b"data: ") and b"\r" not in block:
        end = block.find(b"\n")
        if end < 0 or end >= len(block) - 2:  # one line only: what every provider sends
            return block[6:end] if end >= 0 else block[6:]
    # A CRLF that was cut in two can leave its second half at the beginning of the next block.
    block = block.lstrip(b"\r\n").removeprefix(_BOM)
    lines = [line for raw in _LINE_END.split(block) if (line := _data_of(raw)) is not None]
    return b"\n".join(lines) if lines else None


def _data_of(line: bytes) -> bytes | None:
    if line.startswith(b"data:"):
        value = line[5:]
        return value[1:] if value.startswith(b" ") else value
    return b"" if line == b"data" else None


class Framer:
    """Bytes in, payloads out: `Splitter` and `payload` together, for meters."""

    __slots__ = ("_splitter",)

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._splitter = Splitter(max_frame_bytes)

    @property
    def overflowed(self) -> bool:
        """Whether an event was too large to be read; usage may then be missing."""
        return self._splitter.overflowed

    def feed(self, data: bytes) -> list[bytes]:
        """Payloads of the events that `data` completes."""
        blocks = self._splitter.feed_marked(data)
        return [event for block, whole in blocks if whole and (event := payload(block)) is not None]

    def close(self) -> list[bytes]:
        """The payload of an event that its server never ended, so that a usage in it is not lost."""
        last = payload(self._splitter.close())
        return [] if last is None else [last]
