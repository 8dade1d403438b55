"""One call, in one direction: each step is one call into the file that owns it.

1 identify · 2 parse · 3 route · 4 attribute, once a call; then for each attempt 5 plan (ceiling and claims) · 6 intend ·
7 reserve · 8 forward · 9 answer (meter, price) · 10 settle.
"""

from __future__ import annotations

import random

from proxy.ceilings.betas import betas_in, betas_within
from proxy.cohort import COHORT
from proxy.dialects import Endpoint
from proxy.downstream.client import Client, stream_cost_wish
from proxy.errors import UPSTREAM_ERROR, Refused, invalid_request, stored_not_found
from proxy.exchange.answer import answer
from proxy.exchange.attempt import Attempt
from proxy.exchange.attribute import attributed
from proxy.exchange.configured import Configured
from proxy.exchange.exchange import Exchange
from proxy.exchange.forward import abandon, forward
from proxy.exchange.jobs.batches import bounded
from proxy.exchange.jobs.passed_batches import serve_passed
from proxy.exchange.jobs.passing import asked_first
from proxy.exchange.limits import asks_server, limited
from proxy.exchange.plan import plan
from proxy.exchange.plane import Plane
from proxy.exchange.references import recall_stored, with_its_size
from proxy.exchange.reserve import guard, reserve
from proxy.exchange.retry import Failure, pause_s, schedule
from proxy.exchange.steps import ATTRIBUTED, INTENDED, PARSED, RESERVED
from proxy.jobs.api import JobEndpoint
from proxy.jobs.apis.openai_background import endpoint_of
from proxy.times import now_s, now_us
from proxy.types import Call, Identity, Route


async def run(plane: Plane, endpoint: Endpoint, client: Client) -> None:
    """Serve one call. Raises `Refused` where there is an error to tell; by then everything that was begun is ended."""
    configured = plane.configured
    if isinstance(endpoint, JobEndpoint) and endpoint.passed_as is not None and client.sends_more_than_is_held:
        await serve_passed(plane, endpoint, client)
        return
    identity = _identified(plane, client)
    client.admit(identity.key_id)
    body = client.body_now()
    if body is None:
        body = await client.body()
        identity = plane.keys.again(identity, now_s)  # it may have taken its time
    call = _parse(endpoint, client, body)
    del body  # of an agent's, a call has two copies as it is: its values, and what goes upstream
    endpoint = endpoint_of(endpoint, call)
    if stream_cost_wish(client.headers) and call.stream and endpoint.form.framed:
        raise invalid_request(
            "AWS's event streams have no place for a cost; leave the header out.", "x-taximeter-stream-cost"
        )
    if call.held or call.mentioned:
        await recall_stored(plane, identity, call)
        call = with_its_size(plane, identity, call)
        if call.operation == "responses.delete":
            await asked_first(plane, identity, call.held[0])
    if endpoint.of_headers is not None:
        call = endpoint.of_headers(call, client.headers)
    if isinstance(endpoint, JobEndpoint):
        call = await bounded(plane, configured, identity, endpoint, call)
    if COHORT.crowded:
        await PARSED
    route = _route(plane, configured, identity, call)
    configured.destination(route, endpoint)
    began_at = now_us()
    client.request_id = plane.ids.new(began_at)
    attribution, conversation = await attributed(plane, configured, client, call, identity)
    client.session_id = attribution.session_id
    if COHORT.crowded:
        await ATTRIBUTED
    await _attempts(
        Exchange(plane, configured, endpoint, client, identity, call, client.request_id, attribution, conversation),
        route,
        began_at,
    )


async def _attempts(exchange: Exchange, route: Route, began_at: int) -> None:
    """Try the routes of the call until one answers. Where none does, the client is told what the last upstream said. began_at:
    when the call, and with it its first attempt, began."""
    client, schedule_of = exchange.client, exchange.configured.router.named
    tries = schedule(route, schedule_of, follow=not exchange.call.held)
    failure: Failure | None = None
    counted = False
    for number, attempted in enumerate(tries, 1):
        if failure is not None:
            pause = pause_s(failure, attempted, random.random())  # noqa: S311 - no secret
            if pause is None:
                continue
            if client.gone or (pause and await client.leaves_within(pause)):
                return
            client.attempts, client.clamped_tokens = number, None
        try:
            tried = attempted.route
            if asks_server(exchange, tried):
                tried = await limited(exchange, tried)
            planned = plan(exchange, tried, number, 0 if counted else 1, began_at if number == 1 else 0)
            attempt = Attempt.of(exchange, planned)
            try:
                failure = await _attempt(attempt, hold=len(tries) > 1)
            finally:
                counted = counted or attempt.charged
        except Refused:
            if failure is None:
                raise
            continue  # of this attempt alone: it was not sent
        if failure is None:
            return
    if failure is None:
        return
    if failure.refusal is not None:
        raise Refused(failure.refusal)
    await client.respond(failure.status, list(failure.headers), failure.body)


async def _attempt(attempt: Attempt, *, hold: bool) -> Failure | None:
    """One attempt, from its INTENT to its settlement. hold: what another attempt may mend is returned, not told."""
    attempt.intend(with_request=not isinstance(attempt.exchange.endpoint, JobEndpoint))
    try:
        if COHORT.crowded:
            await INTENDED
        if not attempt.exchange.plane.guards.idle:
            await guard(attempt)
        await reserve(attempt)
        if COHORT.crowded:
            await RESERVED
        response = await forward(attempt)
        return await answer(attempt, response, hold=hold)
    except Refused as refused:
        once = attempt.charged and isinstance(attempt.exchange.endpoint, JobEndpoint)  # there may be a job by now
        if hold and not once and not attempt.exchange.client.started and refused.refusal.kind == UPSTREAM_ERROR:
            return Failure(refusal=refused.refusal)
        raise
    finally:
        if not attempt.closed:
            await abandon(attempt)


def _identified(plane: Plane, client: Client) -> Identity:
    """Whose the call is. Raises `Refused` (401)."""
    notes = client.notes
    if notes.identity is not None:
        return plane.keys.again(notes.identity, now_s)
    notes.identity = plane.keys.identify(client.headers, now_s())
    return notes.identity


def _parse(endpoint: Endpoint, client: Client, body: bytes) -> Call:
    call = client.parsed(body, endpoint.parse)
    header = client.headers.get(b"anthropic-beta")
    betas = betas_in(header) if header else ()
    if call.dialect == "anthropic.messages":
        betas += betas_within(call.body)
    return call._replace(betas=betas) if betas else call


def _route(plane: Plane, configured: Configured, identity: Identity, call: Call) -> Route:
    """Where the call goes: by its model, and only to where everything is that it refers to."""
    router = configured.router
    if not call.held:
        return router.route(call.model, identity)
    holders = [plane.stored_owners.find(identity, stored_id) for stored_id in call.held]
    route = router.route(call.model or holders[0].model, identity)
    if any(holder.upstream != route.upstream for holder in holders):
        raise stored_not_found("id")
    return route
