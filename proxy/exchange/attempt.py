"""One try at one upstream, from its INTENT to its one end, in the spool and in every budget.

The order is the promise: the INTENT is on disk before anything is reserved, the reservation stands before the first byte
goes upstream, and whatever happens after that, `close` runs exactly once. A crash between two of these steps leaves an
INTENT without an end, which the recorder charges at the ceiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import orjson

from pricing.cost import Cost, CostLine
from pricing.usage import Reading
from proxy.budgets.budget import Amounts, Budget
from proxy.budgets.store import Denied, Expired, Granted, Standing, Store, StoreUnavailable, granted_amounts
from proxy.ceilings.ceiling import Ceiling
from proxy.ceilings.clamp import Price
from proxy.ceilings.prefixes import Prefixes
from proxy.errors import Refusal, Refused, ledger_unavailable
from proxy.keyed_hash import Chain
from proxy.spool.writer import SpoolUnavailable
from proxy.times import now_s, now_us
from proxy.types import Attribution, Call, Claim, Identity, Route

_MOST_WINDOWS = 3  # a call that is made while windows end is asked for again; no two calendars end that often


class Spool(Protocol):
    def append(self, payload: bytes) -> None: ...

    def append_end(self, payload: bytes) -> None: ...


@dataclass(slots=True)
class Attempt:
    """What is known of an attempt before it is sent. Times are epoch microseconds; money is nano-USD."""

    id: str
    request_id: str
    number: int
    started_at: int
    deadline_at: int
    call: Call
    body: bytes
    route: Route
    identity: Identity
    attribution: Attribution
    bound: Ceiling
    price: Price
    reserved_nanousd: int | None
    claims: Sequence[tuple[Budget, Claim]]
    price_version: str
    attributes: Mapping[str, str | None]
    requests: int = 1  # 0 where an earlier attempt was counted as the client's call
    dispatched: float = 0.0
    closed: bool = False
    charged: bool = False
    recapped: bool = False  # the body has another limit than when it was encoded
    ordinary: Price | None = None  # what it costs at the ordinary service tier, where the account's own may be dearer
    unsettled_terms: bool = False  # the INTENT's amounts do not hold until `reserved_after_all` says which do
    chain: Chain | None = None
    prefixes: Prefixes | None = None
    family: str = ""
    o200k_tokens: int = 0  # of the input, where they were counted
    intent: bytes = b""
    stored: Sequence[str] = ()  # digests of what the call left at the provider, for as long as that keeps it
    cached_tokens: int = 0  # of the input, which the ceiling takes to be read from the provider's cache
    unverified: bool = False  # the store could not be asked, and the budgets let the call go on without

    # The beginning: INTENT, then the reservation.

    def intend(self, spool: Spool) -> None:
        """Put the INTENT on disk. Raises `Refused` (503): what cannot be recorded is not sent."""
        self.intent = orjson.dumps(self._intent())
        try:
            spool.append(self.intent)
        except SpoolUnavailable:
            self.closed = True
            raise ledger_unavailable() from None

    def _intent(self) -> dict[str, Any]:
        call, route, identity, attribution = self.call, self.route, self.identity, self.attribution
        return {
            "t": "intent",
            "id": self.id,
            "request_id": self.request_id,
            "attempt": self.number,
            "started_at": self.started_at,
            "deadline_at": self.deadline_at,
            "dialect": call.dialect,
            "operation": call.operation,
            "stream": call.stream,
            "upstream": route.upstream,
            "provider": route.provider,
            "model_requested": call.model or route.requested,
            "model": route.model,
            "key": identity.key,
            "key_id": identity.key_id,
            "team": identity.team,
            "user": attribution.user,
            "customer": attribution.customer,
            "labels": attribution.labels,
            "untrusted_labels": attribution.untrusted_labels,
            "session_id": attribution.session_id,
            "session_source": attribution.session_source,
            "parent_session_id": attribution.parent_session_id,
            "root_session_id": attribution.root_session_id,
            "agent": attribution.agent,
            "parent_agent": attribution.parent_agent,
            "client": attribution.client,
            "reserved_nanousd": self.reserved_nanousd,
            "budgets": self._claimed(),
            "price_version": self.price_version,
        }

    async def reserve(self, store: Store, least_nanousd: int | None = None, most_nanousd: int | None = None) -> Granted:
        """Take the ceiling from every budget or from none; with `least_nanousd`, at least that much of it; with
        `most_nanousd`, no more than that."""
        if not self.claims:
            return Granted()
        claims = [claim for _, claim in self.claims]
        if least_nanousd is not None:
            claims = [c._replace(least=least_nanousd) if c.clamp and c.measure == "usd" else c for c in claims]
        if most_nanousd is not None:
            claims = [c._replace(amount=min(c.amount, most_nanousd)) if c.measure == "usd" else c for c in claims]
        for _ in range(_MOST_WINDOWS):
            verdict = await store.reserve(self.id, claims, now_s(), self.deadline_at / 1e6, self.intent)
            if isinstance(verdict, Denied):
                raise NoRoomError(verdict)
            if isinstance(verdict, Granted):
                return verdict if most_nanousd is None else replace(verdict, nanousd=most_nanousd)
            windows = [budget.window_now(verdict.now_s) for budget, _ in self.claims]
            claims = [c._replace(window_start=w[0], window_end=w[1]) for c, w in zip(claims, windows, strict=True)]
            self.claims = [
                (b, c._replace(window_start=w[0], window_end=w[1]))
                for (b, c), w in zip(self.claims, windows, strict=True)
            ]
            self.unsettled_terms = True  # the INTENT names windows that are over
        raise StoreUnavailable("the store's clock cannot be followed")

    def waits(self, spool: Spool) -> None:
        """There is no room yet: until `reserved_after_all` or an end, nothing is reserved and nothing was sent."""
        if not self.unsettled_terms:
            self.unsettled_terms = True
            spool.append_end(orjson.dumps({"t": "waiting", "id": self.id}))

    def follow(self, budgets: Sequence[Budget], now_s: float) -> None:
        """Take the limits as they are now: a budget may have been raised meanwhile."""
        named = {budget.name: budget for budget in budgets}
        current = [(named.get(budget.name, budget), claim) for budget, claim in self.claims]
        self.claims = [(b, c._replace(limit=b.limit_for(c.group, now_s))) for b, c in current]

    def lower(self, input_tokens: int) -> None:
        """A closer bound on the input was found: the ceiling and what it takes from each budget follow."""
        self._bound_by(self.bound.with_input(input_tokens))

    def read_from_cache(self, tokens: int) -> None:
        """So much of the input is taken to be read from the provider's cache, at its price."""
        self.cached_tokens = tokens
        self.price = reading(tokens, self.price)
        self._bound_by(self.bound)

    def ask_for_the_ordinary_tier(self) -> bool:
        """No dearer service tier than the ordinary one, where the client named none; whether that was possible."""
        if self.ordinary is None:
            return False
        self.price, self.ordinary = self.ordinary, None
        self.call.body["service_tier"] = "default"
        self.recapped = True
        self._bound_by(self.bound)
        return True

    def allow_fewer_tool_calls(self) -> bool:
        """Half as many calls of the provider's own tools, where their number is ours to say; whether that was possible."""
        calls = self.call.tool_calls
        if calls <= 1 or self.bound.input_tokens is None:
            return False
        self.call.tool_calls = self.call.body["max_tool_calls"] = calls // 2
        self.recapped = True
        self._bound_by(self.bound.with_fewer_passes(calls - calls // 2))
        return True

    def _bound_by(self, bound: Ceiling) -> None:
        self.bound = bound
        self.reserved_nanousd = self.price(self.bound.usage)
        amounts = Amounts(self.reserved_nanousd, self.bound.usage, self.requests)
        self.claims = [(b, c._replace(amount=amounts.of(b.measure, b.bounded_by))) for b, c in self.claims]

    def reserved_after_all(self, spool: Spool, nanousd: int | None) -> None:
        """The reservation was granted, after a wait or for less than the INTENT says: what a crash is charged at."""
        amounts = granted_amounts([claim for _, claim in self.claims], nanousd)
        self.claims = [(b, c._replace(amount=a)) for (b, c), a in zip(self.claims, amounts, strict=True)]
        if nanousd is not None:
            self.reserved_nanousd = nanousd
        record = {"t": "reserved", "id": self.id, "reserved_nanousd": self.reserved_nanousd, "budgets": self._claimed()}
        spool.append_end(orjson.dumps(record))

    def _claimed(self) -> list[list[Any]]:
        return [[c.budget, c.group, c.window_start, c.measure, c.amount] for _, c in self.claims]

    # The ends. Each closes the INTENT; the first one wins.

    def refused(self, spool: Spool, refusal: Refusal) -> Refused:
        """The budgets (or a guard) said no: the INTENT ends without an entry. What to raise then."""
        if not self.closed:
            self.closed = True
            record = {
                "t": "refused",
                "id": self.id,
                "at": now_us(),
                "reason": refusal.code,
                "budget": refusal.budget,
                "group": refusal.group,
                "window_start": refusal.window_start,
            }
            spool.append_end(orjson.dumps(record))
        return Refused(refusal, recorded=True)

    async def void(self, spool: Spool, store: Store, outcome: str) -> None:
        """Surely never sent: everything reserved comes back."""
        if not self.closed:
            self.closed = True
            record = {"t": "void", "id": self.id, "ended_at": now_us(), "outcome": outcome}
            spool.append_end(orjson.dumps(record | _epoch_of(store)))
            if self.claims:
                await store.release(self.id)

    async def settle(self, spool: Spool, store: Store, settlement: Settlement) -> None:
        """Charge what was used (or, unconfirmed, the whole ceiling), on disk first and then in the budgets."""
        if self.closed:
            return
        amounts = settlement.amounts(self)
        record = orjson.dumps(settlement.record(self, amounts) | _epoch_of(store), default=str)
        self.charged = True
        self.closed = True  # only now: whatever could not be put into a record is still open, and ends as unconfirmed
        spool.append_end(record)
        if self.unverified:
            await store.charge(self.id, [claim for _, claim in self.claims], amounts)
        elif self.claims:
            await store.settle(self.id, amounts)


def reading(cached_tokens: int, price: Price) -> Price:
    """Prices for a call that reads so much of its input from a cache."""

    def priced(usage: Mapping[str, int]) -> int | None:
        cached = min(cached_tokens, usage.get("input", 0))
        return price({**usage, "input": usage.get("input", 0) - cached, "cache_read": cached})

    return priced


class NoRoomError(Exception):
    """The reservation was denied; `denied` says by which budgets."""

    def __init__(self, denied: Denied) -> None:
        super().__init__("no room")
        self.denied = denied

    @property
    def standing(self) -> Standing:
        """The budget to tell the client of: one that is exceeded, else one that is busy; the latest reset."""
        among = self.denied.exceeded or self.denied.busy
        return max(among, key=lambda standing: standing.window_end or float("inf"))


class Settlement(NamedTuple):
    """How an attempt ended. `cost` None: nothing could be read, the ceiling is charged (`unconfirmed`). `lines`: what is
    known of the cost, also where that is not all of it."""

    outcome: str
    http_status: int | None
    reading: Reading
    cost: Cost | None
    ended_at: int
    duration_ms: float
    overhead_ms: float
    ttft_ms: float | None = None
    itl_ms_sum: float | None = None
    itl_count: int = 0
    upstream_request_id: str | None = None
    lines: Sequence[CostLine] = ()

    @property
    def confirmed(self) -> bool:
        return self.cost is not None

    def amounts(self, attempt: Attempt) -> list[int]:
        """What each claim is settled with."""
        if self.cost is None:
            return [claim.amount for _, claim in attempt.claims]
        used = Amounts(self.cost.cost_nanousd, self.reading.usage, attempt.requests)
        return [used.of(budget.measure, budget.units) for budget, _ in attempt.claims]

    def record(self, attempt: Attempt, amounts: Sequence[int]) -> dict[str, Any]:
        """The SETTLE record: what the recorder joins to the INTENT."""
        reading, cost = self.reading, self.cost
        strange = "implausible" in reading.flags  # kept for a person, never added up
        record: dict[str, Any] = {
            "t": "settle",
            "id": attempt.id,
            "ended_at": self.ended_at,
            "status": "settled" if cost is not None else "unconfirmed",
            "outcome": self.outcome,
            "http_status": self.http_status,
            "model": (cost.model if cost else None) or reading.model or attempt.route.model,
            "service_tier": reading.conditions.get("service_tier")
            or (cost.asked.get("service_tier") if cost else None),
            "usage": {} if strange else reading.usage,
            "told_usage": reading.usage if strange else None,
            "usage_source": reading.source,
            "cost_nanousd": cost.cost_nanousd if cost else attempt.reserved_nanousd,
            "cost_source": cost.source if cost else "computed",
            "flags": [
                *(cost.flags if cost else reading.flags),
                *(("budget_unverified",) if attempt.unverified else ()),
            ],
            "budgets": [
                [c.budget, c.group, c.window_start, c.measure, amount]
                for (_, c), amount in zip(attempt.claims, amounts, strict=True)
            ],
            "ttft_ms": self.ttft_ms,
            "duration_ms": self.duration_ms,
            "overhead_ms": self.overhead_ms,
            "itl_ms_sum": self.itl_ms_sum,
            "itl_count": self.itl_count,
            "upstream_request_id": self.upstream_request_id,
        }
        if attempt.stored:
            record |= {"stored": attempt.stored, "stored_model": attempt.route.requested}
        if lines := cost.lines if cost is not None else self.lines:
            record["cost_lines"] = [
                {
                    "unit": line.unit,
                    "quantity": str(line.quantity),
                    "price_usd": str(line.price_usd),
                    "per": line.per,
                    "cost_usd": str(line.cost_usd),
                    "model": line.model,
                    "source": line.source,
                }
                for line in lines
            ]
        if cost is not None:
            record["price_version"] = cost.price_version
            if cost.provider_reported_cost_usd is not None:
                record["provider_cost_nanousd"] = nanousd(cost.provider_reported_cost_usd)
        return record


def _epoch_of(store: Store) -> dict[str, str]:
    """For an end's record: where it is delivered, so that it is known later whether it has to be counted again."""
    return {"epoch": store.epoch} if store.epoch else {}


def expired_record(one: Expired, at_us: int, epoch: str) -> bytes:
    """The end of an attempt whose reservation expired, whoever began it: with its INTENT, as far as it was reserved."""
    intent = orjson.loads(one.record) | {"budgets": one.charged}
    if one.nanousd is not None:
        intent["reserved_nanousd"] = one.nanousd
    return orjson.dumps({"t": "expired", "id": one.reservation_id, "at": at_us, "epoch": epoch, "intent": intent})


def nanousd(usd: Decimal) -> int:
    """The nearest nano-USD, half-even, for keeping beside ours."""
    return int((usd * 1_000_000_000).to_integral_value())
