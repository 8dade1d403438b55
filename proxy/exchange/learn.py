"""What is remembered of a call once it is answered, for calls to come: whose it is, how long it got, how far it was bounded."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import Any

from pricing.cost import Cost
from pricing.units import INPUT_SIDE
from pricing.usage import Reading
from proxy.access.stored_owners import Holder, digest, digests_of
from proxy.ceilings.prompt_cache import cached_by
from proxy.dialects.responses import forget_ids
from proxy.dialects.turns import answer_turns
from proxy.errors import stored_not_found
from proxy.exchange.attempt import Attempt
from proxy.exchange.attribute import prefixes_of
from proxy.exchange.plane import Plane
from proxy.times import now_s
from proxy.types import Call, Identity

_ASK_AGAIN_S = (0, 0.25, 0.75)  # what another worker has just been answered is in the ledger within a second
_ASKED_AT_ONCE = 256
_LONG_BYTES = 8 * 1024  # conversations from this size on are worth a closer bound


def note_stored(plane: Plane, attempt: Attempt, answer: Iterable[object]) -> None:
    """Whose is what this answer, or its events, say was stored; where the provider keeps it, the ledger knows it too."""
    route = attempt.route
    digests = digests_of(attempt.identity, *answer, dialect=attempt.call.dialect)
    plane.held.note(digests, Holder(route.upstream, route.requested, attempt.attribution.session_id))
    if attempt.call.body.get("store") is not False:
        attempt.stored = digests


async def recall_stored(plane: Plane, identity: Identity, call: Call) -> None:
    """What the call refers to and this process does not know: another worker may have made it, or this one before a restart.

    Raises `Refused` (404) for a mention of what is another's. Nothing is asked about the mentions of a client that has the
    provider store nothing: they are left out.
    """
    stateless = call.body.get("store") is False
    digests = {digest(identity, one): one for one in call.mentioned}
    asked = [digest(identity, one) for one in call.held] + ([] if stateless else list(digests))
    unknown = plane.held.unknown(asked)
    for pause_s in _ASK_AGAIN_S:
        if not unknown or plane.recall_stored is None:
            break
        await asyncio.sleep(pause_s)
        for start in range(0, len(unknown), _ASKED_AT_ONCE):
            for row in await plane.recall_stored(unknown[start : start + _ASKED_AT_ONCE]) or ():
                plane.held.note((row["digest"],), Holder(row["upstream"], row["model"], row["session_id"]))
        unknown = plane.held.unknown(unknown)
    foreign = frozenset(digests[one] for one in plane.held.unknown(digests))
    if foreign and not stateless:
        raise stored_not_found("input")
    if foreign:
        forget_ids(call.body, foreign)


def note_conversation(plane: Plane, attempt: Attempt, reading: Reading, events: Callable[[], list[Any]]) -> None:
    """The conversation with its answer, where only that tells its session; and how many tokens it took so far."""
    if attempt.chain is not None:
        plane.chains.answered(attempt.chain, answer_turns(events()), attempt.attribution.session_id)
    if reading.source != "provider" or reading.flags or attempt.call.size_bytes < _LONG_BYTES:
        return
    prefixes = prefixes_of(plane, attempt)
    if prefixes is None:
        return
    call, route, began_s = attempt.call, attempt.route, attempt.started_at / 1e6
    held = plane.prefixes.cached(prefixes, call, route.upstream, began_s)
    if held:
        plane.learned.cache_read(route.upstream, route.model, kept=reading.usage.get("cache_read", 0) >= held)
    cached = cached_by(call, route.provider, route.upstream, reading.usage, began_s)
    plane.prefixes.count(prefixes, call, _input_tokens(reading), cached)


def note_bill(plane: Plane, attempt: Attempt, reading: Reading, cost: Cost) -> None:
    """What its session has spent; a bill beyond its ceiling; and what an input came to that was counted beforehand."""
    plane.guards.billed(attempt.attribution.budgeted_session_id, cost.cost_nanousd or 0, now_s())
    route, reserved = attempt.route, attempt.reserved_nanousd
    cache_was_read = (
        reading.usage.get("cache_read", 0) >= attempt.cached_tokens
    )  # if not: `note_conversation` learns that
    if cache_was_read and reserved and cost.cost_nanousd and cost.cost_nanousd > reserved:
        plane.learned.overran(route.provider, route.model, cost.cost_nanousd, reserved)
    if attempt.o200k_tokens and reading.source == "provider":
        plane.learned.counted(attempt.family, _input_tokens(reading), attempt.o200k_tokens)


def _input_tokens(reading: Reading) -> int:
    return sum(math.ceil(count) for unit, count in reading.usage.items() if unit in INPUT_SIDE)
