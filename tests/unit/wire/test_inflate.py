"""Compressed bodies: the same bytes whatever the split, bounded, and a body that ends too early is noticed."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import inflate
from proxy.wire.inflate import InflateError, Inflater

TEXT = b"data: {}\n\n" * 1000


def _raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED = [
    (b"gzip", gzip.compress(TEXT)),
    (b"deflate", zlib.compress(TEXT)),
    (b"deflate", _raw(TEXT)),
    (b"gzip", b"".join(gzip.compress(TEXT[at : at + 999]) for at in range(0, len(TEXT), 999))),
    (b"x-gzip", gzip.compress(TEXT) + bytes(9)),  # padding
    (b"gzip", TEXT),  # made plain on the way
]


@given(st.sampled_from(PACKED), st.integers(1, 200))
def test_any_split_gives_the_plain_bytes(case: tuple[bytes, bytes], size: int) -> None:
    encoding, data = case
    one = Inflater(encoding)
    plain = b"".join(piece for at in range(0, len(data), size) for piece in one.feed(data[at : at + size]))
    assert plain == TEXT
    assert one.complete


def test_a_body_that_ends_too_early_is_not_complete() -> None:
    one = Inflater(b"gzip")
    list(one.feed(gzip.compress(TEXT)[:-9]))
    assert not one.complete
    assert not Inflater(b"gzip").complete


def test_damage_is_said() -> None:
    with pytest.raises(InflateError):
        list(Inflater(b"gzip").feed(b"\x1f\x8bnot gzip at all"))
    with pytest.raises(InflateError):
        list(Inflater(b"gzip").feed(gzip.compress(b"") * 5000))


def test_a_bomb_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "_MAX_BYTES", 3_000_000)
    bomb = gzip.compress(b"\0" * 50_000_000)
    seen = 0
    pieces = Inflater(b"gzip").feed(bomb)
    for _ in range(2):
        piece = next(pieces)
        assert len(piece) <= 1024 * 1024
        seen += len(piece)
    assert seen <= 3_000_000
    with pytest.raises(InflateError, match="larger"):
        next(pieces)
