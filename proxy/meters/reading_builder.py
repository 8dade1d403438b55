"""What every reader writes into: counts made safe, dealt out to disjoint units, with what was odd about them flagged.

A response is somebody else's JSON: a count may be absent, null, a string, negative, a float, or larger than the whole
that it is a part of. Nothing here raises and nothing here goes below 0; what does not fit is cut and flagged
`inconsistent_usage`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from pricing.usage import Part, Quantity, Reading, UsageSource

# From here on a count is flagged `implausible`: no response and hardly a batch has a thousand million of anything.
IMPLAUSIBLE_COUNT = 10**9
# Larger numbers are cut to this, so that everything after here may take counts for numbers of sane size.
MAX_COUNT = 10**18
MAX_COST_USD = Decimal(10**9)
_LONGEST_CONDITION = 64  # no price row has a longer word

_ZERO = Decimal(0)
_NOTHING: Mapping[str, Any] = {}
_HALF = re.compile(r"[\ud800-\udfff]")
_DECIMAL = re.compile(r"\d{1,30}(\.\d{1,30})?", re.ASCII)


def mapping(value: object) -> Mapping[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else _NOTHING


def items(value: object) -> list[Any]:
    """`value` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str | None:
    """`value` if it is a string that is not empty, else None. Half surrogates, which nobody can store, are replaced."""
    if not isinstance(value, str) or not value:
        return None
    if value.isascii() or not _HALF.search(value):
        return value
    return _HALF.sub("\ufffd", value)


def number(value: object) -> Quantity | None:
    """A quantity as JSON may carry it (also as a string of digits, also negative); None for anything else.

    Floats keep the digits that they were written with: 4.8 is Decimal("4.8").
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else Decimal(repr(value))
    if isinstance(value, Decimal):
        return None if not value.is_finite() else (int(value) if value == value.to_integral_value() else value)
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return number(Decimal(value))
    return None


class ReadingBuilder:
    """Builds a `Reading`. `has_usage`: the response has stated some usage."""

    __slots__ = (
        "conditions", "cost_usd", "fee_usd", "flags", "has_usage", "model", "partial", "parts", "requested", "unreadable",
        "usage",
    )  # fmt: skip

    def __init__(self) -> None:
        self.usage: dict[str, Quantity] = {}
        self.conditions: dict[str, str] = {}
        self.requested: dict[str, str] = {}
        self.parts: list[Part] = []
        self.flags: list[str] = []
        self.model: str | None = None
        self.cost_usd: Decimal | None = None
        self.fee_usd = _ZERO
        self.has_usage = self.partial = self.unreadable = False

    def flag(self, name: str) -> None:
        """Note something odd, once."""
        if name not in self.flags:
            self.flags.append(name)

    def inconsistent(self) -> None:
        """The response contradicts itself."""
        self.flag("inconsistent_usage")

    def add(self, unit: str, quantity: Quantity) -> None:
        """Count `quantity` more of `unit`."""
        if quantity > 0:
            self.usage[unit] = self.usage.get(unit, 0) + quantity

    def condition(self, name: str, value: object) -> None:
        """Note a fact that chooses between prices; anything but a string or a number is as if absent."""
        if isinstance(value, str) and value:
            self.conditions[name] = value.lower()
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            self.conditions[name] = str(value)
        else:
            return
        self.requested.pop(name, None)

    def note_requested(self, name: str, value: object) -> None:
        """Note what the client's request says of the price: it holds until the response says something of it."""
        if isinstance(value, str) and 0 < len(value) <= _LONGEST_CONDITION and name not in self.conditions:
            self.requested[name] = value.lower()

    def read(self, value: object) -> Quantity:
        """A count, made safe."""
        if type(value) is int and 0 <= value < IMPLAUSIBLE_COUNT:
            return value
        quantity = number(value)
        if quantity is None or quantity < 0:
            self.unreadable = self.unreadable or quantity is None  # there is a count, and nobody can say which
            self.inconsistent()
            return 0
        if quantity >= IMPLAUSIBLE_COUNT:
            self.flag("implausible")
        return min(quantity, MAX_COUNT)

    def maybe(self, source: Mapping[str, Any], *names: str) -> Quantity | None:
        """The first of `names` that says more than 0, made safe; 0 where all say that, None where none is there.

        Servers that fill in two shapes at once leave the names of one at 0.
        """
        stated: Quantity | None = None
        for name in names:
            value = source.get(name)
            if value is not None:
                stated = self.read(value)
                if stated:
                    break
        return stated

    def count(self, source: Mapping[str, Any], *names: str) -> Quantity:
        """As `maybe`; 0 where none of `names` is there."""
        return self.maybe(source, *names) or 0

    def largest(self, *values: Quantity) -> Quantity:
        """One number that a response states in several places: the largest; flagged where two that are not 0 differ."""
        largest: Quantity = 0
        for value in values:
            if value and largest and value != largest:
                self.inconsistent()
            largest = max(largest, value)
        return largest

    def split(self, total: Quantity, parts: Iterable[tuple[str, Quantity]], rest: str) -> None:
        """Deal `total` out: to each part what it says, at most what is left; the remainder to `rest`."""
        left = total
        for unit, quantity in parts:
            if quantity > left:
                self.inconsistent()
            part = min(quantity, left)
            self.add(unit, part)
            left -= part
        self.add(rest, left)

    def check_total(self, stated: Quantity | None, counted: Quantity) -> None:
        """Flag a stated total that our sum contradicts. A total of 0 is how some servers leave it out."""
        if stated and stated != counted:
            self.inconsistent()

    def reported_cost(self, value: object) -> None:
        """What the provider says it charged, in USD; anything but a finite number >= 0 is rejected and flagged."""
        if value is None:
            return
        cost = None if isinstance(value, str) else number(value)
        if cost is None or cost < 0 or cost > MAX_COST_USD:
            self.flag("rejected_provider_cost")
        else:
            self.cost_usd = Decimal(cost)

    def reading(self) -> Reading:
        """The finished value."""
        source: UsageSource = "partial" if self.partial else "provider" if self.has_usage else "none"
        return Reading(
            usage=self.usage,
            source=source,
            model=self.model,
            conditions=self.conditions,
            requested=self.requested,
            parts=tuple(self.parts),
            provider_cost_usd=self.cost_usd,
            provider_fee_usd=self.fee_usd,
            flags=tuple(self.flags),
        )
