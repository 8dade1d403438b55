"""Requests to an upstream for an attempt: their heads, and the question how the provider counts the attempt's input."""

from __future__ import annotations

import asyncio

import orjson

from proxy.exchange.attempt import Attempt
from proxy.meters.translated import MOST_OUTPUT
from proxy.upstream.requests import request_head
from proxy.upstream.response import UpstreamError

_COUNT_TIMEOUT_S = 3.0
_MAX_COUNT_BYTES = 64 * 1024


def head_of(attempt: Attempt, method: bytes, path: str, body: bytes) -> bytes:
    """The head of a request on behalf of this attempt."""
    exchange = attempt.exchange
    form, destination = attempt.call.form, attempt.plan.destination
    more = exchange.endpoint.family.headers
    if destination.translated:  # what the ceiling rests on: nothing that is sent in the end may ask for more
        more = {**more, MOST_OUTPUT: b"%d" % attempt.most_output_tokens()}
    if destination.signer is not None:
        more = {
            **more,
            **destination.signer.headers(method, destination.origin.authority, destination.path(path), body),
        }
    return request_head(
        destination,
        method,
        path,
        len(body),
        family_headers=more,
        client_headers=exchange.client.headers,
        attempt_id=attempt.id,
        passed_too=exchange.endpoint.family.request_headers,
        content_type=form.content_type if form is not None else None,
    )


async def providers_count(attempt: Attempt) -> int | None:
    """Tokens that the provider says the input comes to, free of charge; None where it does not say."""
    exchange = attempt.exchange
    counting = exchange.endpoint.counting_at(attempt.plan.known_provider)
    if counting is None or attempt.plan.destination.translated:
        return None
    path, body = counting.request(attempt.call, attempt.route.model)
    path = path.replace("{model}", attempt.route.model)
    head = head_of(attempt, b"POST", path, body)
    try:
        async with asyncio.timeout(_COUNT_TIMEOUT_S):
            response = await exchange.configured.upstreams.send(
                attempt.plan.destination.pool, head, body, holder=exchange.identity.key_id
            )
            answer = b""
            while data := await response.read():
                answer += data
                if len(answer) > _MAX_COUNT_BYTES:
                    response.abort()
                    return None
        value = orjson.loads(answer) if response.status == 200 else None
    except (UpstreamError, TimeoutError, orjson.JSONDecodeError):
        return None
    tokens = value.get(counting.field) if isinstance(value, dict) else None
    return tokens if type(tokens) is int and tokens > 0 else None
