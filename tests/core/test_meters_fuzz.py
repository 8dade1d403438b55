"""No reader ever raises, nothing is ever negative, whatever JSON comes back: invariant 7's other half."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.meters import Context, registry
from proxy.meters.reader import Reader

READERS = sorted(registry.all_readers(), key=lambda one: one.dialect)
# Every word that the readers look for, so that random objects hit their branches.
SOURCES = Path(registry.__file__).parent.glob("*.py")
WORDS = sorted({word for path in SOURCES for word in re.findall(r'"([\w.:-]{2,50})"', path.read_text())})

numbers = st.one_of(
    st.integers(-5, 3000),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([True, False, "12", "-3", "abc", "", "1e400", "NaN", 0.5, 431.0]),
)
scalars = st.one_of(st.none(), numbers, st.sampled_from([*WORDS, "completed", "succeeded", "message", "compaction"]))
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(WORDS), inner, max_size=6)),
    max_leaves=25,
)
objects = st.dictionaries(st.sampled_from(WORDS), values, max_size=8)


def check(reader: Reader, response: Any, events: list[Any], context: Context) -> None:
    stream = reader.stream(context)
    for event in events:
        stream.event(event)
    for reading in (reader.whole(response, context), reader.usage_only(response, context), stream.finish()):
        for usage in (reading.usage, *(part.usage for part in reading.parts)):
            for unit, quantity in usage.items():
                assert isinstance(unit, str)
                assert type(quantity) in (int, Decimal)
                assert quantity > 0
                assert Decimal(quantity).is_finite()
        cost = reading.provider_cost_usd
        assert cost is None or (cost.is_finite() and cost >= 0)
        assert all(isinstance(value, str) for value in reading.conditions.values())


@pytest.mark.parametrize("reader", READERS, ids=lambda one: one.dialect)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(response=st.one_of(objects, values), events=st.lists(objects, max_size=4), facts=objects)
def test_any_json_is_survived(reader: Reader, response: Any, events: list[Any], facts: dict[str, Any]) -> None:
    headers = {"fireworks-cached-prompt-tokens": "x", "x-amzn-bedrock-input-token-count": "-1"}
    check(reader, response, events, Context(request=facts, selector=facts, response_headers=headers))
