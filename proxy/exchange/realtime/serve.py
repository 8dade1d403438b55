"""A client asks for a spoken session: who it is, where it goes, a first turn reserved, the provider's end opened."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qs, quote

from proxy.access.keys import credential
from proxy.budgets.refusals import exceeded
from proxy.budgets.store import StoreUnavailable
from proxy.dialects import GEMINI, OPENAI, Endpoint, Family, fields, openai
from proxy.dialects.gemini_live import GeminiLive, close_of, parse_setup
from proxy.dialects.realtime import Realtime
from proxy.dialects.spoken import Talk
from proxy.downstream.client import Client
from proxy.downstream.upgraded import Upgraded, done, upgrade
from proxy.errors import (
    Refused,
    invalid_request,
    not_found,
    request_timeout,
    upgrade_required,
    upstream_timeout,
    upstream_unreachable,
)
from proxy.exchange.attribute import attributed
from proxy.exchange.exchange import Exchange
from proxy.exchange.passed_headers import passed_headers
from proxy.exchange.plane import Plane
from proxy.exchange.realtime.paths import LIVE_PATHS
from proxy.exchange.realtime.session import Session
from proxy.exchange.realtime.slices import Slices
from proxy.times import now_s, now_us
from proxy.types import Call, Identity
from proxy.upstream.destinations import Destination
from proxy.upstream.peer import FAILED, GOING_AWAY, Peer
from proxy.upstream.response import UpstreamError
from proxy.upstream.websocket import NotOpened, Socket, open_websocket
from proxy.wire.websocket import Opening, opening_of

_MAX_MESSAGE_BYTES = 16 * 1024 * 1024  # OpenAI takes 15 MiB of sound in one message
_KEY_PROTOCOL = "openai-insecure-api-key."  # how browsers send a key: they can set no header
_PROTOCOLS = ("realtime", "openai-beta.realtime-v1")


def _no_body(body: bytes) -> Call:
    raise not_found()


def _endpoint(family: Family, operation: str, target: str) -> Endpoint:
    return Endpoint(
        family, operation, target, _no_body, openai.cap_nothing, encode=fields.encode_nothing, method=b"GET"
    )


REALTIME = _endpoint(OPENAI, "realtime", "/realtime")
TRANSCRIPTION = _endpoint(OPENAI, "realtime.transcription", "/realtime/transcriptions")

LIVE = {path: _endpoint(GEMINI, "realtime", target) for path, target in LIVE_PATHS.items()}

KeyIn = Callable[[Client, Opening], bytes | None]
"""A key that stands elsewhere than in a header."""


async def serve_realtime(plane: Plane, client: Client) -> None:
    """OpenAI's `/v1/realtime?model=…`, Azure's `deployment=…`. Raises `Refused` before the WebSocket is open; then everything
    begun is ended."""
    opening, identity = _admitted(plane, client, _key_in_protocols)
    query = parse_qs(client.query.decode("latin-1"), keep_blank_values=True)
    models = query.get("model", []) + query.get("deployment", [])
    if "call_id" in query or query.get("intent", ["conversation"]) != ["conversation"] or len(models) != 1:
        message = "Name one model: /v1/realtime?model=…; calls by id and sessions without a model are not metered here."
        raise invalid_request(message, "model")
    offered = tuple(one for one in opening.protocols if one in _PROTOCOLS)
    call = Call("openai.realtime", "realtime", models[0], {}, stream=True, size_bytes=0)
    exchange = await _exchange(plane, client, identity, REALTIME, call)
    route = exchange.configured.router.route(models[0], identity)
    talk = Realtime(route.requested, route.provider, route.model, secrets.token_urlsafe)
    slices = Slices(exchange, route, talk, TRANSCRIPTION)
    try:
        await slices.hold()
        destination = exchange.configured.destination(route, REALTIME)
        socket, far = await reach(exchange, destination, f"/realtime?model={quote(route.model, safe='')}", offered)
        slices.socket = socket
        opened = upgrade(client, opening, next(iter(offered), None), most_message_bytes(plane))
        if opened is None:
            socket.abort()
            return
        await run(exchange, talk, slices, opened, (socket, far))
    except NotOpened as answer:
        headers, body = destination.for_client(answer.status, passed_headers(answer.headers), answer.body)
        await client.respond(answer.status if answer.status >= 400 else 502, headers, body)
    finally:
        await slices.end("cut")


async def serve_live(plane: Plane, client: Client) -> None:
    """Gemini's `BidiGenerateContent`: the model stands in the first message, so that the socket is open by then."""
    opening, identity = _admitted(plane, client, _key_in_query)
    await _refuse_the_broke(plane, identity)
    opened = upgrade(client, opening, None, most_message_bytes(plane))
    if opened is None:
        return
    near = opened[1]
    try:
        await _live(plane, client, identity, opened)
    except Refused as refused:
        plane.tally.refuse(refused.refusal.code, refused.refusal.budget, recorded=refused.recorded)
        near.close(*close_of(refused.refusal))
    except NotOpened as answer:
        near.close(FAILED, f"UNAVAILABLE: the upstream answered {answer.status}")
    finally:
        near.close(GOING_AWAY)
        done(client)


async def _live(plane: Plane, client: Client, identity: Identity, opened: tuple[Upgraded, Peer]) -> None:
    try:
        async with asyncio.timeout(plane.configured.config.server.header_timeout_s):
            raw = await opened[1].first_message()
    except TimeoutError:
        raise request_timeout("first message") from None
    if raw is None:
        return
    setup = parse_setup(raw)
    if setup.handle:
        plane.stored_owners.check_session(identity, setup.handle)
    endpoint = LIVE[client.path]
    exchange = await _exchange(plane, client, identity, endpoint, setup.call._replace(model=setup.model))
    route = exchange.configured.router.route(setup.model, identity)
    talk = GeminiLive(setup, route.provider, route.model)
    slices = Slices(exchange, route, talk, None)
    try:
        await slices.hold()
        socket, far = await reach(exchange, exchange.configured.destination(route, endpoint), endpoint.target, ())
        slices.socket = socket
        far.send_text(setup.written(raw, route.model))
        await run(exchange, talk, slices, opened, (socket, far))
    finally:
        await slices.end("cut")


async def _refuse_the_broke(plane: Plane, identity: Identity) -> None:
    """Raises `Refused` where a budget that counts every call of the key has nothing left: nothing is opened then."""
    fixed = {"key": identity.key, "team": identity.team, "user": identity.user, "customer": identity.customer}
    fixed |= {f"label.{name}": value for name, value in identity.labels.items()}
    hard = {budget.name for budget in plane.configured.budgets.budgets if budget.hard}
    try:
        standings = await plane.standings_of(fixed)
    except StoreUnavailable:
        return  # the first turn's reservation says more
    for standing in standings:
        if standing.budget in hard and standing.spent >= standing.limit:
            status = plane.configured.config.server.budget_status
            raise Refused(exceeded(standing, 0, now_s(), client="other", status=status))


async def run(
    exchange: Exchange, talk: Talk, slices: Slices, near: tuple[Upgraded, Peer], far: tuple[Socket, Peer]
) -> None:
    """The session, until it is over."""
    plane, client = exchange.plane, exchange.client
    idle_s = exchange.configured.config.server.realtime_idle_s
    session = Session(plane, client, exchange.identity, talk, slices, (near[1], far[1]), idle_s)
    near[0].on_full, far[0].on_full = session.down.set_full, session.up.set_full
    try:
        await session.run()
    finally:
        done(client)


def most_message_bytes(plane: Plane) -> int:
    return min(plane.load.max_body_bytes, _MAX_MESSAGE_BYTES)


async def reach(
    exchange: Exchange, destination: Destination, target: str, protocols: Sequence[str]
) -> tuple[Socket, Peer]:
    """The provider's end. Raises `NotOpened`, `Refused` where it cannot be reached."""
    try:
        return await open_websocket(
            exchange.configured.upstreams,
            destination,
            target,
            protocols=protocols,
            client_headers=exchange.client.headers,
            attempt_id=exchange.request_id,
            max_message_bytes=_MAX_MESSAGE_BYTES,
            holder=exchange.identity.key_id,
        )
    except UpstreamError as error:
        raise (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.") from None


def _admitted(plane: Plane, client: Client, key_in: KeyIn) -> tuple[Opening, Identity]:
    opening = opening_of(client.headers)
    if opening is None:
        raise upgrade_required()
    headers: Mapping[bytes, bytes] = client.headers
    if credential(headers) is None and (key := key_in(client, opening)):
        headers = {b"authorization": b"Bearer " + key}
    identity = plane.keys.identify(headers, now_s())
    client.admit(identity.key_id)
    return opening, identity


def _key_in_protocols(client: Client, opening: Opening) -> bytes | None:
    key = next((one for one in opening.protocols if one.startswith(_KEY_PROTOCOL)), None)
    return None if key is None else key.removeprefix(_KEY_PROTOCOL).encode("latin-1")


def _key_in_query(client: Client, opening: Opening) -> bytes | None:
    keys = parse_qs(client.query.decode("latin-1")).get("key", [])
    return keys[0].encode("latin-1", "replace") if len(keys) == 1 else None


async def _exchange(plane: Plane, client: Client, identity: Identity, endpoint: Endpoint, call: Call) -> Exchange:
    """The session as an exchange, of which each turn's is made. What names no session is one by itself."""
    configured = plane.configured
    client.request_id = plane.ids.new(now_us())
    attribution, _ = await attributed(plane, configured, client, call, identity)
    if attribution.session_source == "none":
        attribution = attribution._replace(session_source="realtime")
    client.session_id = attribution.session_id
    return Exchange(plane, configured, endpoint, client, identity, call, client.request_id, attribution, None)
