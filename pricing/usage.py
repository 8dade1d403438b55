"""What a response says was used: the value that meters make and the price engine multiplies.

A `Usage` maps unit names (`pricing.units`) to quantities and is *disjoint*: every token stands under exactly one unit, so
that cost is a plain sum. Quantities are `int`, or `Decimal` where a provider bills fractions; never float, never negative,
and units of quantity 0 are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from pricing.values import NOTHING, Value, frozen

Quantity = int | Decimal
Usage = Mapping[str, Quantity]
UsageSource = Literal["provider", "estimated", "partial", "none"]

EMPTY: Usage = NOTHING
_NO_CONDITIONS: Mapping[str, str] = NOTHING


@frozen
class Part:
    """Usage that another model billed inside the same response (an advisor, a router's sub-model, an ASR model)."""

    model: str
    usage: Usage


@frozen
class Reading(Value):
    """One response, read.

    usage: disjoint counts billed at the response's own model.
    source: where they come from; `partial` means that some of it could not be read.
    model: the name that the response states, None where it states none.
    conditions: facts that choose between prices, as *served* (`service_tier`, `speed`, `geo`, `processing`, `size`,
        `quality`, `resolution`, …), lower case.
    requested: conditions that only the client's request states, lower case: they may make the price dearer, never cheaper.
    provider_fee_usd: what of it is a router's own fee, which no price list knows.
    provider_cost_usd: what the provider says it charged, already validated (finite, >= 0).
    flags: `inconsistent_usage`, `rejected_provider_cost`, `input_unknown`, `implausible`, `estimated`.
    """

    usage: Usage = EMPTY
    source: UsageSource = "none"
    model: str | None = None
    conditions: Mapping[str, str] = _NO_CONDITIONS
    requested: Mapping[str, str] = _NO_CONDITIONS
    parts: tuple[Part, ...] = ()
    provider_cost_usd: Decimal | None = None
    provider_fee_usd: Decimal = Decimal(0)
    flags: tuple[str, ...] = ()
