"""Step eight: the attempt is sent upstream, and what it means when nothing comes back."""

from __future__ import annotations

import time

from pricing.usage import Reading
from proxy.errors import upstream_timeout, upstream_unreachable
from proxy.exchange.attempt import Attempt
from proxy.exchange.estimated import counted
from proxy.exchange.settlement import Settlement, Timings, charge, unconfirmed
from proxy.meters.reader import asked_of
from proxy.upstream.pool import Response, UpstreamError
from proxy.upstream.requests import request_head


def head_of(attempt: Attempt, method: bytes, path: str, body_bytes: int) -> bytes:
    """The head of a request on behalf of this attempt."""
    exchange = attempt.exchange
    form = attempt.call.form
    return request_head(
        attempt.plan.destination,
        method,
        path,
        body_bytes,
        family_headers=exchange.endpoint.family.headers,
        client_headers=exchange.client.headers,
        attempt_id=attempt.id,
        content_type=form.content_type if form is not None else None,
    )


async def forward(attempt: Attempt) -> Response:
    """Send it. An upstream that was surely not reached voids the attempt; one that may have been is charged for."""
    exchange, destination, body = attempt.exchange, attempt.plan.destination, attempt.body()
    client, endpoint = exchange.client, exchange.endpoint
    head = head_of(attempt, endpoint.method, endpoint.target_of(attempt.route.model, client.query), len(body))
    attempt.dispatch()
    stops = attempt.call.stream and not destination.bills_after_disconnect  # and bills no further, when told
    try:
        return await exchange.configured.upstreams.send(
            destination.pool,
            head,
            body,
            (lambda response: client.when_gone(response.hang_up)) if stops else None,
            holder=exchange.identity.key_id,
        )
    except UpstreamError as error:
        outcome = "upstream_timeout" if error.timed_out else "upstream_unreachable"
        if error.sent and stops and client.gone:
            await attempt.settle(await _unanswered(attempt))
        elif error.sent:
            await attempt.settle(unconfirmed(outcome, None, _timings(attempt)))
        else:
            await attempt.void(outcome)
        raise (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.") from None
    except BaseException:
        await attempt.settle(unconfirmed("cut", None, _timings(attempt)))
        raise


async def abandon(attempt: Attempt) -> None:
    """The INTENT of a call that ended where no end was foreseen: what was not sent costs nothing, what was its ceiling."""
    if attempt.dispatched:
        await attempt.settle(unconfirmed("cut", None, _timings(attempt)))
    else:
        await attempt.void("cut")


async def _unanswered(attempt: Attempt) -> Settlement:
    """The client left before anything came, and the upstream stopped: the prompt was read, nothing was written."""
    exchange, route = attempt.exchange, attempt.route
    body = attempt.call.body
    reading = await counted(Reading(asked=asked_of(body)), [], route.model, body, all_seen=True)
    cost = charge(exchange.configured.book, route, exchange.endpoint.target, attempt.plan.attributes, reading)
    return unconfirmed("client_disconnected", None, _timings(attempt))._replace(reading=reading, cost=cost)


def _timings(attempt: Attempt) -> Timings:
    began = attempt.exchange.client.began
    return Timings((time.perf_counter() - began) * 1000, (attempt.dispatched - began) * 1000)
