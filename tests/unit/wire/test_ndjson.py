"""NDJSON: any split of the bytes gives the same lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import ndjson
from tests.support.splitting import parts_of

LINES = st.lists(st.sampled_from([b'{"a":1}', b"", b"{}", b'{"done":true}\r']), max_size=8)


@given(LINES, st.booleans(), st.data())
def test_ndjson_lines_do_not_depend_on_the_split(lines: list[bytes], ended: bool, data: st.DataObject) -> None:
    stream = b"\n".join(lines) + (b"\n" if ended else b"")
    framer = ndjson.Framer()
    got = [line for part in parts_of(stream, data) for line in framer.feed(part)] + framer.close()
    assert got == [line.strip() for line in lines if line.strip()]


def test_an_oversized_ndjson_line_is_left_out_and_the_next_is_read() -> None:
    framer = ndjson.Framer(10)
    assert framer.feed(b"x" * 8) == []
    assert framer.feed(b"x" * 8) == []
    assert framer.feed(b'x\n{"a":1}\n') == [b'{"a":1}']
    assert framer.overflowed
