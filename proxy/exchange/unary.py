"""Step nine for a whole answer: up to a size it is held until it is metered, so that its headers can say what it cost."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from pricing.cost import Cost
from pricing.usage import Reading
from proxy.cohort import COHORT
from proxy.dialects.turns import answer_turns
from proxy.downstream.client import Header
from proxy.exchange.answering import Answering, fault
from proxy.exchange.attempt import Attempt
from proxy.exchange.jobs.passing import seen_in_passing
from proxy.exchange.learn import note_conversation, note_tokens
from proxy.exchange.measured import MEASURED, measured
from proxy.exchange.passed_headers import passed_headers
from proxy.exchange.references import note_stored
from proxy.exchange.retry import RETRIED, Failure
from proxy.exchange.steps import ANSWERED, READ, SETTLED
from proxy.exchange.unseen import note_pace, unseen
from proxy.meters.failures import is_failure
from proxy.money import usd_text
from proxy.upstream.inflated import Inflated
from proxy.upstream.response import Response, UpstreamError
from proxy.wire import lenient

_HELD_BYTES = 8 * 1024 * 1024
_METERED_BYTES = 64 * 1024 * 1024


class Unary(Answering):
    """One whole answer. held_bytes: a body up to this size waits until it is metered. metered_bytes: one beyond this passes,
    but its usage is not read."""

    held_bytes = _HELD_BYTES
    metered_bytes = _METERED_BYTES

    def __init__(self, attempt: Attempt, response: Response, body: Response | Inflated) -> None:
        super().__init__(attempt, response, body)
        self._hold = False
        self._chunks: list[bytes] = []
        self._failed = False
        self._answer: tuple[Reading, list[Any]] | None = None  # an answer's usage and its values, where there are any

    @property
    def answer_waits(self) -> bool:
        return not (self.client.started or self.client.gone)

    def hold_errors(self) -> None:
        """An error that another attempt may mend does not go to the client, but is returned."""
        self._hold = self.response.status in RETRIED

    async def relay(self, first: bytes) -> Failure | None:
        """first: what has been read of it already."""
        response, client, chunks = self.response, self.client, self._chunks
        held_bytes, metered_bytes = self.held_bytes, self.metered_bytes
        size = 0
        data: bytes | None = first
        while data:
            size += len(data)
            if size <= metered_bytes:
                chunks.append(data)
            if client.started:
                await client.write(data)
            elif size > held_bytes and response.status >= 400:
                response.abort()  # no error is that long, and none goes out before it was looked through
                break
            elif size > held_bytes:
                await client.start(response.status, self._passed_headers())
                await client.write(b"".join(chunks) if chunks else data)
            data = self.body.read_now()
            if data is None:
                data = await self.body.read()
        self.ended = time.perf_counter()
        body = b"".join(chunks) if len(chunks) != 1 else chunks[0]
        cost = await self._settle(body if size <= metered_bytes else b"")
        if client.started:
            await client.end()
            self._note()
            return None
        if COHORT.crowded:
            await SETTLED
        destination = self.attempt.plan.destination
        body = self.shown(body)
        headers, body = destination.for_client(response.status, self._passed_headers(), body, failed=self._failed)
        if self._hold:
            return Failure(response.status, tuple(headers), body)
        lines = self._cost_lines(cost) if cost is not None else ""
        if not client.respond_now(response.status, headers, body, lines):
            await client.respond(response.status, headers, body, lines)
        if COHORT.crowded:
            await ANSWERED
        self._note()
        return None

    def _passed_headers(self) -> list[Header]:
        return passed_headers(self.response.headers, self.exchange.endpoint.family.answer_headers)

    def shown(self, body: bytes) -> bytes:
        """The answer as its client gets it."""
        return body

    async def _settle(self, body: bytes) -> Cost | None:
        status = self.response.status
        answer = lenient.answer(body)
        values = answer.values
        # A body that is no JSON (speech, a transcript) may say enough by being there: the request tells the rest.
        reading = self.reader.answer(answer, self.context)
        refused = status >= 300
        failed = refused
        for value in values:
            failed = failed or (isinstance(value, dict) and is_failure(value))
        self._failed = failed
        if status == 200 and reading.source != "none" and self.exchange.endpoint.holds(self.attempt.call):
            self.stored = note_stored(self.attempt, values)
        if not body and not refused and self.client.gone and self.stops_when_left:
            # llama.cpp's last word to who hung up is a 200 with nothing in it.
            return await self.settle(await unseen(self.attempt, breaks_down=False), "client_disconnected")
        if self.attempt.call.operation in ("responses.get", "responses.cancel", "responses.delete"):
            await seen_in_passing(self.attempt, self.response, values)
        outcome = "upstream_error" if failed else "client_disconnected" if self.client.gone else "ok"
        if refused and (not values or not reading.usage):
            reading = Reading(source="provider", model=reading.model)  # providers do not bill what they refuse
        else:
            call = self.attempt.call
            if not failed and call.operation in MEASURED:
                reading = await measured(reading, body, call, self.reader, self.context, answer, self.price)
            if self.is_doubtful(reading, [body]):
                # Of a text that was cut off, nobody knows how much is missing.
                reading = Reading() if answer.cut_in_text else await self.counted(reading, answer.readable)
        if reading.source == "none":
            await self.settle_unknown(outcome if failed else "usage_missing")
            return None
        if not failed:
            self._answer = reading, values
            if COHORT.crowded:
                await READ
            if self.exchange.plane.shares_conversations:
                self._note()  # settling goes the same way to Redis: who asks another worker next is known there
            if self.stops_when_left:
                note_pace(self.attempt, reading)
        return await self.settle(reading, outcome)

    def _note(self) -> None:
        """Know the conversation again with its answer, once: in this process that is time enough when the client has it."""
        answer, self._answer = self._answer, None
        if answer is not None:
            reading, values = answer
            note_conversation(self.attempt, partial(answer_turns, values), answer_waits=self.answer_waits)
            note_tokens(self.attempt, reading)

    def _cost_lines(self, cost: Cost) -> str:
        """The headers with the cost, as they are sent."""
        if cost.cost_nanousd is None:
            return ""
        text, total = usd_text(cost.cost_nanousd), self.session_total(0)
        session = text if total == cost.cost_nanousd else usd_text(total)
        lines = f"x-taximeter-cost-usd: {text}\r\nx-taximeter-session-cost-usd: {session}\r\n"
        least = self.exchange.plane.store.least_remaining(self.attempt.claims)
        if least is None:
            return lines
        return f"{lines}x-taximeter-budget-remaining-usd: {usd_text(least)}\r\n"

    async def broken_off(self, error: UpstreamError) -> None:
        """The upstream failed in the middle (or we closed it, because its client left)."""
        await self._settle_broken(self.fault_outcome(error), timed_out=error.timed_out)
        if self.client.gone:
            return
        if not self.client.started:
            raise fault(error)
        await self.client.drop()

    async def _settle_broken(self, outcome: str, *, timed_out: bool) -> None:
        answer = lenient.answer(b"".join(self._chunks))
        reading = self.reader.answer(answer, self.context)
        if reading.source == "provider" and reading.usage:
            await self.settle(reading, outcome)
        elif self.stops_when_left and answer.values:
            await self.settle(await self.counted(reading, answer.values), outcome)
        elif self.stops_when_left and self.response.status == 200 and not self._chunks:
            gone = self.client.gone or timed_out
            await self.settle(await unseen(self.attempt, breaks_down=not gone), outcome)
        else:
            await self.settle_unknown(outcome)
