"""A local server's own limits, asked for once a minute and never of a hosted provider: what nobody configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from proxy.config.upstream import is_local
from proxy.exchange.exchange import Exchange
from proxy.types import Route
from proxy.upstream.requests import request_head
from proxy.upstream.server_limits import limits_in

_MAX_BYTES = 1024 * 1024


def asks_server(exchange: Exchange, route: Route) -> bool:
    """Whether the model's context is its server's to state, for the operator says none."""
    return route.context_tokens is None and is_local(route.provider) and not exchange.call.free


async def limited(exchange: Exchange, route: Route) -> Route:
    """The route with the context that its server states."""
    configured = exchange.configured
    destination = configured.destinations.get((route.upstream, "openai"))
    if destination is None:
        return route

    async def ask() -> Mapping[str, int]:
        head = request_head(
            destination, b"GET", "/models", 0, family_headers={}, client_headers={}, attempt_id=exchange.request_id
        )
        response = await configured.upstreams.send(destination.pool, head, b"", holder=exchange.identity.key_id)
        answer = b""
        while data := await response.read():
            answer += data
            if len(answer) > _MAX_BYTES:
                response.abort()
                return {}
        return limits_in(answer) if response.status == 200 else {}

    limits = await configured.limits.of(route.upstream, ask)
    if not limits:
        return route
    # llama.cpp serves its one model under any name.
    context = limits.get(route.model) or (next(iter(limits.values())) if len(limits) == 1 else None)
    return route if context is None else replace(route, context_tokens=context)
