"""The lines of a batch, bounded one by one: each is a call of its own, at batch prices, to a model that this key may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from proxy.access.provider_fields import screen
from proxy.budgets.budget import Budget, attributes_of_key
from proxy.ceilings import ceiling as ceilings
from proxy.ceilings.call_price import CallPrice
from proxy.ceilings.conditions import ORDINARY
from proxy.ceilings.costly import lowered_caps
from proxy.ceilings.habits import name_cap
from proxy.ceilings.rendered import rendered_size
from proxy.dialects import ENDPOINTS, Endpoint
from proxy.dialects import find as find_endpoint
from proxy.dialects.deployments import PREFIX as DEPLOYMENTS
from proxy.errors import Refused, dialect_not_supported, invalid_request, model_not_found, model_not_priced
from proxy.exchange.configured import Configured
from proxy.exchange.plane import Plane
from proxy.jobs.bounds import Bounds
from proxy.times import now_s
from proxy.types import Call, Identity, Route

MOST_MODELS = 64
_KEPT_S = 31 * 86_400  # so long a file may wait until it is used
_BATCH: Mapping[str, str] = {"processing": "batch", **ORDINARY}


class Lines:
    """The lines of one batch. All go to one upstream: that of the first. `bounds` is what they come to by now."""

    def __init__(
        self, plane: Plane, configured: Configured, identity: Identity, *, most_models: int = MOST_MODELS
    ) -> None:
        self._plane = plane
        self._configured = configured
        self._identity = identity
        self._most_models = most_models
        self.bounds = Bounds()
        self.route: Route | None = None

    def add(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Bound one more line, which calls `path` with `body`; the body that is sent in its place. Raises `Refused`, saying
        which line it is."""
        number = self.bounds.lines + 1
        try:
            return self._add(path, body)
        except Refused as refused:
            message = f"Line {number}: {refused.refusal.message}"
            raise Refused(replace(refused.refusal, message=message)) from None

    def _add(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        endpoint = ENDPOINTS.get(path) or find_endpoint("POST", path, b"")
        if endpoint is None or path.startswith(DEPLOYMENTS):  # a deployment's name would go on as it is
            raise invalid_request(f"{path[:100]!r} cannot be called in a batch.", "url")
        if self.bounds.path and endpoint.operation != self.bounds.path:
            raise invalid_request("All lines of a batch call the same path.", "url")
        call = endpoint.parse(orjson.dumps(body))
        if call.stream:
            raise invalid_request("A line of a batch cannot be streamed.", "stream")
        for stored_id in (*call.held, *call.mentioned):
            self._plane.stored_owners.find(self._identity, stored_id)
        route = self._route(call, endpoint)
        self.bounds = self.bounds._replace(path=endpoint.operation)
        return self._bound(endpoint, call, route)

    def _route(self, call: Call, endpoint: Endpoint) -> Route:
        configured = self._configured
        route = configured.router.route(call.model, self._identity)
        if configured.destination(
            route, endpoint
        ).translated:  # a batch runs at its provider, in the provider's own form
            raise dialect_not_supported(route.requested, endpoint.family.name)
        if self.route is None:
            self.route = route
        if route.upstream != self.route.upstream:
            raise invalid_request("All lines of a batch go to models of one upstream.", "model")
        if route.requested not in self.bounds.models and len(self.bounds.models) >= self._most_models:
            raise invalid_request(f"A batch is for {self._most_models} model(s) at most.", "model")
        return route

    def _bound(self, endpoint: Endpoint, call: Call, route: Route) -> Mapping[str, Any]:
        configured = self._configured
        known = replace(route, provider=configured.book.catalog.canonical(route.provider))
        call = screen(call, route, _no_other, exact=configured.router.is_exact(route.requested))
        sent = dict(call.body) | name_cap(call, known.provider)
        if call.body.get("model") is not None:
            sent["model"] = route.model
        written = orjson.dumps(sent)
        size = rendered_size(call, written, known.provider)
        line = priced_line(configured, self._identity, call, route, written, size)
        if line.bound.inject:
            capped = endpoint.cap_output(call.body, line.bound.output_tokens, known.provider)
            sent |= {**lowered_caps(call.body, line.bound.output_tokens), **capped}
        self.bounds = self.bounds.with_line(line.nanousd, line.bound.usage, line.missing, route.requested)
        return sent


class Line(NamedTuple):
    """What a line may use and cost; nanousd None where it has no price or no bound, then `missing` says why."""

    bound: ceilings.Ceiling
    nanousd: int | None
    missing: str


def priced_line(
    configured: Configured, identity: Identity, call: Call, route: Route, written: bytes, size: int
) -> Line:
    """A line's bound at batch prices. written: its body as it is sent, of `size` bytes when it is rendered. Raises `Refused`
    where its model has no price and such models are refused."""
    now = now_s()
    facts = configured.facts_of(route.provider, route.model, now, route.answers)
    if not facts.priced and not call.free and configured.config.on_unpriced == "refuse":
        raise model_not_priced(route.requested, configured.config.server.budget_status)
    known = replace(route, provider=configured.book.catalog.canonical(route.provider))
    bound = ceilings.estimate(call, known, size, facts.context_tokens, facts.max_output_tokens, facts.own_units)
    price = CallPrice(
        book=configured.book, provider=route.provider, model=route.model, at_s=int(now), until_s=int(now) + _KEPT_S,
        attributes=attributes_of_key(identity, route),
        fixed={**_BATCH, **call.fixed}, without=ceilings.impossible_units(call, written), media=bound.media,
        quantities=call.quantities, free=call.free, answers=route.answers or (),
    )  # fmt: skip
    nanousd = price(bound.usage) if bound.usage and facts.priced else 0 if call.free else None
    missing = "" if nanousd is not None else bound.missing or f"the model {route.requested} has no price here"
    return Line(bound, nanousd, missing)


def _no_other(model: str) -> str:
    raise model_not_found(model)


def blocking(budgets: Sequence[Budget]) -> bool:
    """Whether one of these refuses what has no bound."""
    return any(budget.hard and budget.measure != "requests" for budget in budgets)
