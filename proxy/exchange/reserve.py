"""Step seven: the call's ceiling is reserved in every budget at once. Where it does not fit, steps of a ladder are tried in
order: a closer ceiling costs the client nothing, a smaller call may cost it some of its answer, waiting costs it time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from proxy.budgets import refusals
from proxy.budgets.guards import request_digest
from proxy.budgets.store import Granted, StoreUnavailable, Unanswered
from proxy.ceilings import clamp
from proxy.config.upstream import is_local
from proxy.errors import Refusal, budget_store_unavailable
from proxy.exchange.attempt import Attempt, NoRoomError
from proxy.exchange.tighten import cache_is_trusted, tightened
from proxy.times import now_s

_BYTES_PER_TOKEN = 8  # no text has fewer tokens than that: what would not fit even so needs no closer count
_WORTH_IT = 0.9
_AMPLE_TOKENS = 8192
_SEED_WAIT_S = 5.0


async def guard(attempt: Attempt) -> None:
    """The guards of the call's session, once a call. A refusal closes the INTENT."""
    exchange = attempt.exchange
    guards, store = exchange.plane.guards, exchange.plane.store
    if attempt.plan.number > 1 or guards.idle:
        return
    session_id, call = exchange.attribution.budgeted_session_id, exchange.call
    seen = None
    if store.epoch:  # other processes have calls of this session, too
        limits = guards.limits
        digest = "" if limits.repeats is None else request_digest(call).hex()
        with contextlib.suppress(StoreUnavailable):  # then this process counts alone
            seen = await store.guarded(session_id, digest, limits)
    if seen is None:
        refusal = guards.refusal(session_id, call, attempt.plan.started_at / 1e6)
    else:
        refusal = guards.judged(session_id, call, seen)
    if refusal is not None:
        raise attempt.refused(refusal)


async def reserve(attempt: Attempt, steps: tuple[Step, ...] | None = None) -> None:
    """Reserve, or raise `Refused`, which closes the INTENT. steps: of the ladder; None: all."""
    plane, client = attempt.exchange.plane, attempt.exchange.client
    if plane.unseeded and any(claim.budget in plane.unseeded for claim in attempt.claims):
        await _wait_for_seeds(attempt)
    try:
        try:
            granted = await attempt.reserve()
        except NoRoomError as denied:
            granted = await _climb(attempt, STEPS if steps is None else steps, denied)
    except NoRoomError as denied:
        raise attempt.refused(no_room(attempt, denied)) from None
    except StoreUnavailable as error:
        if any(one.hard and one.on_store_down == "deny" for one in attempt.budgets):
            unanswered = isinstance(error, Unanswered)
            raise attempt.refused(budget_store_unavailable().refusal, unanswered=unanswered) from None
        attempt.unreserved()
        granted = Granted()
    for budget in granted.would_refuse:
        plane.tally.would(budget)
    attempt.reserved(granted.nanousd)
    if granted.nanousd is not None:
        tokens = _that_fit(attempt, clamp.affordable_tokens(attempt.bound, attempt.price, granted.nanousd))
        attempt.cap_output(tokens)
        client.clamped_tokens = tokens
    elif attempt.bound.inject:
        attempt.cap_output(attempt.bound.output_tokens)


def _that_fit(attempt: Attempt, tokens: int) -> int:
    """A cap that nobody asked for: where the input would leave less room, a local server might refuse it."""
    context, given = attempt.route.context_tokens, attempt.bound.input_tokens
    if attempt.call.output_caps or not is_local(attempt.route.provider) or context is None or given is None:
        return tokens
    return min(tokens, max(context - given, attempt.call.least_output_tokens))


async def _climb(attempt: Attempt, steps: tuple[Step, ...], no_room: NoRoomError) -> Granted:
    """The reservation, in the end; raises NoRoomError where no step helps."""
    ladder = Ladder(attempt)
    while True:
        for step in steps:
            if await step(ladder, no_room):
                break
        else:
            raise no_room
        try:
            return await attempt.reserve(ladder.least_nanousd, ladder.most_nanousd)
        except NoRoomError as again:
            no_room = again


async def _wait_for_seeds(attempt: Attempt) -> None:
    """A reload brought a budget of this call: what is spent in it comes from the ledger in a moment. Raises `Refused`."""
    attempt.wait()
    try:
        async with asyncio.timeout(_SEED_WAIT_S):
            await attempt.exchange.plane.seeded.wait()
    except TimeoutError:
        raise attempt.refused(budget_store_unavailable().refusal) from None


class Ladder:
    """What was tried by now. least_nanousd, most_nanousd: what the next reservation asks for at least and at most."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.least_nanousd: int | None = None
        self.most_nanousd: int | None = None
        self.counts: AsyncIterator[None] | None = None
        self.waits_until = time.monotonic() + attempt.exchange.configured.config.server.busy_wait_s

    @property
    def left_s(self) -> float:
        return self.waits_until - time.monotonic()

    def waiting_helps(self, no_room: NoRoomError) -> bool:
        """Whether only reservations in flight are in the way, and there is time to wait for them."""
        return not no_room.denied.exceeded and self.left_s > 0


Step = Callable[[Ladder, NoRoomError], Awaitable[bool]]
"""One step: whether anything changed, so that another reservation is worth a try."""


async def closer_count(ladder: Ladder, no_room: NoRoomError) -> bool:
    """A closer bound on the input, from dearer ways of counting it."""
    attempt = ladder.attempt
    if ladder.counts is None:
        if not _worth_counting(attempt, no_room):
            return False
        attempt.wait()
        ladder.counts = tightened(attempt)
    return await anext(ladder.counts, _NO_MORE) is not _NO_MORE


async def ordinary_tier(ladder: Ladder, no_room: NoRoomError) -> bool:
    """The ordinary service tier, where the account's own may be dearer and the client named none."""
    if ladder.waiting_helps(no_room) or not ladder.attempt.ask_for_the_ordinary_tier():
        return False
    ladder.attempt.wait()
    return True


async def fewer_tool_calls(ladder: Ladder, no_room: NoRoomError) -> bool:
    """Fewer calls of the provider's own tools, where their number is ours to say."""
    if ladder.waiting_helps(no_room) or not ladder.attempt.allow_fewer_tool_calls():
        return False
    ladder.attempt.wait()
    return True


async def smaller_answer(ladder: Ladder, no_room: NoRoomError) -> bool:
    """A lower cap, down to the least that is worth having: what the money affords."""
    attempt = ladder.attempt
    if ladder.waiting_helps(no_room) or ladder.least_nanousd is not None:
        return False
    smaller = clamp.least_nanousd(attempt.bound, attempt.price, attempt.call.least_output_tokens)
    if smaller is None:
        return False
    ladder.least_nanousd, ladder.most_nanousd = smaller, None
    return True


async def ample_answer(ladder: Ladder, no_room: NoRoomError) -> bool:
    """A cap that few answers reach: better now than the whole cap later.

    Agents ask for 32,000 tokens and use some hundreds; several of one session would else wait for each other.
    """
    attempt = ladder.attempt
    if not ladder.waiting_helps(no_room) or ladder.most_nanousd is not None:
        return False
    if not all(claim.clamp for claim in attempt.claims if claim.hard and claim.measure == "usd"):
        return False
    tokens = max(attempt.call.least_output_tokens + _AMPLE_TOKENS // 2, _AMPLE_TOKENS)
    ladder.most_nanousd = clamp.least_nanousd(attempt.bound, attempt.price, tokens)
    return ladder.most_nanousd is not None


async def wait_for_room(ladder: Ladder, no_room: NoRoomError) -> bool:
    """Wait until something in flight has ended."""
    attempt = ladder.attempt
    if not ladder.waiting_helps(no_room):
        return False
    ladder.most_nanousd = None
    attempt.wait()
    await attempt.wait_for_room(ladder.left_s)
    return True


STEPS: tuple[Step, ...] = (closer_count, ordinary_tier, fewer_tool_calls, smaller_answer, ample_answer, wait_for_room)
_NO_MORE = object()


def _worth_counting(attempt: Attempt, no_room: NoRoomError) -> bool:
    """Whether the closest count there could be would change much, and might fit: a spent budget refuses at once."""
    if attempt.bound.input_tokens is None or not attempt.reserved_nanousd:
        return False
    size, price = attempt.plan.body_bytes, attempt.price
    optimistic = attempt.bound.with_input(attempt.bound.text_bytes // _BYTES_PER_TOKEN + attempt.bound.media_tokens)
    if cache_is_trusted(attempt):
        price = price.reading(size)
    cost = price(optimistic.usage)
    if cost is None or cost > attempt.reserved_nanousd * _WORTH_IT:
        return False
    least = price(optimistic.with_output(min(attempt.call.least_output_tokens, optimistic.output_tokens)))
    room = [standing.limit - standing.spent for standing in no_room.denied.exceeded if standing.measure == "usd"]
    return least is not None and all(least <= left for left in room)


def no_room(attempt: Attempt, denied: NoRoomError) -> Refusal:
    """What a client is told whose call did not fit."""
    standing = denied.standing
    amount = next(c.amount for c in attempt.claims if c.budget == standing.budget and c.group == standing.group)
    if not denied.denied.exceeded:
        return refusals.busy(standing, amount)
    exchange = attempt.exchange
    status = exchange.configured.config.server.budget_status
    return refusals.exceeded(standing, amount, now_s(), client=exchange.attribution.client, status=status)
