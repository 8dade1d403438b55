"""The way back: the upstream's response to the client, its usage read on the way, and the attempt settled with it.

Whatever happens here (the client leaves, the upstream breaks off, we are shut down), the attempt is settled once.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import orjson

from pricing.cost import Cost
from pricing.usage import Reading
from proxy.attempt import Attempt, Settlement, now_us
from proxy.client import Client, Header, stream_cost_wish
from proxy.dialects import Endpoint
from proxy.errors import Refusal, upstream_timeout, upstream_unreachable
from proxy.held import Holder, ids_of
from proxy.meters.reader import Context, Reader
from proxy.money import usd_text
from proxy.plane import Destination, Plane
from proxy.relay import StreamGate, passed_headers, read_unary
from proxy.upstream import Response, UpstreamError

_HELD_BYTES = 8 * 1024 * 1024  # a unary body up to this size waits until it is metered
_METERED_BYTES = 64 * 1024 * 1024  # a unary body beyond this passes, but its usage is not read
_MOST_NANOUSD = 10**15  # a million dollars for one call
_DRAIN_S = 120.0  # how long an upstream is read to its usage after its client left


async def answer(
    plane: Plane, attempt: Attempt, response: Response, endpoint: Endpoint, destination: Destination, client: Client
) -> None:
    """Relay `response` and settle. Raises `Refused` where the client got nothing yet and has to be told."""
    kind = response.header(b"content-type") or b""
    streams = attempt.call.stream and response.status == 200 and kind.startswith(b"text/event-stream")
    exchange = _Answer(plane, attempt, response, endpoint, destination, client)
    if streams and not destination.bills_after_disconnect:
        client.when_gone(response.abort)  # this upstream stops, and stops billing, when its caller hangs up
    try:
        await (exchange.stream() if streams else exchange.unary())
    except UpstreamError as error:
        await exchange.broken_off(error)
    except BaseException:
        response.abort()
        await exchange.settle_unknown("cut")
        raise


class _Answer:
    """One response on its way: what the steps of unary and streamed answers share."""

    def __init__(
        self,
        plane: Plane,
        attempt: Attempt,
        response: Response,
        endpoint: Endpoint,
        destination: Destination,
        client: Client,
    ) -> None:
        self.plane = plane
        self.attempt = attempt
        self.response = response
        self.endpoint = endpoint
        self.destination = destination
        self.client = client
        route = attempt.route
        self.reader: Reader = plane.reader(attempt.call.dialect, route.provider, endpoint.target)
        tier = attempt.call.body.get("service_tier")
        self.context = Context(
            provider=route.provider,
            endpoint=endpoint.target,
            model=route.model,
            request=attempt.call.body,
            service_tier=tier if isinstance(tier, str) else None,
        )
        self.gate: StreamGate | None = None
        self.ended = 0.0
        self.first_at = 0.0
        self.last_at = 0.0
        self.pieces = 0

    # Whole answers

    async def unary(self) -> None:
        response, client = self.response, self.client
        chunks: list[bytes] = []
        size = 0
        while data := await response.read():
            size += len(data)
            if size <= _METERED_BYTES:
                chunks.append(data)
            if client.started:
                await client.write(data)
            elif size > _HELD_BYTES:
                await client.start(response.status, passed_headers(response.headers))
                await client.write(b"".join(chunks))
        self.ended = time.perf_counter()
        body = b"".join(chunks) if len(chunks) != 1 else chunks[0]
        cost = await self._settle_unary(body if size <= _METERED_BYTES else b"")
        if client.started:
            await client.end()
            return
        headers = passed_headers(response.headers)
        if cost is not None:
            headers += self._cost_headers(cost)
        await client.respond(response.status, headers, body)

    async def _settle_unary(self, body: bytes) -> Cost | None:
        outcome = "ok" if self.response.status < 400 else "upstream_error"
        reading = read_unary(self.reader, self.context, body, self.response.status)
        if self.endpoint.holds and self.response.status == 200:
            self._note_held(orjson.loads(body) if reading.source != "none" else None)
        if self.response.status >= 400 and not reading.usage:
            reading = Reading(source="provider", model=reading.model)  # providers do not bill what they refuse
        elif reading.source == "none":
            await self.settle_unknown("usage_missing")
            return None
        if self.client.gone:
            outcome = "client_disconnected"
        return await self._settle(reading, outcome)

    def _cost_headers(self, cost: Cost) -> list[Header]:
        if cost.cost_nanousd is None:
            return []
        session = self._session_total(0)
        headers = [
            (b"x-taximeter-cost-usd", usd_text(cost.cost_nanousd).encode()),
            (b"x-taximeter-session-cost-usd", usd_text(session).encode()),
        ]
        remaining = [self.plane.store.remaining(claim) for _, claim in self.attempt.claims if claim.measure == "usd"]
        if remaining:
            headers.append((b"x-taximeter-budget-remaining-usd", usd_text(min(remaining)).encode()))
        return headers

    # Streams

    async def stream(self) -> None:
        response, client = self.response, self.client
        wish = stream_cost_wish(client.headers)
        gate = self.gate = StreamGate(
            self.reader,
            self.context,
            strip_usage=not self.attempt.call.wants_usage and wish != "usage",
            before_done=self._cost_comment if wish == "comment" else None,
            on_usage=self._with_cost if wish == "usage" else None,
            form=self.endpoint.form,
        )
        extra = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await client.start(response.status, passed_headers(response.headers) + extra)
        clock = time.perf_counter
        while data := await response.read():
            self.last_at = clock()
            self.pieces += 1
            if self.pieces == 1:
                self.first_at = self.last_at
            out = gate.feed(data)
            if client.gone:
                self._drain()
            elif out:
                await client.write(out)
        self.ended = clock()
        held = gate.finish()
        if self.endpoint.holds:
            self._note_held(gate.last_usage.get("response"))
        await self._settle_stream()
        await client.end(held)

    def _note_held(self, response: object) -> None:
        """Remember whose this stored response is."""
        route = self.attempt.route
        self.plane.held.note(self.attempt.identity, ids_of(response), Holder(route.upstream, route.requested))

    def _drain(self) -> None:
        """The client has left and its upstream bills on: read to the usage, but not for ever."""
        now = time.perf_counter()
        if not self.ended:
            self.ended = now
        elif now - self.ended > _DRAIN_S:
            self.response.abort()

    async def _settle_stream(self) -> None:
        gate = self.gate
        assert gate is not None
        reading = gate.reading()
        outcome = "client_disconnected" if self.client.gone else "upstream_error" if gate.upstream_error else "ok"
        if reading.source == "none":
            reading = self._estimated(gate)
        await self._settle(reading, outcome)

    def _estimated(self, gate: StreamGate) -> Reading:
        """No usage came: count what was seen. Servers send a token or a few with each event, one event without any."""
        usage = {
            "input": max(1, self.attempt.call.size_bytes // 4),
            "output": max(gate.events - 1, gate.bytes_seen // 400),
        }
        return Reading(usage=usage, source="estimated", flags=("estimated",))

    def _cost_comment(self) -> bytes:
        cost = self._price(self._gate_reading())
        if cost.cost_nanousd is None:
            return b": taximeter cost_usd=unknown\n\n"
        session = self._session_total(cost.cost_nanousd)
        line = f": taximeter cost_usd={usd_text(cost.cost_nanousd)} session_cost_usd={usd_text(session)}\n\n"
        return line.encode()

    def _with_cost(self, event: dict[str, Any], block: bytes) -> bytes:
        cost = self._price(self._gate_reading())
        if cost.cost_usd is None:
            return block
        usage = self.endpoint.form.usage_of(event)
        if usage is None:
            return block
        usage["cost"] = float(cost.cost_usd)
        name = block[: block.find(b"\n") + 1] if block.startswith(b"event:") else b""
        return name + b"data: " + orjson.dumps(event) + b"\n\n"

    def _gate_reading(self) -> Reading:
        assert self.gate is not None
        return self.gate.reading()

    # How it ends

    async def broken_off(self, error: UpstreamError) -> None:
        """The upstream failed in the middle (or we closed it, because its client left)."""
        reading = self.gate.reading() if self.gate is not None else Reading()
        left = self.client.gone
        outcome = "client_disconnected" if left else "upstream_timeout" if error.timed_out else "upstream_error"
        if reading.source != "none":
            await self._settle(reading, outcome)
        elif self.gate is not None and not self.destination.bills_after_disconnect:
            await self._settle(self._estimated(self.gate), outcome)
        else:
            await self.settle_unknown(outcome)
        if left:
            return
        refused = (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.")
        if not self.client.started:
            raise refused
        await self._end_broken(refused.refusal)

    async def _end_broken(self, refusal: Refusal) -> None:
        if self.gate is None:
            await self.client.drop()
        else:
            await self.client.end(self.gate.close() + self.endpoint.family.stream_end(refusal))

    def _price(self, reading: Reading) -> Cost:
        attempt = self.attempt
        return self.plane.book.cost(
            reading,
            provider=attempt.route.provider,
            model=attempt.route.model,
            at_s=int(time.time()),
            endpoint=self.endpoint.target,
            attributes=attempt.attributes,
        )

    def _session_total(self, add_nanousd: int) -> int:
        attribution = self.attempt.attribution
        return self.plane.sessions.total(self.attempt.identity.team, attribution.root_session_id) + add_nanousd

    async def _settle(self, reading: Reading, outcome: str) -> Cost:
        cost = self._price(reading)
        if "implausible" in reading.flags or (cost.cost_nanousd or 0) > _MOST_NANOUSD:
            # More than there can be: the ceiling is charged until somebody knows better; what was said is kept.
            await self._close(replace(reading, flags=(*reading.flags, "implausible")), None, outcome)
            return cost
        if cost.cost_nanousd is None and self.attempt.reserved_nanousd:
            # It was reserved as money, and comes back in units that have no price: it was not free for all that.
            await self._close(reading, None, outcome)
            return cost
        await self._close(reading, cost, outcome)
        if cost.cost_nanousd:
            self.plane.sessions.add(
                self.attempt.identity.team, self.attempt.attribution.root_session_id, cost.cost_nanousd
            )
        return cost

    async def settle_unknown(self, outcome: str) -> None:
        """Charge the ceiling: it may have been billed, and nothing says how much."""
        await self._close(Reading(), None, outcome)

    async def _close(self, reading: Reading, cost: Cost | None, outcome: str) -> None:
        now = time.perf_counter()
        attempt, client = self.attempt, self.client
        ended = self.ended or now
        upstream_id = self.response.header(b"x-request-id") or self.response.header(b"request-id")
        settlement = Settlement(
            outcome=outcome,
            http_status=self.response.status,
            reading=reading,
            cost=cost,
            ended_at=now_us(),
            duration_ms=(now - client.began) * 1000,
            overhead_ms=(attempt.dispatched - client.began + now - ended) * 1000,
            ttft_ms=(self.first_at - client.began) * 1000 if self.first_at else None,
            itl_ms_sum=(self.last_at - self.first_at) * 1000 if self.pieces > 1 else None,
            itl_count=max(0, self.pieces - 1),
            upstream_request_id=upstream_id.decode("latin-1")[:200] if upstream_id else None,
        )
        await attempt.settle(self.plane.spool, self.plane.store, settlement)
