"""One call, in one direction. `run` reads like the list in the design; each step is one call into the file that owns it."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from proxy.access.provider_fields import screen
from proxy.budgets.budget import Amounts, Budget, claims
from proxy.ceilings import ceiling as ceilings
from proxy.ceilings.betas import betas_in
from proxy.ceilings.clamp import Price
from proxy.ceilings.conditions import ORDINARY, fixed_conditions, may_be_ordinary
from proxy.ceilings.habits import name_cap
from proxy.ceilings.rendered import rendered_size
from proxy.dialects import Endpoint
from proxy.dialects.openai import LLAMA_CPP, ask_for_usage_each
from proxy.downstream.client import Client
from proxy.errors import (
    UPSTREAM_ERROR,
    Refused,
    dialect_not_supported,
    invalid_request,
    model_not_found,
    model_not_priced,
    stored_not_found,
    unbounded_cost,
)
from proxy.exchange.answer import answer
from proxy.exchange.attempt import Attempt
from proxy.exchange.attribute import attributed
from proxy.exchange.forward import forward, unconfirmed
from proxy.exchange.learn import recall_stored
from proxy.exchange.plane import Destination, Plane
from proxy.exchange.reserve import reserve
from proxy.exchange.retry import Failure, pause_s, schedule
from proxy.keyed_hash import Chain
from proxy.meters.reader import asked_of
from proxy.times import now_s, now_us
from proxy.types import Attribution, Call, Claim, Identity, Route


class Caller(NamedTuple):
    """Who calls, for every attempt of one call."""

    identity: Identity
    attribution: Attribution
    request_id: str
    chain: Chain | None


async def run(plane: Plane, endpoint: Endpoint, client: Client) -> None:
    """Serve one call. Raises `Refused` where there is an error to tell; by then everything that was begun is ended."""
    identity = plane.keys.identify(client.headers, now_s())
    client.admit(identity.key_id)
    sent = await client.body()
    identity = plane.keys.again(identity, now_s())  # a body may take its time
    call = _parse(endpoint, client, sent)
    if call.held or call.mentioned:
        await recall_stored(plane, identity, call)
    route = _route(plane, identity, call)
    _destination(plane, endpoint, route)
    started_at = now_us()
    client.request_id = plane.ids.new(started_at)
    attribution, chain = await attributed(plane, client, call, identity)
    client.session_id = attribution.session_id
    _refuse_unreadable(call, route)

    caller = Caller(identity, attribution, client.request_id, chain)
    if route.retries or route.fallbacks:
        await _try_in_turn(plane, endpoint, client, caller, call, route, sent)
    else:
        await _try(plane, endpoint, client, caller, call, route)


def _parse(endpoint: Endpoint, client: Client, sent: bytes) -> Call:
    call = endpoint.parse(sent)
    call.betas = betas_in(client.headers.get(b"anthropic-beta"))
    return call


async def _try(
    plane: Plane,
    endpoint: Endpoint,
    client: Client,
    caller: Caller,
    call: Call,
    route: Route,
    number: int = 1,
    *,
    again: bool = False,
) -> Failure | None:
    """One attempt, from its ceiling to its settlement. again: what another attempt may mend is returned, not told."""
    destination = _destination(plane, endpoint, route)
    attempt = _plan(plane, endpoint, caller, call, route, number, 0 if client.counted else 1)
    attempt.intend(plane.spool)
    try:
        _guard(plane, attempt)
        await reserve(plane, attempt, endpoint, destination, client)
        response = await forward(plane, attempt, endpoint, destination, client)
        return await answer(plane, attempt, response, endpoint, destination, client, hold=again)
    except Refused as refused:
        if again and not client.started and refused.refusal.kind == UPSTREAM_ERROR:
            return Failure(refusal=refused.refusal)
        raise
    finally:
        if not attempt.closed:
            await _close(plane, attempt, client)
        client.counted = client.counted or attempt.charged


async def _close(plane: Plane, attempt: Attempt, client: Client) -> None:
    """The INTENT of a call that ended where no end was foreseen: what was not sent costs nothing, what was its ceiling."""
    if attempt.dispatched:
        await attempt.settle(plane.spool, plane.store, unconfirmed(attempt, client, "cut", None))
    else:
        await attempt.void(plane.spool, plane.store, "cut")


def _guard(plane: Plane, attempt: Attempt) -> None:
    """The guards of the call's session, once a call. A refusal closes the INTENT."""
    if attempt.number == 1 and not plane.guards.idle:
        session_id = attempt.attribution.budgeted_session_id
        refusal = plane.guards.refusal(session_id, attempt.call, attempt.started_at / 1e6)
        if refusal is not None:
            raise attempt.refused(plane.spool, refusal)


async def _try_in_turn(
    plane: Plane, endpoint: Endpoint, client: Client, caller: Caller, call: Call, route: Route, sent: bytes
) -> None:
    """Try the routes of the call until one answers. Where none does, the client is told what the last upstream said."""
    turns = schedule(route, plane.router.named, follow=not call.held)
    failure = await _try(plane, endpoint, client, caller, call, route, again=len(turns) > 1)
    for number, turn in enumerate(turns[1:], 2):
        if failure is None:
            return
        pause = pause_s(failure, turn, random.random())  # noqa: S311 - no secret
        if pause is None:
            continue
        if client.gone or (pause and await client.leaves_within(pause)):
            return
        client.attempts, client.clamped_tokens = number, None
        with contextlib.suppress(Refused):  # of this attempt alone: it was not sent
            again = _parse(endpoint, client, sent)  # the first attempt may have set caps in the other
            failure = await _try(plane, endpoint, client, caller, again, turn.route, number, again=True)
    if failure is None:
        return
    if failure.refusal is not None:
        raise Refused(failure.refusal)
    await client.respond(failure.status, list(failure.headers), failure.body)


def _route(plane: Plane, identity: Identity, call: Call) -> Route:
    """Where the call goes: by its model, and only to where everything is that it refers to."""
    if not call.held:
        return plane.router.route(call.model, identity)
    holders = [plane.held.find(identity, one) for one in call.held]
    route = plane.router.route(call.model or holders[0].model, identity)
    if any(holder.upstream != route.upstream for holder in holders):
        raise stored_not_found("id")
    return route


def _destination(plane: Plane, endpoint: Endpoint, route: Route) -> Destination:
    destination = plane.destinations.get((route.upstream, endpoint.family.name))
    if destination is None:
        raise dialect_not_supported(route.requested, endpoint.family.name)
    return destination


def _refuse_unreadable(call: Call, route: Route) -> None:
    """llama.cpp reports the usage of one sequence only, however many it made: a bill that nobody could check."""
    if call.sequences > 1 and call.output_caps != (0,) and route.provider in (*LLAMA_CPP, "local"):
        raise invalid_request("This upstream reports usage for one sequence only; send one prompt with n = 1.", "n")


def _plan(
    plane: Plane, endpoint: Endpoint, caller: Caller, call: Call, route: Route, number: int, requests: int
) -> Attempt:
    """The attempt with its ceiling and its claims. Raises `Refused` where it has no price or no bound but needs one."""
    identity, attribution, request_id, chain = caller
    started_at = now_us()
    now_s = started_at / 1e6
    attributes = _attributes(identity, route, attribution)
    facts = plane.facts_of(route.provider, route.model, now_s)
    priced = facts.priced or call.free
    if not priced and plane.config.on_unpriced == "refuse":
        raise model_not_priced(route.requested, plane.config.server.budget_status)
    screen(call, route, partial(_another, plane, identity, route), exact=plane.router.is_exact(route.requested))
    ask_for_usage_each(call, route.provider)
    name_cap(call, route.provider)
    body = endpoint.encode(call, route.model)
    size = rendered_size(call, body, route.provider)
    bound = ceilings.estimate(call, route, size, facts.context_tokens, facts.max_output_tokens)

    fixed = _fixed_conditions(plane, call, route, int(now_s))
    price = _price(plane, call, route, bound, body, attributes, fixed, int(now_s))
    ordinary = None
    if "service_tier" not in fixed and may_be_ordinary(call):
        ordinary = _price(plane, call, route, bound, body, attributes, {**fixed, **ORDINARY}, int(now_s))
    ceiling_nanousd = price(bound.usage) if priced and bound.usage else None
    budgets = plane.budgets.candidates(identity, route, attributes)
    taken = claims(budgets, attributes, Amounts(ceiling_nanousd, bound.usage, requests), now_s)
    _require_bounds(plane, route, taken, bound, ceiling_nanousd)
    return Attempt(
        id=plane.ids.new(started_at),
        request_id=request_id,
        number=number,
        requests=requests,
        chain=chain,
        started_at=started_at,
        deadline_at=started_at + plane.config.server.max_call_s * 1_000_000,
        call=call,
        body=body,
        route=route,
        identity=identity,
        attribution=attribution,
        bound=bound,
        price=price,
        ordinary=ordinary,
        reserved_nanousd=ceiling_nanousd,
        claims=taken,
        price_version=plane.book.version,
        attributes=attributes,
    )


def _another(plane: Plane, identity: Identity, route: Route, model: str) -> str:
    """The provider's name of a model that a call names beside its own. Raises `Refused` where the caller may not use it."""
    other = plane.router.route(model, identity)
    if other.upstream != route.upstream:
        raise model_not_found(model)
    if not plane.facts_of(other.provider, other.model, now_us() / 1e6).priced:
        raise model_not_priced(model, plane.config.server.budget_status)
    return other.model


def _fixed_conditions(plane: Plane, call: Call, route: Route, at_s: int) -> dict[str, str]:
    """What is known of its price beforehand: what the request asks for, where any price depends on that, and the tier."""
    asked = {**call.fixed, **asked_of(call.body)}
    if asked:
        asked = plane.book.asked_that_count(asked, provider=route.provider, model=route.model, at_s=at_s)
    return fixed_conditions(call, asked, route.provider, plane.config.upstreams[route.upstream].service_tier)


def _price(
    plane: Plane,
    call: Call,
    route: Route,
    bound: ceilings.Ceiling,
    body: bytes,
    attributes: Mapping[str, str | None],
    fixed: Mapping[str, str],
    at_s: int,
) -> Price:
    """What usage of this call can cost at most, if it ends before its time-out."""
    without = ceilings.impossible_units(call, body)
    factor = plane.learned.factor(route.provider, route.model)

    def price_of(usage: Mapping[str, int], without: frozenset[str]) -> int | None:
        nanousd = plane.book.ceiling_nanousd(
            usage,
            provider=route.provider,
            model=route.model,
            at_s=at_s,
            until_s=at_s + plane.config.server.max_call_s,
            attributes=attributes,
            fixed=fixed,
            without=without,
        )
        return nanousd if factor == 1 or nanousd is None else math.ceil(nanousd * factor)

    def price(usage: Mapping[str, int]) -> int | None:
        if call.free:
            return 0
        apart = ceilings.by_medium(usage, bound.media)
        tokens = price_of(apart, without if apart is usage else without | ceilings.MEDIA_UNITS)
        if not call.things:
            return tokens
        # Models are billed in tokens or in things: the dearer of the two is the bound.
        things = price_of(call.things, without)
        return max(tokens or 0, things or 0) if (tokens, things) != (None, None) else None

    return price


def _attributes(identity: Identity, route: Route, attribution: Attribution) -> dict[str, str | None]:
    """What `match` and `per` can name. Labels that an untrusted client sent are not among them."""
    attributes = {
        "key": identity.key,
        "team": identity.team,
        "user": attribution.user,
        "customer": attribution.customer,
        "model": route.requested,
        "upstream": route.upstream,
        "provider": route.provider,
        "agent": attribution.agent,
        "session": attribution.budgeted_session_id,
    }
    for name, value in attribution.labels.items():
        attributes[f"label.{name}"] = value
    return attributes


def _require_bounds(
    plane: Plane,
    route: Route,
    taken: list[tuple[Budget, Claim]],
    bound: ceilings.Ceiling,
    ceiling_nanousd: int | None,
) -> None:
    """A blocking budget can only count what has a bound, and a price where it counts money."""
    hard = {claim.measure for _, claim in taken if claim.hard}
    if not bound.usage and hard & {"usd", "tokens"}:
        raise unbounded_cost(f"The cost of this call has no bound, and a budget blocks: {bound.missing}.")
    if "usd" in hard and ceiling_nanousd is None:
        raise model_not_priced(route.requested, plane.config.server.budget_status)
