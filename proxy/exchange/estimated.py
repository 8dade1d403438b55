"""A reading for an answer whose usage was not stated, is incomplete, or cannot be true: what was seen of it, counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from pricing.cost import Cost
from pricing.money import to_nanousd
from pricing.units import INPUT_SIDE, TOKENS
from pricing.usage import Reading
from proxy.exchange.attempt import Attempt

_MOST_NANOUSD = 10**15  # a million dollars for one call
# Whose output limits hold for all that is written; elsewhere reasoning may stand beside them, and only the context bounds it.
_WITHIN_THE_CAP = frozenset({"openai", "azure", "anthropic", "google", "google-vertex"})
_INPUTS = ("input", "cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h")


def implausible(attempt: Attempt, reading: Reading, cost: Cost) -> bool:
    """More than there can be: than the model reads and writes in all the passes and sequences of this call."""
    if "implausible" in reading.flags or (cost.cost_nanousd or 0) > _MOST_NANOUSD:
        return True
    if reading.source == "estimated":
        return False
    route, call, bound, configured = attempt.route, attempt.call, attempt.bound, attempt.exchange.configured
    facts = configured.facts_of(route.provider, route.model, attempt.plan.started_at / 1e6, route.answers)
    context = route.context_tokens or facts.context_tokens
    if context is None or call.free:
        return False
    input_tokens = output_tokens = 0
    for unit, quantity in reading.usage.items():
        if unit in INPUT_SIDE:
            input_tokens += math.ceil(quantity)
        elif unit in TOKENS:
            output_tokens += math.ceil(quantity)
    if input_tokens <= context and output_tokens <= bound.output_tokens:
        return False
    times = call.passes * call.sequences
    written = context
    if facts.canonical in _WITHIN_THE_CAP:
        written = route.max_output_tokens or facts.max_output_tokens or context
    return input_tokens > max(context * times, bound.input_tokens or 0) or (
        output_tokens > (max(written, bound.output_tokens) + bound.aside) * times
    )


def priced_part(cost: Cost) -> Cost:
    """A cost of which some units have no price is at least what the others come to; flagged `partial`. Else as it is."""
    if cost.status != "partial":
        return cost
    usd = sum((line.cost_usd for line in cost.lines), Decimal(0))
    flags = tuple(dict.fromkeys((*cost.flags, "partial")))
    return cost._replace(cost_usd=usd, cost_nanousd=to_nanousd(usd), flags=flags)


def count(
    reported: Reading,
    events: Sequence[Any],
    model: str,
    request: Mapping[str, Any],
    *,
    share: float = 1.0,
    all_seen: bool = False,
    input_tokens: int | None = None,
    by_pieces: bool = False,
    writes: bool = False,
) -> Reading:
    """`reported`, and of each unit what is more, its number or the count; `reported` itself where nothing can be counted.

    share: how much more there was than what `events` has. all_seen: the upstream stopped with what was seen, even if that is
    nothing: then the request alone is counted. input_tokens: of the request, where the upstream counted them. by_pieces: it
    sends each token as it is written. writes: as `estimate` has it. A long answer takes a while: call it in a thread.
    """
    # tiktoken and its ranks, for the call that needs them
    from pricing.estimate import estimate  # noqa: PLC0415 - heavy
    from pricing.prompt_tokens import count_prompt  # noqa: PLC0415 - heavy

    counted = estimate(events, model, request, by_pieces=by_pieces, writes=writes)
    odd = reported.source == "partial" or "inconsistent_usage" in reported.flags
    unread = odd and reported.usage and INPUT_SIDE.isdisjoint(reported.usage)  # an input that is no number
    if counted is None and ((all_seen and reported.source == "none") or unread):
        tokens = count_prompt(request, model) if input_tokens is None else input_tokens
        counted = Reading(usage={"input": tokens}, source="estimated", flags=("estimated",))
    if counted is None:
        return reported if reported.source != "none" else Reading(source="none", model=reported.model)
    usage = {
        unit: math.ceil(float(quantity) * share) if unit != "input" else quantity
        for unit, quantity in counted.usage.items()
    }
    if input_tokens is not None:
        usage["input"] = input_tokens
    if any(unit in reported.usage for unit in _INPUTS):
        usage.pop("input", None)  # the input was stated, perhaps in parts
    for unit, quantity in reported.usage.items():
        usage[unit] = max(quantity, usage.get(unit, 0))
    flags = tuple(dict.fromkeys((*reported.flags, *counted.flags)))
    return reported._replace(usage=usage, source="estimated", flags=flags)
