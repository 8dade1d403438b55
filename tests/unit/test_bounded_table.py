"""A bounded table: the latest stay, in the order in which they were set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.bounded_table import BoundedTable

_KEYS = st.integers(0, 12)


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.sampled_from(["set", "put", "touch", "pop", "read"]), _KEYS, _KEYS), max_size=40),
)
def test_a_small_table_keeps_exactly_the_latest(most: int, steps: list[tuple[str, int, int]]) -> None:
    table: BoundedTable[int, int] = BoundedTable(most)
    model: list[tuple[int, int]] = []  # the oldest first
    for number, (step, key, other) in enumerate(steps):
        known = dict(model)
        if step == "set":
            table[key] = number
            model = [item for item in model if item[0] != key] + [(key, number)]
        elif step == "put":
            table.put([key, other], number)
            model = [item for item in model if item[0] not in (key, other)] + [
                (one, number) for one in dict.fromkeys([key, other])
            ]
        elif step == "touch" and key in known:
            table.touch(key)
            model = [item for item in model if item[0] != key] + [(key, known[key])]
        elif step == "pop":
            assert table.pop(key) == known.get(key)
            model = [item for item in model if item[0] != key]
        model = model[-most:]
        assert {one: table.get(one) for one in range(13) if one in table} == dict(model)
    table.clear()
    assert len(table) == 0


@pytest.mark.parametrize("most", [64, 1000])
def test_a_large_table_keeps_its_latest_and_few_more(most: int) -> None:
    table: BoundedTable[int, int] = BoundedTable(most)
    longest = 0
    for number in range(4 * most):
        table[number] = number
        longest = max(longest, len(table))
        assert table.get(number - most + 1) == (number - most + 1 if number >= most - 1 else None)
    assert most <= longest <= most + most // 64
