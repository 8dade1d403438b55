"""The data plane's front door: plain ASGI, and the limits that uvicorn does not have by itself.

`Application` sends each path to where it is served and turns refusals into answers. `Connection` is uvicorn's HTTP
protocol with a cap on connections, time-outs for request heads and bodies, and a way to see that a client has gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.budgets.store import StoreUnavailable
from proxy.dialects import MODELS_PATHS, family_of_path, find
from proxy.downstream.client import Client, HungUp, Receive, Scope, Send
from proxy.errors import Refused, budget_store_unavailable, internal, method_not_allowed, not_found, starting
from proxy.exchange import run as exchange
from proxy.exchange.plane import Plane
from proxy.money import usd_text

log = logging.getLogger("taximeter.data")

_JSON = (b"content-type", b"application/json")


class Application:
    """The ASGI application of one data plane."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._own = {"/healthz": self._health, "/readyz": self._ready, "/v1/key": self._key}
        self._own |= dict.fromkeys(MODELS_PATHS, self._models)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        plane = self._plane
        client = Client(plane.load, scope, receive, send)
        plane.calls_in_flight += 1
        try:
            endpoint = find(scope["method"], client.path, client.query)
            if endpoint is None:
                await self._serve_own(scope["method"], client)
            elif not plane.ready:
                raise starting()
            else:
                await exchange.run(plane, endpoint, client)
        except Refused as refused:
            if not refused.recorded:
                plane.tally.refuse(refused.refusal.code, refused.refusal.budget)
            await client.refuse(family_of_path(client.path), refused.refusal)
        except HungUp:
            pass
        except Exception:  # the outermost boundary: a fault of ours, told without its text
            log.exception("call %s failed", client.request_id or "before it had an id")
            await client.refuse(family_of_path(client.path), internal(client.request_id).refusal)
        finally:
            plane.calls_in_flight -= 1
            client.release()

    async def _serve_own(self, method: str, client: Client) -> None:
        serve = self._own.get(client.path)
        if serve is None:
            raise not_found()
        if method not in ("GET", "HEAD"):
            raise method_not_allowed("GET")
        await serve(client)

    async def _health(self, client: Client) -> None:
        await client.respond(200, [_JSON], b'{"status":"ok"}')

    async def _ready(self, client: Client) -> None:
        if self._plane.ready:
            await client.respond(200, [_JSON], b'{"status":"ready"}')
        else:
            await client.respond(503, [_JSON], b'{"status":"starting or draining"}')

    async def _models(self, client: Client) -> None:
        identity = self._plane.keys.identify(client.headers, time.time())
        models = [
            {
                "id": route.requested,
                "object": "model",
                "created": int(self._plane.started_at),
                "owned_by": route.provider,
            }
            for route in self._plane.configured.router.visible(identity)
        ]
        await client.respond(200, [_JSON], orjson.dumps({"object": "list", "data": models}))

    async def _key(self, client: Client) -> None:
        """A key's own view: its name, its team, and the budgets that name its fixed attributes."""
        identity = self._plane.keys.identify(client.headers, time.time())
        fixed = {"key": identity.key, "team": identity.team, "user": identity.user, "customer": identity.customer}
        fixed |= {f"label.{name}": value for name, value in identity.labels.items()}
        try:
            standings = await self._plane.standings_of(fixed)
        except StoreUnavailable:
            raise budget_store_unavailable() from None
        budgets = [
            {
                "name": standing.budget,
                "group": standing.group,
                "limit_usd": usd_text(standing.limit),
                "spent_usd": usd_text(standing.spent),
                "reserved_usd": usd_text(standing.reserved),
                "remaining_usd": usd_text(standing.remaining),
                "resets_at": standing.window_end,
            }
            for standing in standings
        ]
        body = {"name": identity.key, "team": identity.team, "budgets": budgets}
        await client.respond(200, [_JSON], orjson.dumps(body))


class Connection(HttpToolsProtocol):
    """One client connection. The server's `Limits` are class attributes of a subclass made by `connection_class`."""

    max_connections = 10_000
    header_timeout_s = 10.0
    body_timeout_s = 30.0

    gone = False
    on_gone: Callable[[], None] | None = None
    waiting_since = 0.0  # of a request that is not complete; 0 between requests
    head_complete = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn annotates a subclass
        super().connection_made(transport)
        self.waiting_since = self.loop.time()
        if len(self.connections) > self.max_connections:
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        super().connection_lost(exc)
        if self.on_gone is not None:
            self.on_gone()

    def data_received(self, data: bytes) -> None:
        if self.head_complete and self.waiting_since:
            self.waiting_since = self.loop.time()  # a body that keeps coming is only timed between its pieces
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self.waiting_since:
            self.waiting_since = self.loop.time()
        cast(dict[str, Any], self.scope)["extensions"] = {"taximeter.connection": self}

    def on_headers_complete(self) -> None:
        self.head_complete = True
        super().on_headers_complete()
        cast(dict[str, Any], self.scope)["extensions"]["taximeter.cycle"] = self.cycle  # the task has not begun yet

    def on_message_complete(self) -> None:
        self.waiting_since = 0.0
        self.head_complete = False
        super().on_message_complete()

    def drop(self) -> None:
        """Close without a proper end: the client must not take what it got for the whole."""
        self.transport.abort()

    def overdue(self, now: float) -> bool:
        """Whether the client takes too long to send its request."""
        if not self.waiting_since or self.flow.read_paused:
            return False
        limit = self.body_timeout_s if self.head_complete else self.header_timeout_s
        return now - self.waiting_since > limit


def connection_class(*, max_connections: int, header_timeout_s: float, body_timeout_s: float) -> type[Connection]:
    """`Connection` with a configuration's limits."""
    limits = {
        "max_connections": max_connections,
        "header_timeout_s": header_timeout_s,
        "body_timeout_s": body_timeout_s,
    }
    return type("LimitedConnection", (Connection,), limits)


def drop_overdue(connections: Iterable[Any], now: float) -> None:
    """Close the connections whose request does not get complete; called once a second."""
    for connection in [one for one in connections if isinstance(one, Connection) and one.overdue(now)]:
        connection.transport.abort()
