"""What customers pay: the other side of what their calls cost."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pricing.values import frozen
from proxy.config.fields import Name, Names, Usd
from proxy.config.rules import Section, after, before, within
from proxy.money import is_short
from proxy.times import instant


def _share(value: Any) -> Any:
    """A decimal as it was typed: a YAML float's shortest form."""
    return str(value) if isinstance(value, float) else value


def _short(value: Decimal) -> Decimal:
    if not is_short(value):
        raise ValueError("has too many decimals")
    return value


Share = Annotated[Decimal, before(_share), within(ge=0, lt=1), after(_short)]


@frozen
class Plan(Section):
    name: Name
    """The plan's name in reports and metrics. Several rows may have it, each with its own time."""
    match: dict[str, Names] = field(default_factory=dict)
    """Which calls are made on it, as in `budgets`. The first plan that fits is a call's plan. Default: all."""
    per: str = "customer"
    """Who pays: each value of this attribute pays the plan's price once a month."""
    usd_per_month: Usd = field(kw_only=True)
    """What each of them pays for a calendar month."""
    fee: Share = Decimal(0)
    """Share of the revenue that payment costs: "0.029"."""
    target_margin: Share = Decimal(0)
    """Share of the revenue that is to be left after cost and fee."""
    from_: Annotated[datetime, before(instant)] | None = None
    """Moment from which this price holds. Default: always did."""
    to: Annotated[datetime, before(instant)] | None = None
    """Moment from which it does not hold any more. Default: never."""
