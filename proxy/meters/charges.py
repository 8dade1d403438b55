"""What a provider or router says that it charged, in USD: where each states it, by the hosts' table.

A statement beats arithmetic (it knows fees and discounts), so it is believed only where the host is known to make one. A
host that the table does not know may be a router: its `cost` is taken where it is more than 0 (many fill in 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from proxy.meters.reading_builder import ReadingBuilder, mapping, number, text

TICKS_PER_USD = 10**10  # xai-sdk-python src/xai_sdk/cost.py: 1 tick = 1e-10 USD


def read_charge(usage: Mapping[str, Any], name: str, builder: ReadingBuilder) -> None:
    """Note the charge that `usage` states under `name`, which is a `Row.charge` of the hosts' table."""
    if name == "cost_in_usd_ticks":
        _read_ticks(usage, builder)
    elif name == "is_byok":
        _read_own_key(usage, builder)
    elif name == "?":
        if (stated := number(usage.get("cost"))) and stated > 0 and not isinstance(usage["cost"], str):
            builder.reported_cost(usage["cost"])
    elif name:
        value = usage.get(name)
        if isinstance(value, dict):
            value = _in_usd(value, builder)
        builder.reported_cost(value)


def _in_usd(cost: Mapping[str, Any], builder: ReadingBuilder) -> Any:
    """The total of a cost object (Perplexity), where it is in USD."""
    currency = text(cost.get("currency"))
    if currency and currency.upper() != "USD":
        builder.flag("rejected_provider_cost")
        return None
    return cost.get("total_cost")


def _read_ticks(usage: Mapping[str, Any], builder: ReadingBuilder) -> None:
    ticks = usage.get("cost_in_usd_ticks")
    if isinstance(ticks, int) and not isinstance(ticks, bool):
        builder.reported_cost(Decimal(ticks) / TICKS_PER_USD)
    elif ticks is not None:
        builder.flag("rejected_provider_cost")


def _read_own_key(usage: Mapping[str, Any], builder: ReadingBuilder) -> None:
    """OpenRouter's charge. With the caller's own provider key it is only the fee; the provider's bill comes on top."""
    builder.reported_cost(usage.get("cost"))
    if usage.get("is_byok") is True and builder.cost_usd is not None:
        fee, builder.cost_usd = builder.cost_usd, None
        builder.reported_cost(mapping(usage.get("cost_details")).get("upstream_inference_cost"))
        if builder.cost_usd is not None:  # the fee alone would not be the bill
            builder.cost_usd += fee
            builder.fee_usd = fee
