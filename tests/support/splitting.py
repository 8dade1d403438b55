"""Bytes as a network hands them over: cut anywhere."""

from __future__ import annotations

from hypothesis import strategies as st


def parts_of(stream: bytes, data: st.DataObject) -> list[bytes]:
    """`stream` in up to nine parts, some of them empty."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
