"""What a price is: rows that name what they are for (provider, model, dates, conditions) and what each unit costs.

The book's rows and the operator's are the same type, so that one resolver serves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from decimal import Decimal
from typing import NamedTuple

from pricing.values import frozen

ALWAYS_S = 0
NEVER_S = 2**62  # later than any time


class Price(NamedTuple):
    """`usd` for every `per` of a unit; a call is billed `at_least` this many of it."""

    usd: Decimal
    per: int
    at_least: Decimal | int = 0


@frozen
class Tier:
    """Prices of the whole call once its input tokens (cached ones too) pass `over`, or reach it where `inclusive`."""

    over: int
    prices: Mapping[str, Price]
    inclusive: bool = False

    def reached(self, input_tokens: int | Decimal) -> bool:
        return input_tokens > self.over or (self.inclusive and input_tokens == self.over)


@frozen
class Row:
    """Prices of `model` (exact name or trailing-* pattern, lower case) at `provider` in [from_s, to_s), epoch seconds UTC.

    `when`: conditions that must all hold; each names the values that it takes. The key `clock` names a schedule.
    `tiers`: ascending. `source` and `checked` (a date) say where the prices come from.
    """

    provider: str
    model: str
    prices: Mapping[str, Price]
    tiers: tuple[Tier, ...] = ()
    from_s: int = ALWAYS_S
    to_s: int = NEVER_S
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = ""
    checked: str = ""


@frozen
class Multiplier:
    """A factor on prices, applied last. `match`: attributes of the caller; `when`: conditions of the call.

    `gap`: only where no row of the model knows its conditions. `units`: the units that it is for; empty: all tokens, and
    all things and tools too where `everything`.
    """

    provider: str
    model: str
    factor: Decimal
    from_s: int = ALWAYS_S
    to_s: int = NEVER_S
    match: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: frozenset[str] = frozenset()
    everything: bool = False
    gap: bool = False
    source: str = ""
    group: str = ""


def specificity(pattern: str, name: str) -> int | None:
    """How closely `pattern` names `name`: None where it does not, larger is closer, an exact name is closest."""
    if pattern == name:
        return 1_000_000
    if pattern.endswith("*") and name.startswith(pattern[:-1]):
        return len(pattern)
    return None


def is_one_of(pattern: str, *names: str) -> bool:
    """Whether a pattern names any of them."""
    return any(specificity(pattern, name) is not None for name in names)
