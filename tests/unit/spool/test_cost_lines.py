"""Cost lines are written as JSON would have them, whatever their texts and numbers are."""

from __future__ import annotations

from decimal import Decimal

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pricing.cost import CostLine, Rate
from proxy.spool.cost_lines import written

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', "\\", "%s", "{}", "ü", "\n"]
)
DECIMALS = st.decimals(0, 10**9, allow_nan=False, places=18) | st.sampled_from([Decimal("2.85E-7"), Decimal("0.150")])
RATES = st.builds(Rate, TEXTS, DECIMALS, st.sampled_from([1, 1000, 10**6]), st.none() | TEXTS)
LINES = st.builds(CostLine, RATES, st.integers(0, 10**15) | DECIMALS, DECIMALS, st.none() | TEXTS)


@given(st.lists(LINES, max_size=4))
def test_a_line_says_what_it_is_of(lines: list[CostLine]) -> None:
    for _ in range(2):  # once found out, and once known
        assert written(lines) == orjson.dumps([_line(line) for line in lines]).decode()


def _line(line: CostLine) -> dict[str, object]:
    return {
        "unit": line.unit,
        "quantity": str(line.quantity),
        "price_usd": str(line.price_usd),
        "per": line.per,
        "cost_usd": str(line.cost_usd),
        "model": line.model,
        "source": line.source,
    }
