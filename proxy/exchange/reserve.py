"""Reserving a call's ceiling in every budget at once; where it does not fit, by a closer ceiling, a smaller call, or patience.

In that order: a closer bound costs the client nothing, a lower cap may cost it some of its answer, waiting costs it time.
"""

from __future__ import annotations

import asyncio
import time

from proxy.budgets import refusals
from proxy.budgets.store import Granted, StoreUnavailable
from proxy.ceilings import clamp
from proxy.dialects import Endpoint
from proxy.downstream.client import Client
from proxy.errors import Refusal, budget_store_unavailable
from proxy.exchange.attempt import Attempt, NoRoomError, reading
from proxy.exchange.plane import Destination, Plane
from proxy.exchange.tighten import cache_is_trusted, tightened
from proxy.times import now_s

_BYTES_PER_TOKEN = 8  # no text has fewer tokens than that: what would not fit even so needs no closer count
_WORTH_IT = 0.9
_NO_CLOSER = object()
_AMPLE_TOKENS = 8192
_SEED_WAIT_S = 5.0


async def reserve(plane: Plane, attempt: Attempt, endpoint: Endpoint, destination: Destination, client: Client) -> None:
    """Reserve, or raise `Refused`, which closes the INTENT."""
    try:
        granted = await _reserve(plane, attempt, endpoint, destination, client)
    except NoRoomError as no_room:
        refusal = _no_room(plane, attempt, no_room)
    except StoreUnavailable:
        refusal = budget_store_unavailable().refusal
    else:
        for budget in granted.would_refuse:
            plane.tally.would(budget)
        if attempt.unsettled_terms or granted.nanousd is not None:
            attempt.reserved_after_all(plane.spool, granted.nanousd)
        if granted.nanousd is not None:
            tokens = clamp.affordable_tokens(attempt.bound, attempt.price, granted.nanousd)
            _cap(attempt, endpoint, tokens)
            client.clamped_tokens = tokens
        elif attempt.bound.inject:
            _cap(attempt, endpoint, attempt.bound.output_tokens)
        elif attempt.recapped:
            attempt.body = endpoint.encode(attempt.call, attempt.route.model)
        return
    raise attempt.refused(plane.spool, refusal)


async def _reserve(
    plane: Plane, attempt: Attempt, endpoint: Endpoint, destination: Destination, client: Client
) -> Granted:
    """The reservation, in the end; raises NoRoomError where nothing helps."""
    if plane.unseeded and any(claim.budget in plane.unseeded for _, claim in attempt.claims):
        await _wait_for_seeds(plane, attempt)
    waits_until = time.monotonic() + plane.config.server.busy_wait_s
    closer = None
    least: int | None = None
    most: int | None = None
    while True:
        try:
            return await attempt.reserve(plane.store, least, most)
        except StoreUnavailable:
            if any(claim.hard and budget.on_store_down == "deny" for budget, claim in attempt.claims):
                raise
            attempt.unverified = True
            return Granted()
        except NoRoomError as no_room:
            if attempt.ask_for_the_ordinary_tier():
                attempt.waits(plane.spool)
                continue
            if closer is None and _worth_counting(plane, attempt, no_room):
                attempt.waits(plane.spool)
                closer = tightened(plane, attempt, endpoint, destination, client)
            if closer is not None and await anext(closer, _NO_CLOSER) is not _NO_CLOSER:
                continue
            left = waits_until - time.monotonic()
            if no_room.denied.exceeded or left <= 0:
                if attempt.allow_fewer_tool_calls():
                    attempt.waits(plane.spool)
                    continue
                smaller = clamp.least_nanousd(attempt.bound, attempt.price, attempt.call.least_output_tokens)
                if least is not None or smaller is None:
                    raise
                least, most = smaller, None
            elif most is None and (ample := _ample(attempt)) is not None:
                most = ample
            else:
                most = None
                attempt.waits(plane.spool)
                await plane.store.wait_for_room(attempt.id, [claim for _, claim in attempt.claims], left)
                attempt.follow(plane.budgets.budgets, now_s())


async def _wait_for_seeds(plane: Plane, attempt: Attempt) -> None:
    """A reload brought a budget of this call: what is spent in it comes from the ledger in a moment."""
    attempt.waits(plane.spool)
    try:
        async with asyncio.timeout(_SEED_WAIT_S):
            await plane.seeded.wait()
    except TimeoutError:
        raise StoreUnavailable("the ledger does not say what is spent") from None


def _ample(attempt: Attempt) -> int | None:
    """What the call costs at most with a cap that few answers reach: better now than the whole cap later.

    Agents ask for 32,000 tokens and use some hundreds; several of one session would else wait for each other.
    """
    if not all(claim.clamp for _, claim in attempt.claims if claim.hard and claim.measure == "usd"):
        return None
    tokens = max(attempt.call.least_output_tokens + _AMPLE_TOKENS // 2, _AMPLE_TOKENS)
    return clamp.least_nanousd(attempt.bound, attempt.price, tokens)


def _worth_counting(plane: Plane, attempt: Attempt, no_room: NoRoomError) -> bool:
    """Whether the closest count there could be would change much, and might fit: a spent budget refuses at once."""
    if attempt.bound.input_tokens is None or not attempt.reserved_nanousd:
        return False
    optimistic = attempt.bound.with_input(attempt.bound.text_bytes // _BYTES_PER_TOKEN + attempt.bound.media_tokens)
    price = attempt.price
    if cache_is_trusted(plane, attempt):
        price = reading(len(attempt.body), price)
    cost = price(optimistic.usage)
    if cost is None or cost > attempt.reserved_nanousd * _WORTH_IT:
        return False
    least = price(optimistic.with_output(min(attempt.call.least_output_tokens, optimistic.output_tokens)))
    room = [one.limit - one.spent for one in no_room.denied.exceeded if one.measure == "usd"]
    return least is not None and all(least <= one for one in room)


def _cap(attempt: Attempt, endpoint: Endpoint, tokens: int) -> None:
    """Send a cap along: without it the ceiling would be a hope."""
    endpoint.cap_output(attempt.call.body, tokens, attempt.route.provider)
    attempt.body = endpoint.encode(attempt.call, attempt.route.model)


def _no_room(plane: Plane, attempt: Attempt, no_room: NoRoomError) -> Refusal:
    standing = no_room.standing
    amount = next(c.amount for _, c in attempt.claims if c.budget == standing.budget and c.group == standing.group)
    if not no_room.denied.exceeded:
        return refusals.busy(standing, amount)
    status = plane.config.server.budget_status
    return refusals.exceeded(standing, amount, now_s(), client=attempt.attribution.client, status=status)
