"""Whole numbers of more than 64 bits are found wherever they stand: a look at every fourth byte leaves none out."""

from __future__ import annotations

import random
import re

import orjson
import pytest

from proxy.dialects.fields import _may_have_long, parse_object
from proxy.errors import Refused


def test_a_row_of_nineteen_digits_is_seen_wherever_it_begins() -> None:
    for before in range(24):
        for digits in range(16, 26):
            for behind in range(6):
                text = b"x" * before + b"7" * digits + b"," * behind
                assert _may_have_long(text) == (digits >= 19), text


def test_it_says_what_a_search_says() -> None:
    chance = random.Random(20)
    for _ in range(2000):
        text = bytes(chance.choices(b'0123456789,.e-"a ', [9] * 10 + [1] * 7, k=chance.randrange(200)))
        assert _may_have_long(text) == (re.search(rb"[0-9]{19}", text) is not None), text


@pytest.mark.parametrize("padding", range(8))
def test_a_number_that_cannot_be_passed_on_is_refused_by_its_field(padding: int) -> None:
    body = orjson.dumps({"a": "b" * padding, "seed": 0})[:-2]
    assert parse_object(body + b"18446744073709551615}")["seed"] == 2**64 - 1
    with pytest.raises(Refused) as refused:
        parse_object(body + b"18446744073709551616}")
    assert refused.value.refusal.param == "seed"
    assert parse_object(orjson.dumps({"a": "1" * 30 + "b" * padding}))


_LONG_NUMBERS = {
    "beside": lambda number: b'"seed":%s' % number,
    "below": lambda number: b'"seed":{"a":["b",{"c":[1,2.5,"d",%s]}]}' % number,
    "among numbers": lambda number: b'"seed":[1,2,%s,3.5]' % number,
    "in lists of lists": lambda number: b'"seed":[[[1]],[[],[{"c":[]},%s]]]' % number,
    "among objects": lambda number: b'"seed":[{},{"a":"b","c":%s}]' % number,
}


@pytest.mark.parametrize("padding", [3000, 500_000, 1_200_000], ids=["short", "long", "longer"])
@pytest.mark.parametrize("place", _LONG_NUMBERS)
def test_it_is_found_in_bodies_of_any_length_and_depth(place: str, padding: int) -> None:
    texts = b'{"a":"%s","messages":[{"role":"user","content":"%s"}],%s}'
    for number, fits in ((b"18446744073709551615", True), (b"-9223372036854775809", False), (b"1e30", True)):
        body = texts % (b"9" * 40, b"b" * padding, _LONG_NUMBERS[place](number))
        if fits:
            assert parse_object(body)["a"]
            continue
        with pytest.raises(Refused) as refused:
            parse_object(body)
        assert refused.value.refusal.param == "seed"
