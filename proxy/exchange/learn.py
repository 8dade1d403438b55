"""What an answered call teaches for calls to come: its session, how many tokens it took, how close its ceiling was."""

from __future__ import annotations

import math
from collections.abc import Callable

from pricing.cost import Cost
from pricing.units import INPUT_SIDE, TOKENS
from pricing.usage import Reading
from proxy.ceilings.prompt_cache import cached_by
from proxy.exchange.attempt import Attempt
from proxy.times import now_s
from proxy.upstream.outbox import OUTBOX

_FAR_CALLS = 100
_LONG_BYTES = 8 * 1024  # conversations from this size on are worth a closer bound


def note_conversation(attempt: Attempt, answered: Callable[[], list[bytes]], *, answer_waits: bool = False) -> None:
    """The conversation with its answer, where only that tells its session; other workers are told before its client has the
    answer and may ask one of them. answer_waits: it gets that by the outbox."""
    exchange = attempt.exchange
    if exchange.conversation is None:
        return
    session_id, plane = exchange.attribution.session_id, exchange.plane
    names = plane.chains.answered(exchange.conversation, answered(), session_id)
    if plane.shares_conversations:
        plane.store.note_session(names, session_id)
        if answer_waits:
            OUTBOX.first(plane.store.send_notes)
        else:
            plane.store.send_notes()


def note_tokens(attempt: Attempt, reading: Reading) -> None:
    """How many tokens the conversation took so far."""
    plane = attempt.exchange.plane
    if reading.source != "provider" or reading.flags or attempt.call.size_bytes < _LONG_BYTES or _is_far(attempt):
        return
    prefixes = attempt.prefixes
    if prefixes is None:
        return
    call, route, began_s = attempt.call, attempt.route, attempt.plan.started_at / 1e6
    expected = plane.prefixes.cached(prefixes, call, route.upstream, began_s)
    if expected:
        plane.learned.cache_read(route.upstream, route.model, kept=reading.usage.get("cache_read", 0) >= expected)
    cached = cached_by(call, attempt.plan.known_provider, route.upstream, reading.usage, began_s)
    plane.prefixes.count(prefixes, call, _input_tokens(reading), cached)


def _is_far(attempt: Attempt) -> bool:
    """Whether so many such calls still fit into every budget that could refuse one, that no closer bound is missed."""
    remaining = attempt.exchange.plane.store.remaining
    return all(remaining(claim) > _FAR_CALLS * claim.amount for claim in attempt.claims if claim.hard)


def note_bill(attempt: Attempt, reading: Reading, cost: Cost) -> None:
    """What its session has spent; a bill beyond its ceiling; and what an input came to that was counted beforehand."""
    plane = attempt.exchange.plane
    if not plane.guards.idle:
        session_id, nanousd = attempt.exchange.attribution.budgeted_session_id, cost.cost_nanousd or 0
        if plane.store.epoch and plane.store.up and nanousd and plane.guards.limits.nanousd is not None:
            plane.store.note_bill(session_id, nanousd)
        else:
            plane.guards.billed(session_id, nanousd, now_s())
    route, reserved = attempt.route, attempt.reserved_nanousd
    # If it was not: `note_tokens` learns that.
    cache_was_read = reading.usage.get("cache_read", 0) >= attempt.cached_tokens
    overran = cache_was_read and reserved and cost.cost_nanousd and cost.cost_nanousd > reserved
    if overran and _is_of_the_text(attempt, reading, cost):
        payer = attempt.exchange.identity.payer
        plane.learned.overran(payer, route.provider, route.model, cost.cost_nanousd or 0, reserved or 0, now_s())
    if attempt.counted_by is not None and reading.source == "provider":
        family, o200k_tokens = attempt.counted_by
        plane.learned.counted(family, _input_tokens(reading), o200k_tokens)


def _is_of_the_text(attempt: Attempt, reading: Reading, cost: Cost) -> bool:
    """Whether a bill came of the call's own text: not of media or pages whose size others choose, not of the provider's
    tools or betas or tiers, not of a usage of which some was guessed."""
    call = attempt.call
    if call.media_items or call.urls or call.betas or call.passes > 1 or cost.requested or cost.status != "priced":
        return False
    if reading.source != "provider" or reading.flags or reading.conditions.get("service_tier"):
        return False
    return all(unit in TOKENS for unit in reading.usage) and not reading.parts


def _input_tokens(reading: Reading) -> int:
    return sum(math.ceil(count) for unit, count in reading.usage.items() if unit in INPUT_SIDE)
