"""What is held of JSON is its bytes."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal

import orjson
import pytest

from proxy.wire.packed import packed


def test_it_is_orjsons_and_holds_no_more_than_its_bytes() -> None:
    value = {"texts": ["a" * 300, "ä"], "numbers": [1] * 300}
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = [packed(value) for _ in range(100)]
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert set(held) == {orjson.dumps(value)}
    assert taken < 100 * (len(held[0]) + 100)


def test_what_is_no_json_is_said_as_orjson_says_it() -> None:
    assert packed({"usd": Decimal("0.1")}, str) == b'{"usd":"0.1"}'
    with pytest.raises(TypeError):
        packed({"usd": Decimal("0.1")})
    large = ["a" * 70_000]
    assert packed(large) == orjson.dumps(large)
