"""Newline-delimited JSON without I/O (Ollama's streams): bytes in, in any split, whole lines out. O(bytes)."""

from __future__ import annotations

from proxy.wire.sse import MAX_FRAME_BYTES


class Framer:
    """`feed` returns the lines that are complete, without their line end and without empty ones."""

    __slots__ = ("_buffer", "_max", "_skipping", "overflowed")

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max = max_frame_bytes
        self._skipping = False
        self.overflowed = False

    def feed(self, data: bytes) -> list[bytes]:
        """Lines that `data` completes. A line over the limit is left out and `overflowed` set."""
        end = data.rfind(b"\n")
        if end < 0:
            self._keep(data)
            return []
        lines = (bytes(self._buffer) + data[:end]).split(b"\n")
        if self._skipping:
            lines = lines[1:]
            self._skipping = False
        self._buffer.clear()
        self._keep(data[end + 1 :])
        return [stripped for line in lines if (stripped := line.strip())]

    def _keep(self, data: bytes) -> None:
        if not self._skipping:
            self._buffer += data
        if len(self._buffer) > self._max:
            self._buffer.clear()
            self._skipping = self.overflowed = True

    def close(self) -> list[bytes]:
        """The last line, if its server left out the line end."""
        last = bytes(self._buffer).strip()
        self._buffer.clear()
        self._skipping = False
        return [last] if last else []
