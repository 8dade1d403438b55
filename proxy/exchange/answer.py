"""The way back: the upstream's response to the client, its usage read on the way, and the attempt settled with it.

Whatever happens here (the client leaves, the upstream breaks off, we are shut down), the attempt is settled once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pricing.cost import Cost, CostLine
from pricing.usage import Reading
from proxy.dialects import Endpoint
from proxy.downstream.client import Client, Header, stream_cost_wish
from proxy.errors import Refusal, upstream_timeout, upstream_unreachable
from proxy.exchange.attempt import Attempt, Settlement
from proxy.exchange.drain import Drain
from proxy.exchange.estimated import counted, implausible, priced_part
from proxy.exchange.gate import StreamGate, doubtful, passed_headers
from proxy.exchange.keepalive import KeepAlive
from proxy.exchange.learn import note_bill, note_conversation, note_stored
from proxy.exchange.measured import measured
from proxy.exchange.plane import Destination, Plane
from proxy.exchange.retry import RETRIED, Failure
from proxy.meters.failures import is_failure
from proxy.meters.reader import Context, Reader
from proxy.money import usd_text
from proxy.times import now_s, now_us
from proxy.upstream.inflated import plain
from proxy.upstream.pool import Response, UpstreamError
from proxy.wire import lenient

_HELD_BYTES = 8 * 1024 * 1024  # a unary body up to this size waits until it is metered
_METERED_BYTES = 64 * 1024 * 1024  # a unary body beyond this passes, but its usage is not read
_ENDED_EARLY = "The upstream's stream ended before its last event."
_GENERATING = frozenset({"chat", "completions", "responses", "messages", "generate"})


async def answer(
    plane: Plane,
    attempt: Attempt,
    response: Response,
    endpoint: Endpoint,
    destination: Destination,
    client: Client,
    *,
    hold: bool = False,
) -> Failure | None:
    """Relay `response` and settle. Raises `Refused` where the client got nothing yet and has to be told.

    hold: an error that another attempt may mend does not go to the client; it is settled and returned.
    """
    exchange = _Answer(plane, attempt, response, endpoint, destination, client, hold=hold)
    try:
        return await exchange.relay()
    except UpstreamError as error:
        await exchange.broken_off(error)
        return None
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
        *,
        hold: bool,
    ) -> None:
        self.plane = plane
        self.hold = hold and response.status in RETRIED
        self.attempt = attempt
        self.response = response
        self.body = plain(response)
        self.endpoint = endpoint
        self.destination = destination
        self.client = client
        route = attempt.route
        self.reader: Reader = plane.reader(attempt.call.dialect, route.provider, endpoint.target)
        self.context = Context(
            provider=route.provider,
            endpoint=endpoint.target,
            model=route.model,
            request=attempt.call.body,
            from_client=True,
            selector={"base_url": destination.base_url},
        )
        self.gate: StreamGate | None = None
        self.ended = 0.0
        self.first_at = 0.0
        self.last_at = 0.0
        self.pieces = 0
        self.chunks: list[bytes] = []  # of a whole answer, as far as it came

    async def relay(self) -> Failure | None:
        """The whole way back. A stream is known by its type, or, where a server calls it something else, by its look."""
        kind = self.response.header(b"content-type") or b""
        called_stream = kind.startswith(b"text/event-stream")
        streams = self.attempt.call.stream and self.response.status == 200
        if streams and called_stream and self.plane.config.server.keepalive_comment_s:
            await self.stream(None)
            return None
        first = await self.body.read()
        if streams and called_stream and not first:
            raise UpstreamError("protocol", "the upstream's stream was empty", sent=True)
        if streams and not lenient.looks_like_json(first) and (called_stream or lenient.looks_like_events(first)):
            await self.stream(first)
            return None
        return await self.unary(first)

    # Whole answers

    async def unary(self, first: bytes) -> Failure | None:
        response, client, chunks = self.response, self.client, self.chunks
        size = 0
        data = first
        while data:
            size += len(data)
            if size <= _METERED_BYTES:
                chunks.append(data)
            if client.started:
                await client.write(data)
            elif size > _HELD_BYTES and response.status >= 400:
                response.abort()  # no error is that long, and none goes out before it was looked through
                break
            elif size > _HELD_BYTES:
                await client.start(response.status, passed_headers(response.headers))
                await client.write(b"".join(chunks))
            data = await self.body.read()
        self.ended = time.perf_counter()
        body = b"".join(chunks) if len(chunks) != 1 else chunks[0]
        cost = await self._settle_unary(body if size <= _METERED_BYTES else b"")
        if client.started:
            await client.end()
            return None
        headers, body = self.destination.told(response.status, passed_headers(response.headers), body)
        if self.hold:
            return Failure(response.status, tuple(headers), body)
        if cost is not None:
            headers += self._cost_headers(cost)
        await client.respond(response.status, headers, body)
        return None

    async def _settle_unary(self, body: bytes) -> Cost | None:
        answer = lenient.answer(body)
        values = answer.values
        # A body that is no JSON (speech, a transcript) may say enough by being there: the request tells the rest.
        reading = self.reader.answer(answer, self.context)
        refused = self.response.status >= 300
        failed = refused or any(isinstance(value, dict) and is_failure(value) for value in values)
        if self.response.status == 200 and reading.source != "none" and self.endpoint.holds(self.attempt.call):
            note_stored(self.plane, self.attempt, values)
        outcome = "upstream_error" if failed else "client_disconnected" if self.client.gone else "ok"
        if refused and (not values or not reading.usage):
            reading = Reading(source="provider", model=reading.model)  # providers do not bill what they refuse
        else:
            if not failed:
                call = self.attempt.call
                reading = await measured(reading, body, call, self.reader, self.context, answer, self._price)
            if self._is_doubtful(reading, [body]):
                reading = await self._counted(reading, values)
        if reading.source == "none":
            await self.settle_unknown(outcome if failed else "usage_missing")
            return None
        if not failed:
            note_conversation(self.plane, self.attempt, reading, lambda: values)
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

    async def stream(self, first: bytes | None) -> None:
        """first: what has been read of it already; None where the client's stream begins before the upstream's does."""
        response, client = self.response, self.client
        drain = self.drain = Drain(self.plane.load.drains, self.attempt.identity.key_id, response)
        bills_on = self.destination.bills_after_disconnect
        wish = stream_cost_wish(client.headers)
        gate = self.gate = StreamGate(
            self.reader,
            self.context,
            strip_usage=not self.attempt.call.wants_usage and wish != "usage",
            strip_each=self.attempt.call.usage_each and wish != "usage",
            before_done=self._cost_comment if wish == "comment" else None,
            on_usage=self._with_cost if wish == "usage" else None,
            form=self.endpoint.form,
        )
        extra = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await client.start(response.status, passed_headers(response.headers) + extra)
        alive = KeepAlive(self.plane.config.server.keepalive_comment_s, gate, client) if first is None else None
        client.when_gone(drain.begin if bills_on else response.hang_up)  # the latter stops, and stops billing, at this
        try:
            await self._pass_stream(gate, first if first is not None else await self.body.read())
        finally:
            client.when_gone(None)
            drain.end()
            if alive is not None:
                alive.stop()
        held = gate.finish(self.endpoint.family.stream_end(upstream_unreachable(_ENDED_EARLY).refusal))
        if self.endpoint.holds(self.attempt.call):
            last = gate.last_usage
            note_stored(self.plane, self.attempt, (last,) if "response" in last else (*gate.events_seen(), last))
        await self._settle_stream()
        await client.end(held)

    async def _pass_stream(self, gate: StreamGate, data: bytes) -> None:
        client, clock = self.client, time.perf_counter
        while data:
            self.last_at = clock()
            self.pieces += 1
            if self.pieces == 1:
                self.first_at = self.last_at
            out = gate.feed(data)
            if client.gone:
                self.drain.took(len(data))
            elif out:
                await client.write(out)
            data = await self.body.read()
        self.ended = clock()

    async def _settle_stream(self) -> None:
        gate = self.gate
        assert gate is not None
        reading = gate.final_reading()
        outcome = "client_disconnected" if self.client.gone else "upstream_error" if gate.upstream_error else "ok"
        if self._is_doubtful(reading, gate.kept) or not gate.told_so_far:
            reading = await self._counted(reading, gate.events_seen())
        if not gate.upstream_error and gate.share_seen == 1.0:
            note_conversation(self.plane, self.attempt, reading, gate.events_seen)
        await self._settle(reading, outcome)

    def _is_doubtful(self, reading: Reading, pieces: Sequence[bytes]) -> bool:
        if reading.source == "none":
            return True
        return self.endpoint.operation in _GENERATING and doubtful(reading, pieces)

    async def _counted(self, told: Reading, events: list[Any]) -> Reading:
        """No usage came, or one that cannot be true or is not all: what was seen is counted."""
        attempt, gate = self.attempt, self.gate
        stopped = gate is not None and self.client.gone and not self.destination.bills_after_disconnect
        return await counted(
            told,
            events,
            attempt.route.model,
            attempt.call.body,
            share=gate.share_seen if gate is not None else 1.0,
            all_seen=stopped or (self.endpoint.operation == "embeddings" and bool(events)),
        )

    def _cost_comment(self) -> bytes:
        cost = self._cost_so_far()
        if cost is None or cost.cost_nanousd is None:
            return b": taximeter cost_usd=unknown\n\n"
        session = self._session_total(cost.cost_nanousd)
        return f": taximeter cost_usd={usd_text(cost.cost_nanousd)} session_cost_usd={usd_text(session)}\n\n".encode()

    def _with_cost(self, event: dict[str, Any], block: bytes) -> bytes:
        cost = self._cost_so_far()
        if cost is None or cost.cost_usd is None:
            return block
        usage = self.endpoint.form.usage_of(event)
        if usage is None:
            return block
        usage["cost"] = float(cost.cost_usd)
        name = block[: block.find(b"\n") + 1] if block.startswith(b"event:") else b""
        return name + b"data: " + lenient.dumps(event) + b"\n\n"

    def _cost_so_far(self) -> Cost | None:
        """What the stream's own usage comes to; None where that will not be what is charged."""
        assert self.gate is not None
        reading = self.gate.reading()
        cost = None if self._is_doubtful(reading, self.gate.kept) else self._price(reading)
        return None if cost is None or implausible(self.plane, self.attempt, reading, cost) else cost

    # How it ends

    async def broken_off(self, error: UpstreamError) -> None:
        """The upstream failed in the middle (or we closed it, because its client left)."""
        gate, left = self.gate, self.client.gone
        outcome = "client_disconnected" if left else "upstream_timeout" if error.timed_out else "upstream_error"
        whole = gate is not None and gate.complete  # only the end of its connection was not as it should be
        await self._settle_broken("ok" if whole and not left else outcome, whole=whole)
        if left:
            return
        if whole and gate is not None:
            await self.client.end(gate.finish(b""))
            return
        refused = (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.")
        if not self.client.started:
            raise refused
        await self._end_broken(refused.refusal)

    async def _settle_broken(self, outcome: str, *, whole: bool) -> None:
        gate, stops = self.gate, not self.destination.bills_after_disconnect
        if gate is None:
            answer = lenient.answer(b"".join(self.chunks))
            reading = self.reader.answer(answer, self.context)
            if reading.source == "provider" and reading.usage:
                await self._settle(reading, outcome)
            elif stops and answer.values:
                await self._settle(await self._counted(reading, answer.values), outcome)
            else:
                await self.settle_unknown(outcome)
        elif gate.told_final or whole or stops:
            reading = gate.final_reading()
            if self._is_doubtful(reading, gate.kept) or not gate.told_so_far:
                reading = await self._counted(reading, gate.events_seen())
            await self._settle(reading, outcome)
        else:
            await self.settle_unknown(outcome)

    async def _end_broken(self, refusal: Refusal) -> None:
        if self.gate is None:
            await self.client.drop()
        else:
            await self.client.end(self.gate.close(self.endpoint.family.stream_end(refusal)))

    def _price(self, reading: Reading) -> Cost:
        attempt = self.attempt
        return self.plane.book.cost(
            reading,
            provider=attempt.route.provider,
            model=attempt.route.model,
            at_s=int(now_s()),
            endpoint=self.endpoint.target,
            attributes=attempt.attributes,
        )

    def _session_total(self, add_nanousd: int) -> int:
        attribution = self.attempt.attribution
        return self.plane.sessions.total(self.attempt.identity.team, attribution.root_session_id) + add_nanousd

    async def _settle(self, reading: Reading, outcome: str) -> Cost | None:
        """Charge what was used; None where that cannot be said, and the ceiling was charged."""
        cost = priced_part(self._price(reading)) if reading.source != "none" else None
        if cost is None:
            await self.settle_unknown(outcome)
        elif implausible(self.plane, self.attempt, reading, cost):
            # More than there can be: the ceiling is charged until somebody knows better; what was said is kept.
            flags = tuple(dict.fromkeys((*reading.flags, "implausible")))
            await self._close(replace(reading, flags=flags), None, outcome)
            cost = None
        elif cost.status != "priced" and (cost.cost_nanousd or 0) < (self.attempt.reserved_nanousd or 0):
            # It was reserved as money, and comes back in units that have no price: it was not free for all that.
            await self._close(replace(reading, flags=cost.flags), None, outcome, cost.lines)
            cost = None
        else:
            await self._close(reading, cost, outcome)
            note_bill(self.plane, self.attempt, reading, cost)
            if cost.cost_nanousd:
                session = self.attempt.attribution.root_session_id
                await self.plane.add_to_session(self.attempt.identity.team, session, cost.cost_nanousd)
        return cost

    async def settle_unknown(self, outcome: str) -> None:
        """Charge the ceiling: it may have been billed, and nothing says how much."""
        await self._close(Reading(), None, outcome)

    async def _close(self, reading: Reading, cost: Cost | None, outcome: str, lines: Sequence[CostLine] = ()) -> None:
        now = time.perf_counter()
        attempt, client = self.attempt, self.client
        ended = self.ended or now
        upstream_id = self.response.header(b"x-request-id") or self.response.header(b"request-id")
        settlement = Settlement(
            outcome=outcome,
            http_status=self.response.status,
            reading=reading,
            cost=cost,
            lines=lines,
            ended_at=now_us(),
            duration_ms=(now - client.began) * 1000,
            overhead_ms=(attempt.dispatched - client.began + now - ended) * 1000,
            ttft_ms=(self.first_at - client.began) * 1000 if self.first_at else None,
            itl_ms_sum=(self.last_at - self.first_at) * 1000 if self.pieces > 1 else None,
            itl_count=max(0, self.pieces - 1),
            upstream_request_id=upstream_id.decode("latin-1")[:200] if upstream_id else None,
        )
        await attempt.settle(self.plane.spool, self.plane.store, settlement)
