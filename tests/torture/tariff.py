"""The provider's own prices and arithmetic: whole pico-dollars (1e-12 USD) a token, so that every sum is an integer.

A bill counts each token once, under `input`, `cache_read`, `cache_write_5m`, `output` or `reasoning`. The invoice's
total is rounded to nano-dollars (1e-9 USD) once, half to even, as the contract says of the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

Units = Mapping[str, int]

# Odd figures on purpose: sums end in every digit. `tm-half` costs halves of a nano-dollar, so rounding shows.
PRICES: dict[str, dict[str, int]] = {
    "tm-plain": {"input": 150_000, "cache_read": 75_000, "output": 600_000},
    "tm-odd": {"input": 1_234_567, "cache_read": 123_457, "output": 7_654_321, "reasoning": 9_876_543},
    "tm-half": {"input": 500, "cache_read": 250, "output": 1_500},
    "tm-dear": {"input": 15_000_000, "cache_read": 1_500_000, "cache_write_5m": 18_750_000, "output": 75_000_000},
    "tm-embed": {"input": 20_003},
}

# A unit without a price of its own is billed as this one.
_PARENT = {"reasoning": "output", "cache_read": "input", "cache_write_5m": "input"}


def price_pico(model: str, unit: str) -> int:
    prices = PRICES[model]
    while unit not in prices:
        unit = _PARENT[unit]
    return prices[unit]


def cost_pico(model: str, units: Units) -> int:
    return sum(quantity * price_pico(model, unit) for unit, quantity in units.items() if quantity)


def to_nano(pico: int) -> int:
    """Nano-dollars, rounded half to even."""
    whole, rest = divmod(pico, 1000)
    return whole + (1 if rest > 500 or (rest == 500 and whole % 2) else 0)


def cost_nano(model: str, units: Units) -> int:
    return to_nano(cost_pico(model, units))


def price_rows(provider: str) -> list[dict[str, str]]:
    """The same prices as rows of a gateway's configuration: USD per million tokens, as decimal strings."""
    rows = []
    for model, prices in PRICES.items():
        row = {"provider": provider, "model": model}
        row |= {unit: f"{Decimal(pico).scaleb(-6):f}" for unit, pico in prices.items()}
        rows.append(row)
    return rows
