"""How one chunk of a chunked body begins, by its size on the wire (RFC 9112, 7.1)."""

from __future__ import annotations

_MOST = 4096  # sizes that are remembered: those of a stream's events


class _ChunkHead(dict[int, bytes]):
    """A size's line, as servers write it that do so in lower case and without extensions. Where no chunk has that size, or the
    body's last has, it is longer than the chunk, so that nothing begins with it."""

    def __missing__(self, size: int) -> bytes:
        head = _head(size)
        if size <= _MOST:
            self[size] = head
        return head


def _head(size: int) -> bytes:
    for digits in range(1, 17):
        content = size - digits - 4
        if content > 0 and len(head := b"%x\r\n" % content) == digits + 2:
            return head
    return b"-" * (size + 1)


chunk_head = _ChunkHead()
