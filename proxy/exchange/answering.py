"""What whole and streamed answers share: usage is read, or counted where none was stated, then priced and settled.

Whatever happens on the way (the client leaves, the upstream breaks off, we are shut down), the attempt is settled once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

from pricing.cost import Cost, CostLine
from pricing.units import INPUT_SIDE
from pricing.usage import Reading
from proxy.cohort import COHORT
from proxy.config.upstream import is_local
from proxy.errors import Refused, upstream_timeout, upstream_unreachable
from proxy.exchange.asking import providers_count
from proxy.exchange.attempt import Attempt
from proxy.exchange.doubt import doubtful
from proxy.exchange.estimated import count, implausible, priced_part
from proxy.exchange.learn import note_bill
from proxy.exchange.settlement import Settlement, Timings, charge
from proxy.exchange.steps import PRICED
from proxy.meters.reader import Context, Reader
from proxy.meters.translated import HEADER, translated
from proxy.times import now_s, now_us
from proxy.upstream.inflated import Inflated
from proxy.upstream.response import Response, UpstreamError

_GENERATING = frozenset({"chat", "completions", "responses", "messages", "generate", "converse", "invoke"})
_REQUEST_IDS = (b"x-request-id", b"request-id", b"x-amzn-requestid")


class Answering:
    """One response on its way.

    body: it without its content-encoding. stops_when_left: whether the upstream stops, and stops billing, when the client hangs
    up. ended: when its last byte had come (perf_counter seconds; 0.0: not yet).
    """

    def __init__(self, attempt: Attempt, response: Response, body: Response | Inflated) -> None:
        exchange, route = attempt.exchange, attempt.route
        self.attempt = attempt
        self.exchange = exchange
        self.client = exchange.client
        self.response = response
        self.body = body
        target = exchange.endpoint.target
        names = exchange.endpoint.family.answer_headers  # among them, with some, what was used
        said = (
            {name.decode(): value.decode("latin-1") for name, value in response.headers if name in names}
            if names
            else {}
        )
        if attempt.plan.destination.translated:
            self.reader: Reader = translated
            said = {HEADER: header.decode()} if (header := response.header(HEADER.encode())) else {}
        else:
            self.reader = exchange.plane.reader(attempt.call.dialect, route.provider, target)
        self.context = Context(
            provider=route.provider,
            endpoint=target,
            model=route.model,
            request=attempt.call.body,
            from_client=True,
            response_headers=said,
            selector=attempt.plan.destination.facts,
        )
        self.stops_when_left = not attempt.plan.destination.bills_after_disconnect
        self.ended = 0.0
        self.stored: Sequence[str] = ()

    @property
    def answer_waits(self) -> bool:
        """Whether the client has nothing yet, and gets all of it by `Client.respond` once this is settled."""
        return False

    def is_doubtful(self, reading: Reading, pieces: Iterable[bytes]) -> bool:
        if reading.source == "none":
            return True
        return self.exchange.endpoint.operation in _GENERATING and doubtful(reading, pieces)

    async def counted(
        self, stated: Reading, events: list[Any], *, share: float = 1.0, all_seen: bool = False
    ) -> Reading:
        """No usage came, or one that cannot be true or is not all: what was seen is counted."""
        attempt, route = self.attempt, self.attempt.route
        all_seen = all_seen or (self.attempt.call.dialect == "openai.embeddings" and bool(events))
        input_tokens = None
        if self.stops_when_left and INPUT_SIDE.isdisjoint(stated.usage):
            input_tokens = await providers_count(attempt)
        return await asyncio.to_thread(
            count, stated, events, route.model, attempt.call.body,
            share=share, all_seen=all_seen, input_tokens=input_tokens,
            by_pieces=is_local(route.provider) and attempt.call.stream,
            writes=self.exchange.endpoint.operation in _GENERATING,
        )  # fmt: skip

    def with_fee(self, reading: Reading) -> Reading:
        """The reading with the call itself counted, where the operator bills a fee for each."""
        book, route = self.exchange.configured.book, self.attempt.route
        if not book.bills_requests:
            return reading
        return book.with_request(reading, provider=route.provider, model=route.model, at_s=int(now_s()))

    def price(self, reading: Reading, at_us: int | None = None) -> Cost:
        attempt, exchange = self.attempt, self.exchange
        target = exchange.endpoint.target
        return charge(exchange.configured.book, attempt.route, target, attempt.plan.attributes, reading, at_us)

    def session_total(self, add_nanousd: int) -> int:
        exchange = self.exchange
        session_id = exchange.attribution.root_session_id
        return exchange.plane.session_costs.total(exchange.identity.team, session_id) + add_nanousd

    # How it ends

    def fault_outcome(self, error: UpstreamError) -> str:
        if self.client.gone:
            return "client_disconnected"
        return "upstream_timeout" if error.timed_out else "upstream_error"

    async def settle(self, reading: Reading, outcome: str) -> Cost | None:
        """Charge what was used; None where that cannot be said, and the ceiling was charged."""
        attempt, exchange = self.attempt, self.exchange
        reading = self.with_fee(reading)
        at_us = now_us()
        cost = priced_part(self.price(reading, at_us)) if reading.source != "none" else None
        if cost is None:
            await self.settle_unknown(outcome)
        elif implausible(attempt, reading, cost):
            # More than there can be: the ceiling is charged until somebody knows better; what was said is kept.
            flags = tuple(dict.fromkeys((*reading.flags, "implausible")))
            await attempt.settle(self._settlement(reading._replace(flags=flags), None, outcome))
            cost = None
        elif cost.status != "priced" and (cost.cost_nanousd or 0) < (attempt.reserved_nanousd or 0):
            # Money was reserved, but its usage is in units without a price: it is not free, so the ceiling is charged.
            await attempt.settle(self._settlement(reading._replace(flags=cost.flags), None, outcome, cost.lines))
            cost = None
        else:
            if COHORT.crowded:
                await PRICED
            settlement = self._settlement(reading, cost, outcome, at_us=at_us)
            await attempt.settle(settlement, before_answer=self.answer_waits)
            note_bill(attempt, reading, cost)
            if cost.cost_nanousd:
                team, session, plane = exchange.identity.team, exchange.attribution, exchange.plane
                total = plane.session_costs.add(team, session.root_session_id, cost.cost_nanousd)
                if plane.store.epoch:
                    alone = session.session_source == "none"
                    await plane.share_session(team, session.root_session_id, cost.cost_nanousd, total, alone=alone)
        return cost

    async def settle_unknown(self, outcome: str) -> None:
        """Charge the ceiling: it may have been billed, and nothing says how much."""
        await self.attempt.settle(self._settlement(Reading(), None, outcome))

    def _settlement(
        self,
        reading: Reading,
        cost: Cost | None,
        outcome: str,
        lines: Sequence[CostLine] = (),
        at_us: int | None = None,
    ) -> Settlement:
        response = self.response
        upstream_id = None
        for name in _REQUEST_IDS:
            if upstream_id := response.header(name):
                break
        return Settlement(
            outcome=outcome,
            http_status=response.status,
            reading=reading,
            cost=cost,
            ended_at=now_us() if at_us is None else at_us,
            timings=self.timings(),
            upstream_request_id=upstream_id.decode("latin-1")[:200] if upstream_id else None,
            stored=self.stored,
            lines=lines,
        )

    def timings(self) -> Timings:
        now, began = time.perf_counter(), self.client.began
        overhead = self.attempt.dispatched - began - self.attempt.waited_s + now - (self.ended or now)
        return Timings((now - began) * 1000, overhead * 1000)


def fault(error: UpstreamError) -> Refused:
    """What the client is told where the upstream failed."""
    return (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.")
