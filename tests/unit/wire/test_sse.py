"""The SSE framer: any split of the bytes gives the same events."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import sse
from proxy.wire.sse import Framer, Splitter, payload
from tests.support.steps import counted_steps

STREAMS = {
    "lf": (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    "crlf": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "cr": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "mixed": (b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", [b"a", b"b", b"c"]),
    "bom": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "comments": (b": ping\n\n:\n\ndata: a\n: inside\n\n", [b"a"]),
    "many lines": (b"event: x\nid: 1\ndata: a\ndata:b\ndata\ndata:  c\n\n", [b"a\nb\n\n c"]),
    "no space": (b"data:a\n\n", [b"a"]),
    "unterminated": (b"data: a\n\ndata: b", [b"a", b"b"]),
    "unterminated line": (b"data: a\n\ndata: b\n", [b"a", b"b"]),
    "empty": (b"\n\n\n\ndata: \n\ndata: b\n\n", [b"", b"b"]),
}


@pytest.mark.parametrize("name", STREAMS)
def test_every_split_point(name: str) -> None:
    stream, expected = STREAMS[name]
    for cut in range(len(stream) + 1):
        framer = Framer()
        assert framer.feed(stream[:cut]) + framer.feed(stream[cut:]) + framer.close() == expected, cut
    framer = Framer()
    assert [p for i in range(len(stream)) for p in framer.feed(stream[i : i + 1])] + framer.close() == expected


PIECES = st.sampled_from([b"\r", b"\n", b"\r\n", b"data: ", b"data:", b"x", b":", b"\n\n", b"data: {}\n\n"])


@given(st.lists(PIECES, max_size=40).map(b"".join), st.data())
def test_blocks_are_the_input_and_events_do_not_depend_on_the_split(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    splitter, framer, whole = Splitter(), Framer(), Framer()
    blocks = [block for part in parts for block in splitter.feed(part)]
    assert b"".join(blocks) + splitter.rest == stream
    assert [p for part in parts for p in framer.feed(part)] + framer.close() == whole.feed(stream) + whole.close()


def test_an_oversized_frame_passes_unread_and_the_next_is_read() -> None:
    stream = b"data: " + b"x" * 500 + b"\n\ndata: ok\n\n"
    for size in (1, 7, 64, len(stream)):
        framer, splitter = Framer(100), Splitter(100)
        parts = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert b"".join(block for part in parts for block in splitter.feed(part)) + splitter.rest == stream
        assert splitter.overflowed == (size <= 64)
        if size <= 64:
            assert [p for part in parts for p in framer.feed(part)] == [b"ok"]


def test_a_block_without_data_has_no_payload() -> None:
    assert payload(b": taximeter\n\n") is None
    assert payload(b"event: ping\n\n") is None


class Searched:
    """A pattern that counts the bytes that it is to look through."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern, self.bytes = pattern, 0

    def search(self, text: bytearray, position: int) -> re.Match[bytes] | None:
        self.bytes += len(text) - position
        return self.pattern.search(text, position)


def test_work_grows_with_the_bytes_not_with_their_square(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(pieces: int) -> int:
        searched = Searched(sse._BLANK_LINE)
        framer = Framer()
        with monkeypatch.context() as patch:
            patch.setattr(sse, "_BLANK_LINE", searched)
            with counted_steps() as counted:
                for _ in range(pieces):
                    framer.feed(b"x" * 64)
        return counted.total + searched.bytes

    assert steps(800) < 10 * steps(100)  # 8 times the bytes: 8 if linear, 64 if quadratic
