"""Making a call fit the money that is left: never past it, never below a useful answer."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from proxy.ceilings.ceiling import Ceiling
from proxy.ceilings.clamp import affordable_tokens, least_nanousd


def price(usage: Mapping[str, int]) -> int:
    return usage["input"] * 150 + usage.get("output", 0) * 600


@given(st.integers(1, 10_000), st.integers(1, 100_000), st.integers(1, 8), st.integers(0, 10**9))
def test_the_cap_is_the_largest_that_the_money_affords(inputs: int, output: int, sequences: int, nanousd: int) -> None:
    bound = Ceiling(inputs, output, sequences)
    tokens = affordable_tokens(bound, price, nanousd)
    assert 0 <= tokens <= output
    if tokens:
        assert price(bound.with_output(tokens)) <= nanousd
    if tokens < output:
        assert price(bound.with_output(tokens + 1)) > nanousd


def test_a_call_that_is_small_already_cannot_be_made_smaller() -> None:
    assert least_nanousd(Ceiling(100, 1024, 1), price, 1024) is None
    assert least_nanousd(Ceiling(None, 5000, 1), price, 1024) is None
    assert least_nanousd(Ceiling(100, 5000, 2), price, 1024) == 100 * 150 + 2 * 1024 * 600
