"""What can be understood of JSON as servers really send it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import lenient
from proxy.wire.lenient import Answer
from tests.support.rows import each_row

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(values.filter(lambda value: value is not None), st.booleans())
def test_good_json_is_what_it_is(value: Any, ascii_only: bool) -> None:
    assert lenient.loads(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")) == value


@each_row(
    ("data", "value"),
    [
        (rb'{"a":"\ud83d"}', {"a": "\ufffd"}),
        (rb'{"a":"\ud83d\ude00"}', {"a": "\U0001f600"}),
        (rb'{"a":"\ude00\ud83d x"}', {"a": "\ufffd\ufffd x"}),
        (rb'{"a":"\\ud83d"}', {"a": r"\ud83d"}),
        (rb'{"a":"\\\ud83d"}', {"a": "\\\ufffd"}),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b' \n{"a":1}\n ', {"a": 1}),
        (b'{"a":"\x01\n"}', {"a": "\x01\n"}),
        (b'{"a":-Infinity}', {"a": -math.inf}),
        (b"", None),
        (b"null", None),
        (b"{'a': 1}", None),
    ],
)
def test_what_is_no_json_by_the_letter(data: bytes, value: Any) -> None:
    assert lenient.loads(data) == value


def test_nan_is_a_number_that_is_none() -> None:
    assert math.isnan(lenient.loads(b'{"a":NaN}')["a"])


WHOLE = {"a": 'text \u00e9 \\ " {[', "b": [1, {"c": None, "d": True}], "usage": {"prompt": 100, "completion": 20}}


def is_part_of(part: Any, whole: Any) -> bool:
    """Whether `part` says nothing that `whole` does not."""
    if isinstance(part, dict):
        named = {name: one for name, one in part.items() if one is not None}  # half a name has no value
        return isinstance(whole, dict) and all(
            name in whole and is_part_of(one, whole[name]) for name, one in named.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) <= len(whole) and all(map(is_part_of, part, whole))
    if isinstance(part, str):
        return isinstance(whole, str) and whole.startswith(part.rstrip("\ufffd"))  # half a pair
    return part is None or part == whole


@pytest.mark.parametrize("ascii_only", [True, False])
def test_what_was_cut_off_is_read_to_where_it_goes_and_half_a_number_is_none(ascii_only: bool) -> None:
    body = json.dumps(WHOLE, ensure_ascii=ascii_only)
    for end in range(1, len(body)):
        cut = lenient.mended(body[:end].encode())
        assert cut is not None, body[:end]
        assert is_part_of(cut, WHOLE), (body[:end], cut)


@given(values)
def test_any_value_can_be_cut_anywhere(value: Any) -> None:
    body = json.dumps({"a": value, "b": value})
    for end in range(1, len(body) + 1):
        assert is_part_of(lenient.mended(body[:end].encode()), {"a": value, "b": value})


def test_a_cut_body_beyond_the_bound_is_left() -> None:
    assert lenient.mended(b'{"a":"' + b"x" * lenient.MAX_MENDED_BYTES) is None


@pytest.mark.long
@pytest.mark.parametrize("deep", [b"[", b'{"a":'])
def test_depth_is_no_danger(deep: bytes) -> None:
    assert lenient.loads(deep * 100_000) is None
    assert lenient.mended(deep * 100_000) is None
    assert lenient.answer(deep * 100_000).values == []


@each_row(
    ("body", "answer"),
    [
        (b'{"a":1}', Answer([{"a": 1}])),
        (b'{"a":1}{"a":1}', Answer([{"a": 1}])),
        (b'{"a":1}\n{"b":2}\n', Answer([{"a": 1}, {"b": 2}], streamed=True)),
        (b'{"a":1}\n{"b":', Answer([{"a": 1}])),
        (b'data: {"a":1}\n\ndata: [DONE]\n\n', Answer([{"a": 1}], streamed=True)),
        (b'data: {"a":1}\ndata: {"b":2}\n', Answer([{"a": 1}, {"b": 2}], streamed=True)),
        (b': note\n\nevent: x\ndata: {"a":1}', Answer([{"a": 1}], streamed=True)),
        (b'\xef\xbb\xbf\r\ndata: {"a":1}\r\n\r\n', Answer([{"a": 1}], streamed=True)),
        (b'\x00ata: {\n\ndata: {"a":1}\n\n', Answer([{"a": 1}], streamed=True)),
        (b'[{"a":1},\n{"b":2}', Answer([[{"a": 1}, {"b": 2}]], cut=True)),
        (b'{"a":{"b":"c', Answer([{"a": {"b": "c"}}], cut=True, cut_in_text=True)),
        (b"<html>", Answer([])),
        (b"", Answer([])),
        (b"ID3\x04\x00", Answer([])),
    ],
)
def test_a_body_is_opened_by_what_it_is(body: bytes, answer: Answer) -> None:
    assert lenient.answer(body) == answer


def test_an_answer_too_heavy_to_open_says_its_usage_all_the_same() -> None:
    filling = b"[]," * 2_000_000
    said = b'"usage":{"prompt_tokens":7,"x":{"y":1}}'
    ends = [
        b'{"model":"m","service_tier":"priority","x":[' + filling + b"0]," + said + b"}",
        b'{"model":"m","service_tier":"priority",' + said + b',"x":[' + filling + b"0]}",
        b'{"model":"m","service_tier":"priority",\n'
        + said
        + b',"x":['
        + filling
        + b'"\\"usage\\":{\\"prompt_tokens\\":1}"]}',
    ]
    for body in ends:
        expected = {"model": "m", "service_tier": "priority", "usage": {"prompt_tokens": 7, "x": {"y": 1}}}
        assert lenient.answer(body) == Answer([expected], cut=True)
    assert lenient.answer(b"[" + filling + b"0]") == Answer([], cut=True)


@pytest.mark.long
def test_what_is_long_and_light_is_opened() -> None:
    vectors = b'{"data":[' + b"0.0123456789," * 500_000 + b'0],"usage":{"prompt_tokens":7}}'
    assert len(lenient.answer(vectors).values[0]["data"]) == 500_001
    text = json.dumps({"content": "[]," * 3_000_000, "usage": {"prompt_tokens": 7}}).encode()
    assert not lenient.answer(text).cut
    lines = b'{"a":1}\n' * 300_000
    assert len(lenient.answer(lines).values) in (1, 300_000)


@pytest.mark.parametrize(
    "body",
    [
        b'{"usage":{"a":1,},"b":[1,2,],}',
        b'{"usage":{"a":1 ,\n},"b":[1,2]}',
        b')]}\'\n{"usage":{"a":1},"b":[1,2]}',
        b')]}\',\n{"usage":{"a":1},"b":[1,2]}',
        b'while(1);{"usage":{"a":1},"b":[1,2]}',
        '\ufeff{"usage":{"a":1},"b":[1,2]}'.encode("utf-16-le"),
        '\ufeff{"usage":{"a":1},"b":[1,2]}'.encode("utf-16-be"),
    ],
)
def test_what_needs_tidying(body: bytes) -> None:
    answer = lenient.answer(body)
    assert (answer.values, answer.cut, answer.streamed) == ([{"usage": {"a": 1}, "b": [1, 2]}], False, False)


def test_commas_in_texts_stay() -> None:
    assert lenient.answer(b'{"a":",}\\",]",}').values == [{"a": ',}",]'}]
    assert lenient.values_of(b'{"a":",}",}') == [{"a": ",}"}]


@pytest.mark.parametrize(
    "text", [b'"\\"' * 20_000, b'"\\"' * 20_000 + b"\\", b", " * 20_000, b"," + b" " * 40_000, b"[," * 9000]
)
def test_tidying_takes_no_longer_than_its_text(text: bytes) -> None:
    """Work that grew faster would not end here."""
    assert lenient.answer(b'{"a":' + text).streamed is False
