"""The data plane's front door: each path is sent to where it is served, refusals are turned into answers."""

from __future__ import annotations

import logging

import orjson

from proxy.budgets.store import StoreUnavailable
from proxy.dataplane import models_list
from proxy.dialects import MODELS_PATHS, family_of_client, family_of_path, find
from proxy.dialects.family import Family
from proxy.dialects.meant import meant_path, other_api
from proxy.downstream.client import Client
from proxy.downstream.cycle import Asked
from proxy.downstream.pieces import HungUp
from proxy.errors import (
    Refused,
    budget_store_unavailable,
    internal,
    method_not_allowed,
    no_page,
    not_found,
    not_metered,
    starting,
)
from proxy.exchange import run as exchange
from proxy.exchange.jobs.reads import serve as serve_job
from proxy.exchange.plane import Plane
from proxy.exchange.realtime.paths import LIVE_PATHS, REALTIME_PATHS, UNMETERED_PREFIXES
from proxy.jobs.api import Matched
from proxy.jobs.apis import find as find_job_path
from proxy.money import usd_text
from proxy.rate_limited_log import rate_limit_tracebacks
from proxy.times import now_s

log = logging.getLogger("taximeter.data")
log.addFilter(rate_limit_tracebacks)

_JSON = (b"content-type", b"application/json")


class Application:
    """What one data plane serves."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._own = {"/healthz": self._health, "/readyz": self._ready, "/v1/key": self._key}
        self._own |= dict.fromkeys(MODELS_PATHS, self._models)

    async def serve(self, cycle: Asked) -> None:
        """One request, from its head to the last of its answer."""
        plane, method = self._plane, cycle.method
        client = Client(plane.load, cycle)
        plane.calls_in_flight += 1
        try:
            try:
                endpoint = find(method, client.path, client.query) or find_job_path(
                    method, client.path, family_of_client(client.headers)
                )
                if endpoint is None:
                    await self._serve_own(method, client)
                elif not plane.ready:
                    raise starting()
                elif isinstance(endpoint, Matched):
                    await serve_job(plane, endpoint, client)
                else:
                    await exchange.run(plane, endpoint, client)
            except Refused as refused:
                plane.tally.refuse(refused.refusal.code, refused.refusal.budget, recorded=refused.recorded)
                await client.refuse(family_of_path(client.path, client.headers), refused.refusal)
            except HungUp:
                pass
            except Exception:  # the outermost boundary: a fault of ours, answered without its text
                log.exception("call %s failed", client.request_id or "before it had an id")
                await client.refuse(family_of_path(client.path, client.headers), internal(client.request_id).refusal)
        except Exception:  # `refuse` itself: the client learns of it by its connection's end
            log.exception("call %s could not be answered", client.request_id or "before it had an id")
        finally:
            plane.calls_in_flight -= 1
            client.release()

    async def _serve_own(self, method: str, client: Client) -> None:
        if client.path in REALTIME_PATHS or client.path in LIVE_PATHS:
            await self._serve_session(method, client)
            return
        if client.path.startswith(UNMETERED_PREFIXES):
            self._plane.keys.identify(client.headers, now_s())
            raise not_metered()
        serve = self._own.get(client.path)
        if serve is None and method in ("GET", "HEAD") and (model := _model_of(client.path)):
            await self._model(client, model)
            return
        if serve is None:
            if client.path == "/":
                raise no_page()
            meant = meant_path(client.path)
            raise not_found(meant, None if meant else other_api(client.path))
        if method not in ("GET", "HEAD"):
            raise method_not_allowed("GET")
        await serve(client)

    async def _serve_session(self, method: str, client: Client) -> None:
        if method != "GET":
            raise method_not_allowed("GET")
        if not self._plane.ready:
            raise starting()
        from proxy.exchange.realtime import serve  # noqa: PLC0415 - `websockets`, and most speak to nobody

        session = serve.serve_live if client.path in LIVE_PATHS else serve.serve_realtime
        await session(self._plane, client)

    async def _health(self, client: Client) -> None:
        await client.respond(200, [_JSON], b'{"status":"ok"}')

    async def _ready(self, client: Client) -> None:
        if not self._plane.ready:
            await client.respond(503, [_JSON], b'{"status":"starting or draining"}')
        elif self._plane.unrecorded_because:
            await client.respond(503, [_JSON], b'{"status":"the spool cannot be written"}')
        else:
            await client.respond(200, [_JSON], b'{"status":"ready"}')

    async def _models(self, client: Client) -> None:
        identity = self._plane.keys.identify(client.headers, now_s())
        routes = self._plane.configured.router.visible(identity)
        body = models_list.listed(routes, int(self._plane.started_at), _reader_of(client))
        await client.respond(200, [_JSON], orjson.dumps(body))

    async def _model(self, client: Client, model: str) -> None:
        """One model by its name, which a pattern may fit that no list has."""
        identity = self._plane.keys.identify(client.headers, now_s())
        route = self._plane.configured.router.route(model, identity)
        body = models_list.row(route, int(self._plane.started_at), _reader_of(client))
        await client.respond(200, [_JSON], orjson.dumps(body))

    async def _key(self, client: Client) -> None:
        """A key's own view: its name, its team, and the budgets that name its fixed attributes."""
        identity = self._plane.keys.identify(client.headers, now_s())
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


def _reader_of(client: Client) -> Family:
    """Whose SDK reads the list of models: a model's own name may look like a path of another's."""
    if client.path in MODELS_PATHS:
        return family_of_path(client.path, client.headers)
    listing = next(known for known in MODELS_PATHS if client.path.startswith(f"{known}/"))
    return family_of_path(listing, client.headers)


def _model_of(path: str) -> str:
    """Which model of the list a path is of; "" where it is of none."""
    return next((path[len(known) + 1 :] for known in MODELS_PATHS if path.startswith(f"{known}/")), "")
