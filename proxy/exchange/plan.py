"""Step five: what an attempt may use and cost at most, what it takes from which budgets, and whether it may be made at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import floor
from typing import Any

from pricing.money import to_nanousd_up
from pricing.values import Value, frozen
from proxy.access.provider_fields import screen
from proxy.budgets.budget import Amounts, Budget
from proxy.ceilings import ceiling as ceilings
from proxy.ceilings.call_price import CallPrice
from proxy.ceilings.ceiling import Ceiling
from proxy.ceilings.conditions import ORDINARY, dearer_unpriced, fixed_conditions, may_be_ordinary
from proxy.ceilings.costly import sound_apart
from proxy.ceilings.habits import name_cap, thoughts_left_out
from proxy.ceilings.rendered import rendered_size
from proxy.config.upstream import is_local
from proxy.dialects.openai import LLAMA_CPP, ask_for_usage_each
from proxy.dialects.outgoing import Outgoing
from proxy.errors import invalid_request, model_not_found, model_not_priced, unbounded_cost
from proxy.exchange import kinds
from proxy.exchange.configured import Configured, ModelFacts
from proxy.exchange.exchange import Exchange
from proxy.jobs.api import JobEndpoint
from proxy.jobs.bounds import Bounds, bounds_of
from proxy.meters.host_table import charge_of
from proxy.meters.reader import requested_by
from proxy.meters.reading_builder import number
from proxy.times import now_s, now_us
from proxy.types import Attribution, Call, Claim, Identity, Route
from proxy.upstream.destinations import Destination


@frozen
class Plan(Value):
    """What is settled of an attempt before it begins. Times are epoch microseconds; money is nano-USD.

    call: what the client asked, as far as this provider may be asked that. changes: fields of its body that differ from
    the beginning; body_bytes: with these. may_be_ordinary: whether the account's own service tier may be dearer than the
    ordinary one, for which we may ask. number: 1 for a call's first attempt. requests: how many client calls it counts as: 0
    where an earlier attempt was counted.
    known_provider: its name in the price book and in our tables, whatever the configuration calls it. usage_each: every chunk
    of the stream has a usage that only we asked for. claims: on each of `budgets`, in their order.
    """

    id: str
    call: Call
    number: int
    requests: int
    started_at: int
    deadline_at: int
    route: Route
    known_provider: str
    destination: Destination
    attributes: Mapping[str, str | None]
    outgoing: Outgoing
    changes: Mapping[str, Any]
    usage_each: bool
    body_bytes: int
    bound: Ceiling
    price: CallPrice
    may_be_ordinary: bool
    ceiling_nanousd: int | None
    budgets: Sequence[Budget]
    claims: Sequence[Claim]


def plan(exchange: Exchange, route: Route, number: int, requests: int, started_at: int = 0) -> Plan:
    """started_at: 0: now. Raises `Refused` where the call has no price or no bound but needs one."""
    plane, configured, call = exchange.plane, exchange.configured, exchange.call
    started_at = started_at or now_us()
    began_s = started_at / 1e6
    at_s = floor(began_s)
    facts = configured.facts_of(route.provider, route.model, began_s, route.answers)
    key = kinds.key_of(call, route, exchange.endpoint.target)
    kind = None if key is None else configured.kinds.get(key)
    if kind is None or not kind.holds(route, facts):
        call, kind = _kind(exchange, route, facts, at_s)
    known, destination, longest_s = kind.known, kind.destination, kind.longest_s
    outgoing = exchange.endpoint.encode(call, route.model)
    changes, usage_each = ask_for_usage_each(call, known.provider) if call.stream else ({}, False)
    if kind.renamed:
        changes |= kind.renamed
    body = outgoing.written(changes)
    size = rendered_size(call, body, known.provider) + destination.added_tokens
    if kind.bound is not None:
        bound = ceilings.of_the_same_shape(kind.bound, call, size, known.context_tokens or facts.context_tokens)
        without = kind.without
    else:
        bound, without = _bounded(exchange, call, kind, facts, size, body)
    attributes = attributes_of(exchange.identity, route, exchange.attribution)
    factor = plane.learned.factor(exchange.identity.payer, route.provider, route.model, began_s)
    limits = facts.context_tokens, facts.max_output_tokens
    price = CallPrice(
        configured.book, route.provider, route.model, at_s, at_s + longest_s, attributes, kind.fixed, without,
        factor, ceilings.physical(call, known, bound, *limits) if factor > 1 else {}, bound.media, call.quantities, call.free,
        answers=route.answers or (),
    )  # fmt: skip
    usage, rate = bound.with_output(bound.output_tokens), kind.rate
    ceiling_nanousd = None
    if rate is not None and rate.first_s <= at_s <= rate.last_s and factor == 1 and bound.input_tokens is not None:
        ceiling_nanousd = to_nanousd_up(rate.fixed + rate.each * bound.input_tokens)
    elif usage and (facts.priced or call.free):
        ceiling_nanousd = price.nanousd(usage)
    if kind.bound is None and key is not None and kinds.may_be_remembered(kind, call, bound):
        rate = price.rate(usage) if facts.priced else None
        configured.kinds[key] = kind._replace(bound=bound, without=without, rate=rate)
    lines = None if call.bounds is None else bounds_of(call.bounds)
    if lines is not None:  # nothing of a batch can be made smaller
        bound, usage, ceiling_nanousd = ceilings.Ceiling(None, 0, 1, missing=lines.missing), lines.tokens, lines.nanousd
    amounts = Amounts(ceiling_nanousd, usage, requests)
    budgets, claims = configured.budgets.claims(exchange.identity, route, attributes, amounts, began_s)
    if lines is not None and len(lines.models) > 1:
        _add_claims_of_others(exchange, route, attributes, budgets, claims, lines, began_s)
    _require_bounds(exchange, route, claims, _missing(bound, usage, lines), ceiling_nanousd)
    attempt_id, deadline_at = plane.ids.new(started_at), started_at + longest_s * 1_000_000
    return Plan(  # in their order: of more than fifteen names Python would make a dictionary first
        attempt_id, call, number, requests, started_at, deadline_at, route, known.provider, destination, attributes, outgoing,
        changes, usage_each, len(body), bound, price, kind.may_be_ordinary, ceiling_nanousd, budgets, claims,
    )  # fmt: skip


def _kind(exchange: Exchange, route: Route, facts: ModelFacts, at_s: int) -> tuple[Call, kinds.Kind]:
    """What the call's plan has in common with others', found out; and the call as its provider may be asked it."""
    configured, endpoint, call = exchange.configured, exchange.endpoint, exchange.call
    destination = configured.destination(route, endpoint)
    if endpoint.local and not is_local(route.provider):
        raise invalid_request(
            f"The upstream of {route.requested!r} does not serve this path here; only servers of one's own do.", "model"
        )
    # What a provider does, it does by each of its names: the book's is the one that our tables have.
    known = route if facts.canonical == route.provider else replace(route, provider=facts.canonical)
    _refuse_unreadable(call, known)
    if not (facts.priced or call.free) and configured.config.on_unpriced == "refuse":
        raise model_not_priced(route.requested, configured.config.server.budget_status)
    longest_s = configured.longest_s(endpoint, call)
    if endpoint.of_model is not None:
        call = endpoint.of_model(call, route.model)
    call = _in_priced_units(exchange, call, route, facts, at_s)
    another = partial(other_model, exchange, route)
    guarded = partial(_guarded, exchange, route)
    call = screen(call, route, another, exact=configured.router.is_exact(route.requested), guarded=guarded)
    fixed = _fixed_conditions(exchange, call, route, known.provider, at_s)
    ordinary = "service_tier" not in fixed and may_be_ordinary(call)
    renamed = name_cap(call, known.provider)
    return call, kinds.Kind(route, facts, known, destination, renamed, fixed, longest_s, ordinary)


def _bounded(
    exchange: Exchange, call: Call, kind: kinds.Kind, facts: ModelFacts, size: int, body: bytes
) -> tuple[ceilings.Ceiling, frozenset[str]]:
    """The call's ceiling, and the units that it cannot turn into."""
    known, translated = kind.known, kind.destination.translated
    bound = ceilings.estimate(call, known, size, facts.context_tokens, facts.max_output_tokens, facts.own_units)
    if translated:
        bound = _sent_along(bound, call, known, facts)
    if reason := _dearer_unpriced(exchange, call, kind.route, known.provider, int(now_s())):
        bound = Ceiling(None, 0, call.sequences, missing=reason)
    if (
        not bound.missing
        and (apart := sound_apart(call, known))
        and (reason := _sound_unpriced(exchange, kind.route, apart))
    ):
        bound = Ceiling(None, 0, call.sequences, missing=reason)
    without = ceilings.impossible_units(call, body, translated=translated)
    return bound, without | thoughts if (thoughts := thoughts_left_out(call, known)) else without


def _sound_unpriced(exchange: Exchange, route: Route, apart: tuple[frozenset[str], ...]) -> str:
    """Why sound of a call has no bound; "" where each kind of it has a price. apart: units of each, one of which has to."""
    at_s = int(now_s())
    for model in route.models:
        units = exchange.configured.book.units(route.provider, model, at_s)
        for names in apart:
            if names.isdisjoint(units):
                return f"sound costs more than text, and has no price here; give `prices` its `{min(names)}`"
    return ""


def _in_priced_units(exchange: Exchange, call: Call, route: Route, facts: ModelFacts, at_s: int) -> Call:
    """The call with what it comes to at most in the units of its model's price, where its API counts in those."""
    endpoint, configured = exchange.endpoint, exchange.configured
    if not isinstance(endpoint, JobEndpoint) or endpoint.api.bounded is None:
        return call
    attributes = attributes_of(exchange.identity, route, exchange.attribution)
    units = configured.book.units(route.provider, route.model, at_s, attributes)
    call = endpoint.api.bounded(call, units)
    known = route.max_output_tokens or facts.max_output_tokens or route.context_tokens or facts.context_tokens
    if "output" in units and not call.output_caps and not known:  # these APIs take no cap of ours
        why = f"nothing caps what it writes: send `max_tokens`, or set models.{route.requested}.max_output_tokens"
        return call._replace(unbounded=call.unbounded or why)
    return call


def _sent_along(bound: ceilings.Ceiling, call: Call, route: Route, facts: ModelFacts) -> ceilings.Ceiling:
    """The bound with its cap sent along where the client has none: the translator would say what it takes for the model's."""
    known = route.max_output_tokens or facts.max_output_tokens
    return bound._replace(inject=True) if known and not call.output_caps else bound


def _missing(bound: ceilings.Ceiling, usage: Mapping[str, int], lines: Bounds | None) -> str:
    """Why nothing bounds its usage; "" where something does."""
    if lines is not None:
        return lines.missing
    return "" if usage else bound.missing or "nothing says what it uses"


def _add_claims_of_others(
    exchange: Exchange,
    route: Route,
    attributes: Mapping[str, str | None],
    budgets: list[Budget],
    claims: list[Claim],
    lines: Bounds,
    began_s: float,
) -> None:
    """A batch of several models counts, whole, in the budgets of each: rather too much than past one of them."""
    index, amounts = exchange.configured.budgets, Amounts(lines.nanousd, lines.tokens)
    known = {(claim.budget, claim.group) for claim in claims}
    for model in lines.models:
        as_it = replace(route, requested=model)
        named = {**attributes, "model": model}
        for budget, claim in zip(*index.claims(exchange.identity, as_it, named, amounts, began_s), strict=True):
            if (claim.budget, claim.group) not in known:
                known.add((claim.budget, claim.group))
                budgets.append(budget)
                claims.append(claim)


def _refuse_unreadable(call: Call, route: Route) -> None:
    """llama.cpp reports the usage of one sequence only, however many it made: a bill that nobody could check."""
    writes = call.dialect != "openai.embeddings"
    if call.sequences > 1 and writes and (route.provider in LLAMA_CPP or route.provider == "local"):
        raise invalid_request("This upstream reports usage for one sequence only; send one prompt with n = 1.", "n")


def other_model(exchange: Exchange, route: Route, model: str) -> str:
    """The provider's name of a model that a call names beside its own. Raises `Refused` where the caller may not use it."""
    configured = exchange.configured
    other = configured.router.route(model, exchange.identity)
    if other.upstream != route.upstream:
        raise model_not_found(model)
    if not configured.facts_of(other.provider, other.model, now_s(), other.answers).priced:
        raise model_not_priced(model, configured.config.server.budget_status)
    return other.model


def _guarded(exchange: Exchange, route: Route, kind: str) -> bool:
    """Whether a field could get its sender past a price or a list of models: a budget that blocks counts on the price of
    the call's own model, and without the router's own word nobody would know of another."""
    configured, identity = exchange.configured, exchange.identity
    if charge_of(route.provider) in ("", "?"):
        return True
    attributes = attributes_of(identity, route, exchange.attribution)
    budgets = configured.budgets.candidates(identity, route)
    if any(budget.hard and (not budget.match or budget.matches(attributes)) for budget in budgets):
        return kind != "routing" or not _within_the_price(exchange, route)
    return kind == "models" and (identity.models is not None or configured.router.any_at(route.upstream) is None)


def _within_the_price(exchange: Exchange, route: Route) -> bool:
    """Whether the `max_price` of a router's call, in USD per million tokens, is none above the price of its model
    (openrouter.ai/docs, provider routing: no host that asks more is chosen)."""
    most = exchange.call.body["provider"]["max_price"]
    for name, unit in (("prompt", "input"), ("completion", "output")):
        asked, at_s = number(most.get(name)), int(now_s())
        price = exchange.configured.book.ceiling_nanousd(
            {unit: 1000}, provider=route.provider, model=route.model, at_s=at_s, until_s=at_s, fixed=ORDINARY,
            without=ceilings.MEDIA_UNITS | ceilings.CACHE_WRITES,
        )  # fmt: skip
        if asked is None or price is None or asked * 1_000_000 > price:
            return False
    return True


def _fixed_conditions(exchange: Exchange, call: Call, route: Route, known: str, at_s: int) -> Mapping[str, str]:
    """What is known of its price beforehand: what the request asks for, where any price depends on that, and the tier."""
    configured = exchange.configured
    asked = requested_by(call.body)
    if call.fixed:
        asked = {**call.fixed, **asked}
    if asked:
        asked = _that_count(configured, asked, route, at_s)
    return fixed_conditions(call, asked, known, configured.config.upstreams[route.upstream].service_tier)


def _dearer_unpriced(exchange: Exchange, call: Call, route: Route, known: str, at_s: int) -> str:
    """Why a tier that it asks for has no bound; "" where it has, or where it asks for none."""
    if not (asked := requested_by(call.body)):
        return ""
    count = partial(exchange.configured.book.relevant_conditions, asked, provider=route.provider, at_s=at_s)
    reasons = (dearer_unpriced(asked, count(model=model), known) for model in route.models)
    return next(filter(None, reasons), "")


def _that_count(configured: Configured, asked: Mapping[str, str], route: Route, at_s: int) -> dict[str, str]:
    """Those of what it asks for that some price depends on, of any model that may answer."""
    count = partial(configured.book.relevant_conditions, asked, provider=route.provider, at_s=at_s)
    return {name: value for model in route.models for name, value in count(model=model).items()}


def attributes_of(identity: Identity, route: Route, attribution: Attribution) -> dict[str, str | None]:
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
    if attribution.labels:
        attributes |= {f"label.{name}": value for name, value in attribution.labels.items()}
    return attributes


def _require_bounds(
    exchange: Exchange,
    route: Route,
    claims: Sequence[Claim],
    missing: str,
    ceiling_nanousd: int | None,
) -> None:
    """A blocking budget can only count what has a bound, and a price where it counts money."""
    if ceiling_nanousd is not None and not missing:
        return
    hard = {claim.measure for claim in claims if claim.hard}
    if missing and hard & {"usd", "tokens"}:
        raise unbounded_cost(f"The cost of this call has no bound, and a budget blocks: {missing}.")
    if "usd" in hard and ceiling_nanousd is None:
        raise model_not_priced(route.requested, exchange.configured.config.server.budget_status)
