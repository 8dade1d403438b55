"""Step eight: the attempt is sent upstream, and what it means when nothing comes back."""

from __future__ import annotations

import time

from proxy.errors import upstream_timeout, upstream_unreachable
from proxy.exchange.asking import head_of
from proxy.exchange.attempt import Attempt
from proxy.exchange.settlement import Settlement, Timings, charge, unconfirmed
from proxy.exchange.unseen import unseen
from proxy.jobs.api import JobEndpoint
from proxy.sessions.chains import Beginning
from proxy.upstream.aws.signer import NoCredentialsError, Signer
from proxy.upstream.response import Listened, Response, UpstreamError


async def forward(attempt: Attempt) -> Response:
    """Send it. An upstream that was surely not reached voids the attempt; one that may have been is charged for. Whatever else
    is raised leaves the attempt open, for `abandon`."""
    exchange, destination, body = attempt.exchange, attempt.plan.destination, attempt.body()
    client, endpoint = exchange.client, exchange.endpoint
    if destination.signer is not None:
        await _have_credentials(attempt, destination.signer)
    model = destination.names.get(attempt.route.model, attempt.route.model)
    head = head_of(attempt, endpoint.method, endpoint.target_of(model, client.query), body)
    attempt.dispatch()
    # Where it stops, and stops billing, when the caller leaves; a job goes on whoever listens.
    stops = not destination.bills_after_disconnect and not isinstance(endpoint, JobEndpoint)

    def sent(response: Listened) -> None:
        if stops:
            client.when_gone(response.hang_up)
        if isinstance(exchange.conversation, Beginning):
            exchange.conversation.read(exchange.plane.chains)  # while the upstream has something to do

    try:
        return await exchange.configured.upstreams.send(
            destination.pool,
            head,
            body,
            sent,
            holder=exchange.identity.key_id,
            record=attempt.pending,
        )
    except UpstreamError as error:
        if attempt.pending is not None and attempt.pending.lost:
            raise await attempt.unrecorded() from None
        outcome = "upstream_timeout" if error.timed_out else "upstream_unreachable"
        if error.sent and stops:
            await attempt.settle(await _unanswered(attempt, outcome, error))
        elif error.sent:
            await attempt.settle(unconfirmed(outcome, None, _timings(attempt)))
        else:
            await attempt.void(outcome)
        raise (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.") from None


async def _have_credentials(attempt: Attempt, signer: Signer) -> None:
    """Raises `Refused` where there are no credentials to sign with: nothing was sent then."""
    try:
        await signer.ready()
    except NoCredentialsError:
        await attempt.void("upstream_unreachable")
        why = "There are no AWS credentials for this upstream at the moment; the proxy's log says why."
        raise upstream_unreachable(why) from None


async def abandon(attempt: Attempt) -> None:
    """The INTENT of a call that ended where no end was foreseen: what was not sent costs nothing, what was its ceiling."""
    if attempt.dispatched:
        await attempt.settle(unconfirmed("cut", None, _timings(attempt)))
    else:
        await attempt.void("cut")


async def _unanswered(attempt: Attempt, outcome: str, error: UpstreamError) -> Settlement:
    """Nothing came from an upstream that stops when it is left: what can be known of that."""
    exchange, route = attempt.exchange, attempt.route
    left = exchange.client.gone
    reading = await unseen(attempt, breaks_down=not left and not error.timed_out)
    settlement = unconfirmed("client_disconnected" if left else outcome, None, _timings(attempt))
    cost = charge(exchange.configured.book, route, exchange.endpoint.target, attempt.plan.attributes, reading)
    return settlement._replace(reading=reading, cost=cost)


def _timings(attempt: Attempt) -> Timings:
    began = attempt.exchange.client.began
    return Timings((time.perf_counter() - began) * 1000, (attempt.dispatched - began) * 1000)
