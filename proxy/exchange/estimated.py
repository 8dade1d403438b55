"""A reading for an answer whose usage was not told, not to its end, or cannot be true: what was seen of it, counted."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pricing.cost import Cost
from pricing.usage import Reading

_MOST_NANOUSD = 10**15  # a million dollars for one call
_INPUTS = ("input", "cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h")


def implausible(reading: Reading, cost: Cost) -> bool:
    """More than there can be."""
    return "implausible" in reading.flags or (cost.cost_nanousd or 0) > _MOST_NANOUSD


async def counted(
    told: Reading,
    events: Sequence[Any],
    model: str,
    request: Mapping[str, Any],
    *,
    share: float = 1.0,
    all_seen: bool = False,
) -> Reading:
    """`told`, and of each unit what is more: what it says or what was counted; `told` itself where nothing can be counted.

    share: how much more there was than what `events` has. all_seen: the upstream stopped with what was seen, even if
    that is nothing: then the request alone is counted. Off the event loop: a long answer takes a while.
    """
    return await asyncio.to_thread(_counted, told, events, model, request, share, all_seen)


def _counted(
    told: Reading, events: Sequence[Any], model: str, request: Mapping[str, Any], share: float, all_seen: bool
) -> Reading:
    # tiktoken and its ranks, for the call that needs them
    from pricing.estimate import estimate  # noqa: PLC0415 - heavy
    from pricing.prompt_tokens import count_prompt  # noqa: PLC0415 - heavy

    found = estimate(events, model, request)
    if found is None and all_seen and told.source == "none":
        found = Reading(usage={"input": count_prompt(request, model)}, source="estimated", flags=("estimated",))
    if found is None:
        return told if told.source != "none" else Reading(source="none", model=told.model)
    usage = {
        unit: math.ceil(float(quantity) * share) if unit != "input" else quantity
        for unit, quantity in found.usage.items()
    }
    if any(unit in told.usage for unit in _INPUTS):
        usage.pop("input", None)  # which was told, perhaps in parts
    for unit, quantity in told.usage.items():
        usage[unit] = max(quantity, usage.get(unit, 0))
    flags = tuple(dict.fromkeys((*told.flags, *found.flags)))
    return replace(told, usage=usage, source="estimated", flags=flags)
