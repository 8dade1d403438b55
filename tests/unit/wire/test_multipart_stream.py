"""A form that comes in any pieces is read as one that came whole, and never held."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import multipart
from proxy.wire.multipart import FormError, Part
from proxy.wire.multipart_stream import FormReader

PARTS = [
    Part("purpose", b"batch"),
    Part("file", b'{"a": 1}\r\n--x\n--b0undary', b"l.jsonl", b"text/plain"),
    Part("z", b""),
]
BODY = multipart.encode(b"b0undary", PARTS)


def read(pieces: list[bytes]) -> list[Part]:
    reader, got = FormReader(), []
    for piece in pieces:
        for event in reader.feed(piece):
            if isinstance(event, Part):
                got.append(event)
            else:
                got[-1] = got[-1]._replace(data=got[-1].data + event)
    reader.finish()
    return got


@given(st.lists(st.integers(0, len(BODY)), max_size=12))
def test_any_pieces_are_the_same_form(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(BODY)]
    assert read([BODY[a:b] for a, b in zip(places, places[1:], strict=False)]) == PARTS


def test_no_more_is_held_than_a_boundary() -> None:
    reader = FormReader()
    reader.feed(BODY[: BODY.index(b"{")])
    passed = sum(len(event) for _ in range(100) for event in reader.feed(b"y" * 10_000) if isinstance(event, bytes))
    assert passed >= 1_000_000 - 100


@pytest.mark.parametrize(
    "body",
    [
        b"", b"no form", BODY[:-6], BODY + b"more", b"preamble\r\n" + BODY,
        BODY.replace(b"content-disposition", b"content-nothing", 1), b"--b\r\n" + b"x" * 5000,
        b"--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nv\r\n--bX",
        multipart.encode(b"b", [Part(str(n), b"") for n in range(70)]),
    ],
)  # fmt: skip
def test_what_is_no_form_is_said(body: bytes) -> None:
    with pytest.raises(FormError):
        read([body[at : at + 7] for at in range(0, len(body), 7)])
