"""The lines of a cost: each unit of a usage at its rate."""

from __future__ import annotations

from pricing.cost import CostLine
from pricing.resolve import Plan
from pricing.units import FREE_WITHOUT_PRICE, INPUT_SIDE, TOKENS
from pricing.usage import Quantity, Reading, Usage


def price_usage(plan: Plan, usage: Usage, model: str | None, lines: list[CostLine]) -> bool:
    """Append a line for each unit of the usage; True where some unit has no price."""
    tokens: Quantity = 0
    if plan.cuts:
        for unit, quantity in usage.items():
            if unit in INPUT_SIDE:
                tokens += quantity
    missing = False
    table = plan.table(tokens)
    for unit, quantity in usage.items():
        rate = table[unit] if unit in table else plan.rate(unit, tokens)
        if rate is None:
            missing = missing or (quantity > 0 and not _included(plan, unit, usage))
            continue
        at_least, each_usd = rate.at_least, rate.each_usd
        billed = at_least if at_least and quantity < at_least else quantity
        amount = each_usd * billed if each_usd is not None else rate.price_usd * billed / rate.per
        lines.append(CostLine(rate, billed, amount, model))
    return missing


def _included(plan: Plan, unit: str, usage: Usage) -> bool:
    """Whether a unit without a price costs nothing: told for information, or covered by the time that is paid for."""
    if not plan.priced:
        return False
    if unit in FREE_WITHOUT_PRICE:
        return len(usage) > 1 or unit == "request"
    return unit in TOKENS and "gpu_second" in usage and plan.rate("gpu_second", 0) is not None


def comparable(reading: Reading) -> bool:
    """Whether our own sum says something about a reported cost: a picture's or video's depends on what is not stated."""
    return any(unit in TOKENS for unit in reading.usage)


def operator_names(plan: Plan, usage: Usage) -> bool:
    """Whether the operator prices any unit of the usage: his price then wins over what the provider says."""
    return bool(plan.operator_rows) and any(
        (rate := plan.rate(unit, 0)) is not None and rate.of_operator for unit in usage
    )
