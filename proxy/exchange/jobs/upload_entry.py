"""The entry of an upload: it is free, and says whose the file is and what a batch of it may cost at most."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pricing.usage import Reading
from proxy.access.stored_owners import Holder, digest
from proxy.ceilings.call_price import CallPrice
from proxy.ceilings.ceiling import Ceiling
from proxy.dialects import OPENAI, Endpoint, fields, openai
from proxy.dialects.outgoing import Outgoing
from proxy.downstream.client import Client
from proxy.exchange.attempt import Attempt
from proxy.exchange.attribute import attributed
from proxy.exchange.configured import Configured
from proxy.exchange.exchange import Exchange
from proxy.exchange.plan import Plan, attributes_of
from proxy.exchange.plane import Plane
from proxy.exchange.settlement import Settlement, Timings, charge, unconfirmed
from proxy.times import now_us
from proxy.types import Call, Identity, Route
from proxy.upstream.destinations import Destination
from proxy.upstream.response import Response, UpstreamError

_MAX_ANSWER_BYTES = 1024 * 1024
_CALL = Call(dialect="openai.count_tokens", operation="files", model="", body={}, stream=False, size_bytes=0, free=True)
_FILES = Endpoint(OPENAI, "files", "/files", lambda raw: _CALL, openai.cap_nothing, encode=fields.encode_nothing)


class UploadEntry:
    """Of one upload, from `begin` to one of its ends."""

    def __init__(self, plane: Plane, configured: Configured, identity: Identity, client: Client) -> None:
        self._plane = plane
        self._configured = configured
        self._identity = identity
        self._client = client
        self._attempt: Attempt | None = None

    async def begin(self, route: Route, destination: Destination) -> Attempt:
        plane, configured = self._plane, self._configured
        attribution, _ = await attributed(plane, configured, self._client, _CALL, self._identity)
        self._client.session_id = attribution.session_id
        exchange = Exchange(
            plane, configured, _FILES, self._client, self._identity, _CALL, self._client.request_id, attribution, None
        )
        started_at = now_us()
        attributes = attributes_of(self._identity, route, attribution)
        price = CallPrice(
            configured.book,
            route.provider,
            route.model,
            started_at // 10**6,
            started_at // 10**6,
            attributes,
            free=True,
        )
        plan = Plan(
            id=plane.ids.new(started_at), call=_CALL, number=1, requests=1, started_at=started_at,
            deadline_at=started_at + configured.config.server.max_call_s * 1_000_000, route=route,
            known_provider=route.provider, destination=destination, attributes=attributes,
            outgoing=Outgoing(b""), changes={}, usage_each=False, body_bytes=0,
            bound=Ceiling(0, 0, 1, fees={}), price=price, may_be_ordinary=False, ceiling_nanousd=0, budgets=(), claims=(),
        )  # fmt: skip
        self._attempt = attempt = Attempt.of(exchange, plan)
        attempt.intend()
        return attempt

    async def settle(self, status: int, file_id: str | None, facts: Mapping[str, Any] | None) -> None:
        """It was answered. facts: what a batch of the file may cost."""
        assert self._attempt is not None
        stored = self._note(self._attempt, file_id, facts) if file_id is not None else ()
        reading = Reading(source="provider")
        cost = charge(self._configured.book, self._attempt.route, "/files", self._attempt.plan.attributes, reading)
        await self._attempt.settle(
            Settlement(
                "ok" if status < 400 else "upstream_error", status, reading, cost, now_us(), self._timings(),
                stored=stored, stored_facts=facts,
            )
        )  # fmt: skip

    async def failed(self, error: UpstreamError) -> None:
        assert self._attempt is not None
        outcome = "upstream_timeout" if error.timed_out else "upstream_unreachable"
        if error.sent:
            await self._attempt.settle(unconfirmed(outcome, None, self._timings()))
        else:
            await self._attempt.void(outcome)

    async def cut(self) -> None:
        """Its end, where it has had none."""
        if self._attempt is not None and not self._attempt.closed:
            await self._attempt.settle(unconfirmed("cut", None, self._timings()))

    def _note(self, attempt: Attempt, file_id: str, facts: Mapping[str, Any] | None) -> tuple[str, ...]:
        key, session = digest(self._identity, file_id), attempt.exchange.attribution.session_id
        self._plane.stored_owners.note((key,), Holder(attempt.route.upstream, attempt.route.requested, session, facts))
        return (key,)

    def _timings(self) -> Timings:
        return Timings((time.perf_counter() - self._client.began) * 1000, 0.0)


async def held(response: Response) -> bytes:
    """An answer about a file, whole; what is longer is none."""
    collected = bytearray()
    while data := await response.read():
        collected += data
        if len(collected) > _MAX_ANSWER_BYTES:
            response.abort()
            break
    return bytes(collected)
