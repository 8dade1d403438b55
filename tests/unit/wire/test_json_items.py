"""The items of a list as its bytes come, however they are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.json_items import ItemReader, ItemsError
from tests.support.rows import each_row

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\{}[],: é\n'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='a"\\]}', max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def read(pieces: list[bytes], most_bytes: int = 1000) -> list[Any]:
    reader = ItemReader("requests", most_bytes)
    items = [item for piece in pieces for item in reader.feed(piece)]
    reader.finish()
    assert reader.count == len(items)
    return [json.loads(item) for item in items]


@given(
    items=st.lists(st.dictionaries(st.text(max_size=3), _VALUES, max_size=3), max_size=5),
    every=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
)
def test_items_are_those_of_the_whole(items: list[dict[str, Any]], every: int, indent: int | None) -> None:
    body = json.dumps({"requests": items}, indent=indent).encode()
    assert read([body[at : at + every] for at in range(0, len(body), every)]) == items


@each_row("every", [1, 1000])
@each_row(
    "body",
    [
        b"", b"{", b"[]", b'{"requests": [', b'{"requests": []', b'{"requests": [{}', b'{"requests": [{}}', b'{"requests": [1]}',
        b'{"requests": [{},]}', b'{"requests": [,{}]}', b'{"requests": [{}{}]}', b'{"requests": [{}, "a"]}', b'{"requests": {}}',
        b'{"requests": [{}], "model": 1}', b'{"requests": [{}]}}', b'{"requests": [{}]} x', b'{"model": 1, "requests": [{}]}',
        b'{"Requests": [{}]}', b'{"requests": [{"a": "\\"}]}',
    ],
)  # fmt: skip
def test_what_is_no_list_of_objects_alone_is_said(body: bytes, every: int) -> None:
    with pytest.raises(ItemsError):
        read([body[at : at + every] for at in range(0, len(body), every)])


def test_an_item_that_is_too_long_is_not_kept() -> None:
    with pytest.raises(ItemsError, match="item 2"):
        read([b'{"requests": [{"a": 1},{"a": "', b"x" * 600, b"x" * 600])
    with pytest.raises(ItemsError, match="begin"):
        read([b" " * 2000])


def test_only_the_item_that_has_not_ended_is_kept() -> None:
    reader = ItemReader("requests", 1000)
    reader.feed(b'{"requests": [')
    for number in range(1000):
        assert len(reader.feed(b'{"a": "' + b"x" * 900 + b'"},{"b":')) == 1
        reader.feed(b"1}," if number < 999 else b"1}")
        assert len(reader._kept) < 1000
    assert reader.count == 2000
