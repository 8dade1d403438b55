"""Sending an attempt upstream: the head that it goes with, and what it means when nothing comes back."""

from __future__ import annotations

import time

from pricing.usage import Reading
from proxy.dialects import Endpoint
from proxy.downstream.client import Client
from proxy.errors import upstream_timeout, upstream_unreachable
from proxy.exchange.attempt import Attempt, Settlement
from proxy.exchange.estimated import counted
from proxy.exchange.plane import Destination, Plane
from proxy.times import now_us
from proxy.upstream.pool import Response, UpstreamError, encode_head

_FORWARDED_HEADERS = (b"anthropic-version", b"anthropic-beta", b"openai-beta", b"traceparent")


def request_head(
    client: Client,
    attempt: Attempt,
    endpoint: Endpoint,
    destination: Destination,
    method: bytes,
    path: str,
    body_bytes: int,
) -> bytes:
    """The head of a request to the upstream: its own credential, and of the client's headers only those on our list."""
    passed = dict(endpoint.family.headers)
    passed |= {name: client.headers[name] for name in _FORWARDED_HEADERS if name in client.headers}
    passed[b"x-client-request-id"] = attempt.id.encode()
    fixed, form = destination.fixed, attempt.call.form
    if form is not None:
        fixed = fixed.replace(b"content-type: application/json", b"content-type: " + form.content_type, 1)
    return encode_head(method, destination.origin.target(path).encode(), fixed, passed, body_bytes)


async def forward(
    plane: Plane, attempt: Attempt, endpoint: Endpoint, destination: Destination, client: Client
) -> Response:
    """Send it. An upstream that was surely not reached voids the attempt; one that may have been is charged for."""
    path = endpoint.target_of(attempt.route.model, client.query)
    head = request_head(client, attempt, endpoint, destination, endpoint.method, path, len(attempt.body))
    attempt.dispatched = time.perf_counter()
    stops = attempt.call.stream and not destination.bills_after_disconnect  # and bills no further, when told
    try:
        return await plane.upstreams.send(
            destination.pool,
            head,
            attempt.body,
            (lambda response: client.when_gone(response.hang_up)) if stops else None,
        )
    except UpstreamError as error:
        outcome = "upstream_timeout" if error.timed_out else "upstream_unreachable"
        if error.sent and stops and client.gone:
            await attempt.settle(plane.spool, plane.store, await _unanswered(plane, attempt, endpoint, client))
        elif error.sent:
            await attempt.settle(plane.spool, plane.store, unconfirmed(attempt, client, outcome, None))
        else:
            await attempt.void(plane.spool, plane.store, outcome)
        raise (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.") from None
    except BaseException:
        await attempt.settle(plane.spool, plane.store, unconfirmed(attempt, client, "cut", None))
        raise


async def _unanswered(plane: Plane, attempt: Attempt, endpoint: Endpoint, client: Client) -> Settlement:
    """The client left before anything came, and the upstream stopped: the prompt was read, nothing was written."""
    route = attempt.route
    reading = await counted(Reading(), [], route.model, attempt.call.body, all_seen=True)
    cost = plane.book.cost(
        reading,
        provider=route.provider,
        model=route.model,
        at_s=int(time.time()),
        endpoint=endpoint.target,
        attributes=attempt.attributes,
    )
    return unconfirmed(attempt, client, "client_disconnected", None)._replace(reading=reading, cost=cost)


def unconfirmed(attempt: Attempt, client: Client, outcome: str, http_status: int | None) -> Settlement:
    """A settlement that charges the whole ceiling: it may have been billed, and nobody knows how much."""
    now = time.perf_counter()
    return Settlement(
        outcome=outcome,
        http_status=http_status,
        reading=Reading(),
        cost=None,
        ended_at=now_us(),
        duration_ms=(now - client.began) * 1000,
        overhead_ms=(attempt.dispatched - client.began) * 1000,
    )
