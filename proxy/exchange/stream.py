"""Step nine for a streamed answer: every byte passes the moment it arrives, while a gate watches for usage and the end."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from pricing.cost import Cost
from pricing.usage import Reading
from proxy.downstream.client import stream_cost_wish
from proxy.downstream.flow import Flow
from proxy.errors import Refused, upstream_unreachable
from proxy.exchange.answering import Answering, fault
from proxy.exchange.attempt import Attempt
from proxy.exchange.drain import Drain
from proxy.exchange.estimated import implausible
from proxy.exchange.framed_gate import FramedGate
from proxy.exchange.gate import Fault, StreamGate
from proxy.exchange.keepalive import KeepAlive
from proxy.exchange.learn import note_conversation, note_tokens
from proxy.exchange.measured import HEARD, measured
from proxy.exchange.passed_headers import passed_headers
from proxy.exchange.references import note_stored
from proxy.exchange.settlement import Timings
from proxy.exchange.unseen import note_pace
from proxy.money import usd_text
from proxy.upstream.inflated import Inflated
from proxy.upstream.response import Response, UpstreamError
from proxy.wire import lenient

_ENDED_EARLY = "The upstream's stream ended before its last event."
_NO_CACHE = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]


class Streamed(Answering):
    """One stream of events. _flow, _write: where chunks go as they came, if the client's body has chunks."""

    _flow: Flow
    _write: Callable[[bytes], object]

    def __init__(self, attempt: Attempt, response: Response, body: Response | Inflated) -> None:
        super().__init__(attempt, response, body)
        self._cycle = self.client.cycle
        self._gate = self._framed_gate() if self.exchange.endpoint.form.framed else self._event_gate()
        self._drain = Drain(self.exchange.plane.load.drains, self.exchange.identity.key_id, response)
        self._took = self._gate.watch.kept.took
        self._first_at = 0.0
        self._others = 0  # pieces that `_took` did not take
        self._behind = b""  # what waits for a client that reads slowly
        self._left = False  # the client has, before it had its answer
        self._is_noted = False

    def _framed_gate(self) -> FramedGate:
        destination = self.attempt.plan.destination
        return FramedGate(
            self.reader,
            self.context,
            form=self.exchange.endpoint.form,
            secrets=destination.shortest_secrets,
            redact=destination.redacted,
        )

    def _event_gate(self) -> StreamGate:
        attempt, call, wish = self.attempt, self.attempt.call, stream_cost_wish(self.client.headers)
        return StreamGate(
            self.reader,
            self.context,
            strip_usage=not call.wants_usage and wish != "usage",
            strip_each=attempt.plan.usage_each and wish != "usage",
            before_done=self._cost_comment if wish == "comment" else None,
            on_usage=self._with_cost if wish == "usage" else None,
            form=self.exchange.endpoint.form,
            sequences=call.sequences,
            secrets=attempt.plan.destination.shortest_secrets,
            redact=attempt.plan.destination.redacted,
        )

    async def relay(self, first: bytes | None) -> None:
        """first: what has been read of it already; None where the client's stream begins before the upstream's does."""
        response, client, gate, drain = self.response, self.client, self._gate, self._drain
        await client.start(response.status, passed_headers(response.headers) + _NO_CACHE)
        every_s = self.exchange.configured.config.server.keepalive_comment_s
        alive = KeepAlive(every_s, gate, client) if first is None else None
        client.when_gone(self._on_gone)
        try:
            await self._pass_on(first if first is not None else await self.body.read())
        finally:
            client.when_gone(None)
            drain.end()
            if alive is not None:
                alive.stop()
        rest = gate.finish(lambda: self._broken_end(upstream_unreachable(_ENDED_EARLY)))
        self._note_stored()
        await self._settle_whole()
        await client.end(rest)

    def _on_gone(self) -> None:
        """The client leaves. Many do with the last event: then they have all, and the upstream is about to end by itself."""
        self._left = not self._gate.had_last_event or bool(self._behind)
        if self._left and self.stops_when_left:
            self.response.hang_up()
        else:
            self._drain.begin()

    async def _pass_on(self, data: bytes) -> None:
        body = self.body
        self._first_at = perf_counter() if data else 0.0
        straight = self._cycle.straight()
        if straight is not None:
            self._flow, self._write = straight
        sink = self._passed_unframed if straight is None else self._passed_now
        while data:
            if not self._passed_now(data):
                await self._write_behind()
            if isinstance(body, Response):
                await body.pump(sink)
                await self._write_behind()
            data = await body.read()
        self.ended = perf_counter()

    def _passed_now(self, data: bytes, framed: bytes = b"") -> bool:
        """Pass a piece on (`framed`: as one chunk, as it came); False where the client does not read: then it waits."""
        gate = self._gate
        if gate.between_events and self._took(data):
            if framed and not (self._flow.write_paused or self._cycle.disconnected):
                self._write(framed)  # what becomes of nearly every chunk
                return True
            out = data
        else:
            self._others += 1
            out = gate.feed(data)
            if gate.had_last_event:
                self._note_stored()
                self._note()
        cycle = self._cycle
        if not framed:
            self.response.last_at = perf_counter()
        if cycle.connection.gone:
            self._drain.took(len(data))
        elif out and not cycle.write(out, framed if out is data else b""):
            self._behind = out
            return False
        return True

    def _passed_unframed(self, data: bytes, _: bytes) -> bool:
        return self._passed_now(data)

    async def _write_behind(self) -> None:
        if self._behind:
            await self.client.write(self._behind)
            self._behind = b""

    async def _settle_whole(self) -> None:
        gate = self._gate
        reading = await self._final_reading()
        outcome = "client_disconnected" if self._left else "upstream_error" if gate.fault is not Fault.NONE else "ok"
        if gate.fault is Fault.NONE and gate.watch.share_seen == 1.0:
            self._note()
            note_tokens(self.attempt, reading)
            if self.stops_when_left and not self._left:
                note_pace(self.attempt, reading)
        await self.settle(reading, outcome)

    def _note_stored(self) -> None:
        """Know whose what the provider keeps is; once, as below."""
        if self.stored or not self.exchange.endpoint.holds(self.attempt.call):
            return
        watch = self._gate.watch
        answer = (watch.last,) if "response" in watch.last else (*watch.events_seen(), watch.last)
        self.stored = note_stored(self.attempt, answer)

    def _note(self) -> None:
        """Know the conversation again with its answer, once: who has the last event may go on before the stream is over."""
        gate = self._gate
        if not self._is_noted and gate.fault is Fault.NONE and gate.watch.share_seen == 1.0:
            self._is_noted = True
            note_conversation(self.attempt, gate.watch.answer_turns)

    async def _final_reading(self) -> Reading:
        """What the stream said of its usage; counted where that is not all, or cannot be true."""
        gate = self._gate
        reading = gate.final_reading()
        if not self.is_doubtful(reading, gate.watch.pieces()) and gate.watch.so_far:
            return reading
        if self.attempt.call.operation == "completions" and self.attempt.call.sequences > 1 and not gate.watch.final:
            reading = reading._replace(usage={}, source="none")  # of one of the prompts
        call = self.attempt.call
        if call.operation in HEARD and reading.source == "none" and (seen := gate.watch.events_seen()):
            heard = await measured(
                reading, b"", call, self.reader, self.context, lenient.Answer(seen, streamed=True), self.price
            )
            if heard.source != "none":
                return heard
        all_seen = self._left and self.stops_when_left
        return await self.counted(reading, gate.watch.events_seen(), share=gate.watch.share_seen, all_seen=all_seen)

    # What the client is told of the cost on the way

    def _cost_comment(self) -> bytes:
        cost = self._cost_so_far()
        if cost is None or cost.cost_nanousd is None:
            return b": taximeter cost_usd=unknown\n\n"
        session = self.session_total(cost.cost_nanousd)
        return f": taximeter cost_usd={usd_text(cost.cost_nanousd)} session_cost_usd={usd_text(session)}\n\n".encode()

    def _with_cost(self, event: dict[str, Any], block: bytes) -> bytes:
        cost = self._cost_so_far()
        if cost is None or cost.cost_usd is None:
            return block
        usage = self.exchange.endpoint.form.usage_of(event)
        if usage is None:
            return block
        usage["cost"] = float(cost.cost_usd)
        name = block[: block.find(b"\n") + 1] if block.startswith(b"event:") else b""
        return name + b"data: " + lenient.dumps(event) + b"\n\n"

    def _cost_so_far(self) -> Cost | None:
        """What the stream's own usage comes to; None where that will not be what is charged."""
        reading = self.with_fee(self._gate.watch.reading())
        cost = None if self.is_doubtful(reading, self._gate.watch.pieces()) else self.price(reading)
        return None if cost is None or implausible(self.attempt, reading, cost) else cost

    # How it ends

    async def broken_off(self, error: UpstreamError) -> None:
        """The upstream failed in the middle (or we closed it, because its client left)."""
        gate, client = self._gate, self.client
        known = gate.watch.final
        # Only the end of its connection was not as it should be: the client has its answer, and the usage if it asked for that.
        whole = gate.complete and (known or not self.attempt.call.wants_usage)
        outcome = "ok" if whole and not self._left else self.fault_outcome(error)
        if known or self.stops_when_left:
            await self.settle(await self._final_reading(), outcome)
        else:  # it may have billed more than came through
            await self.settle_unknown(outcome)
        if client.gone:
            return
        if whole:
            await client.end(gate.finish(bytes))
        elif client.started:
            await client.end(gate.close(self._broken_end(fault(error))))
        else:
            raise fault(error)

    def _broken_end(self, why: Refused) -> bytes:
        """What the client reads behind a stream that is not whole."""
        return self.exchange.endpoint.family.stream_end(why.refusal, self._gate.watch.events_seen())

    def timings(self) -> Timings:
        timings = super().timings()
        if not self._first_at:
            return timings
        pieces = self._others + self._gate.watch.kept.taken
        between = (self.response.last_at - self._first_at) * 1000 if pieces > 1 else None
        first = (self._first_at - self.client.began) * 1000
        return timings._replace(ttft_ms=first, itl_ms_sum=between, itl_count=max(0, pieces - 1))
