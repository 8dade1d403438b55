"""One try at one upstream, from its INTENT to its one end, in the spool and in every budget.

The order is the promise: the INTENT is on disk before anything is reserved, the reservation stands before the first byte
goes upstream, and whatever happens after that, it ends exactly once. A crash between two of these steps leaves an INTENT
without an end, which the recorder charges at the ceiling.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from pricing.values import Linked, slotted
from proxy.budgets.budget import Amounts, Budget
from proxy.budgets.store import Denied, Granted, Standing, StoreUnavailable, granted_amounts
from proxy.ceilings.call_price import CallPrice
from proxy.ceilings.ceiling import Ceiling
from proxy.ceilings.conditions import ORDINARY
from proxy.ceilings.costly import lowered_caps
from proxy.ceilings.prefixes import Prefixes
from proxy.dialects import turns
from proxy.errors import Refusal, Refused, ledger_unavailable
from proxy.exchange.exchange import Exchange
from proxy.exchange.intent import intent_bytes, intent_record
from proxy.exchange.plan import Plan
from proxy.exchange.settlement import Charged, Settlement, settle_bytes
from proxy.jobs.job import Job
from proxy.spool import records
from proxy.spool.pending import Pending
from proxy.times import now_s, now_us
from proxy.types import Call, Claim, Route
from proxy.upstream.outbox import OUTBOX

_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")  # of dialects that are translated
_MOST_WINDOWS = 3  # a call that is made while windows end is asked for again; no two calendars end that often


@slotted
class Attempt(Linked):
    """An attempt on its way. Nobody but its own methods changes it.

    claims: on each of `budgets`, in their order.
    changes: fields of the body that differ from what the client sent, by now. cached_tokens: of the input, which the ceiling
    takes to be read from the provider's cache. counted_by: the tokenizer family and o200k tokens of the input, where they
    were counted. waited_s: for room in a budget. unverified: the store could not be asked, and the budgets let the call go on
    without.
    """

    exchange: Exchange
    plan: Plan
    id: str
    call: Call
    route: Route
    bound: Ceiling
    price: CallPrice
    reserved_nanousd: int | None
    budgets: Sequence[Budget]
    claims: Sequence[Claim]
    may_be_ordinary: bool
    changes: dict[str, Any]
    tool_calls: int
    cached_tokens: int = 0
    counted_by: tuple[str, int] | None = None
    dispatched: float = 0.0
    waited_s: float = 0.0
    closed: bool = False
    charged: bool = False
    unverified: bool = False
    pending: Pending | None = None
    _intent: bytes = b""
    _unsettled_terms: bool = False  # the INTENT's amounts do not hold until a `reserved` record says which do
    _prefixes: Prefixes | None = None

    @staticmethod
    def of(exchange: Exchange, plan: Plan) -> Attempt:
        return Attempt(
            exchange, plan, plan.id, plan.call, plan.route, plan.bound, plan.price, plan.ceiling_nanousd, plan.budgets,
            plan.claims, plan.may_be_ordinary, dict(plan.changes), plan.call.tool_calls,
        )  # fmt: skip

    # What it is of

    @property
    def prefixes(self) -> Prefixes | None:
        """The beginnings of the input, made when they are first asked for; None for what is no conversation."""
        if self._prefixes is None and turns.is_conversation(self.call):
            exchange, route = self.exchange, self.route
            whose = f"{exchange.identity.key_id} {exchange.attribution.client}"
            self._prefixes = exchange.plane.prefixes.prefixes(self.call, whose, f"{route.provider}/{route.model}")
        return self._prefixes

    def body(self) -> bytes:
        """What goes upstream, with every change that was made by now."""
        return self.plan.outgoing.written(self.changes)

    # The beginning: INTENT, then the reservation.

    def intend(self, *, with_request: bool = False) -> None:
        """Put the INTENT on disk. Raises `Refused` (503): what cannot be recorded is not sent. with_request: it is written with
        those of other calls, before the request, its end, or a reservation that outlives this process."""
        self._intent = intent_bytes(self.exchange, self.plan, self.reserved_nanousd, self._claimed())
        self.pending = Pending(self.exchange.plane.spool, self._intent)
        if not with_request:
            self._keep()

    def intent_record(self) -> records.Intent:
        """The INTENT as it is now: a job's is written once more, after its creation."""
        return intent_record(self.exchange, self.plan, self.reserved_nanousd, self._claimed())

    def _claimed(self) -> records.Amounts:
        return [(claim.budget, claim.group, claim.window_start, claim.measure, claim.amount) for claim in self.claims]

    async def reserve(self, least_nanousd: int | None = None, most_nanousd: int | None = None) -> Granted:
        """Take the ceiling from every budget or from none; with `least_nanousd`, at least that much of it; with
        `most_nanousd`, no more than that. Raises `NoRoomError`, `StoreUnavailable`."""
        if not self.claims:
            return Granted()
        store = self.exchange.plane.store
        claims = self.claims
        if least_nanousd is not None or most_nanousd is not None:
            claims = _for_less(claims, least_nanousd, most_nanousd)
        for _ in range(_MOST_WINDOWS):
            deadline_s = self.plan.deadline_at / 1e6
            verdict = await store.reserve(self.id, claims, now_s(), deadline_s, self._intent, self._keep)
            if isinstance(verdict, Denied):
                raise NoRoomError(verdict)
            if isinstance(verdict, Granted):
                return verdict if most_nanousd is None else replace(verdict, nanousd=most_nanousd)
            windows = [budget.window_now(verdict.now_s) for budget in self.budgets]
            claims, self.claims = (
                [c._replace(window_start=w[0], window_end=w[1]) for c, w in zip(some, windows, strict=True)]
                for some in (claims, self.claims)
            )
            self._unsettled_terms = True  # the INTENT names windows that are over
        raise StoreUnavailable("the store's clock cannot be followed")

    def _keep(self) -> None:
        """The INTENT is on disk from here on. Raises `Refused` (503)."""
        if self.pending is not None and not self.pending.keep():
            self.closed = True
            raise ledger_unavailable()

    def wait(self) -> None:
        """There is no room yet: until `reserved` or an end, nothing is reserved or was sent. Raises `Refused` (503)."""
        if not self._unsettled_terms:
            self._unsettled_terms = True
            waiting: records.Waiting = {"t": "waiting", "id": self.id}
            if not self._append(orjson.dumps(waiting)):
                raise ledger_unavailable()

    async def wait_for_room(self, most_s: float) -> None:
        """Wait until something in flight has ended, and take the limits as they are then."""
        began = time.perf_counter()
        await self.exchange.plane.store.wait_for_room(self.id, self.claims, most_s)
        self.waited_s += time.perf_counter() - began
        self._follow_limits()

    def _follow_limits(self) -> None:
        """A budget may have been raised meanwhile."""
        now = now_s()
        named = {budget.name: budget for budget in self.exchange.plane.configured.budgets.budgets}
        self.budgets = [named.get(budget.name, budget) for budget in self.budgets]
        limits = [b.limit_for(c.group, now) for b, c in zip(self.budgets, self.claims, strict=True)]
        self.claims = [claim._replace(limit=limit) for claim, limit in zip(self.claims, limits, strict=True)]

    def bound_input(self, input_tokens: int) -> None:
        """A closer bound on the input was found: the ceiling and what it takes from each budget follow."""
        self._bound_by(self.bound.with_input(input_tokens))

    def read_from_cache(self, tokens: int) -> None:
        """Assume that so much of the input is read from the provider's cache, at the price of that."""
        self.cached_tokens = tokens
        self.price = self.price.reading(tokens)
        self._bound_by(self.bound)

    def ask_for_the_ordinary_tier(self) -> bool:
        """No dearer service tier than the ordinary one, where the client named none; whether that was possible."""
        if not self.may_be_ordinary:
            return False
        price = self.plan.price
        self.price, self.may_be_ordinary = price._replace(fixed={**price.fixed, **ORDINARY}), False
        self.changes["service_tier"] = "default"
        self._bound_by(self.bound)
        return True

    def allow_fewer_tool_calls(self) -> bool:
        """Half as many calls of the provider's own tools, where their number is ours to say; whether that was possible."""
        calls = self.tool_calls
        if calls <= 1 or self.bound.input_tokens is None:
            return False
        self.tool_calls = self.changes["max_tool_calls"] = calls // 2
        self._bound_by(self.bound.with_fewer_passes(calls - calls // 2))
        return True

    def _bound_by(self, bound: Ceiling) -> None:
        self.bound = bound
        self.reserved_nanousd = self.price(bound.usage)
        amounts = Amounts(self.reserved_nanousd, bound.usage, self.plan.requests)
        taken = [amounts.of(budget.measure, budget.bounded_by) for budget in self.budgets]
        self.claims = [claim._replace(amount=amount) for claim, amount in zip(self.claims, taken, strict=True)]

    def most_output_tokens(self) -> int:
        """The most that each sequence may write by its ceiling, or by the cap that is sent along if that is less."""
        caps = [value for name in _CAPS if type(value := self.changes.get(name)) is int]
        return min([*caps, self.bound.output_tokens])

    def cap_output(self, tokens: int) -> None:
        """Send a cap along: without it the ceiling would be a hope."""
        body = {**self.call.body, **self.changes}  # which may have the client's cap under another name
        capped = self.exchange.endpoint.cap_output(body, tokens, self.plan.known_provider)
        self.changes |= {**lowered_caps(body, tokens), **capped}

    def reserved(self, nanousd: int | None) -> None:
        """The reservation was granted; where that was after a wait or for less than the INTENT says, the spool is told
        what a crash is charged at. Raises `Refused` (503)."""
        if nanousd is None and not self._unsettled_terms:
            return
        amounts = granted_amounts(self.claims, nanousd)
        self.claims = [claim._replace(amount=amount) for claim, amount in zip(self.claims, amounts, strict=True)]
        if nanousd is not None:
            self.reserved_nanousd = nanousd
        record: records.Reserved = {
            "t": "reserved", "id": self.id, "reserved_nanousd": self.reserved_nanousd, "budgets": self._amounts(amounts),
        }  # fmt: skip
        if not self._append(orjson.dumps(record)):
            raise ledger_unavailable()

    def unreserved(self) -> None:
        """The store cannot be asked, and the call goes on without."""
        self.unverified = True

    def dispatch(self) -> None:
        """From now on it may have been sent."""
        self.dispatched = time.perf_counter()

    def _amounts(self, amounts: Sequence[int]) -> records.Amounts:
        listed = []
        for index, claim in enumerate(self.claims):  # a comprehension would be a function, made anew for every call
            amount = amounts[index]
            listed.append((claim.budget, claim.group, claim.window_start, claim.measure, amount))
        return listed

    def _append(self, payload: bytes) -> bool:
        """Append what comes behind the INTENT; False where the disk refuses that, so that nothing is sent."""
        if self.pending is not None:
            return self.pending.append_behind(payload)
        self.exchange.plane.spool.append_end(payload)
        return True

    # The ends. Each closes the INTENT; the first one wins.

    async def unrecorded(self) -> Refused:
        """The disk has refused the INTENT, so that nothing was sent: there is nothing to end. What to raise then."""
        self.closed = True
        if self.claims:
            await self.exchange.plane.store.release(self.id)
        return ledger_unavailable()

    def refused(self, refusal: Refusal, *, unanswered: bool = False) -> Refused:
        """The budgets (or a guard) said no: the INTENT ends without an entry. What to raise then. unanswered: they said
        nothing, and the reservation may stand."""
        recorded = True
        if not self.closed:
            self.closed = True
            record: records.Refused = {
                "t": "refused", "id": self.id, "at": now_us(), "reason": refusal.code, "budget": refusal.budget,
                "group": refusal.group, "window_start": refusal.window_start,
            }  # fmt: skip
            if unanswered:
                record["unanswered"] = True
            recorded = self._append(orjson.dumps(record))
        return Refused(refusal, recorded=recorded)

    async def void(self, outcome: str) -> None:
        """Surely never sent: everything reserved comes back."""
        if not self.closed:
            self.closed = True
            store = self.exchange.plane.store
            record: records.Void = {"t": "void", "id": self.id, "ended_at": now_us(), "outcome": outcome}
            if store.epoch:
                record["epoch"] = store.epoch
            self._append(orjson.dumps(record))
            if self.claims:
                await store.release(self.id)

    async def unused(self) -> None:
        """End a session's reservation that no turn used: without an entry, unless it may have been charged already."""
        if not self.closed:
            self.closed = True
            store = self.exchange.plane.store
            record: records.Unused = {"t": "unused", "id": self.id, "at": now_us()}
            if store.epoch and self.claims:
                record["epoch"] = store.epoch
            self._append(orjson.dumps(record))
            if self.claims:
                ending = None
                try:
                    ending = await store.release(self.id)
                finally:
                    if ending != "released":
                        second: records.Unused = {**record, "intent": self.intent_record()}
                        self._append(orjson.dumps(second))
                    elif "epoch" in record:
                        self._append(orjson.dumps({**record, "released": True}))

    async def settle(self, settlement: Settlement, *, before_answer: bool = False) -> None:
        """Charge what was used (or, unconfirmed, the whole ceiling), on disk first and then in the budgets.

        before_answer: the client has nothing of the answer yet and gets it by the outbox. Then it is soon enough if the
        record is on disk by that, with those of the same turn of the loop; but for what outlives this process in Redis.
        """
        if self.closed:
            return
        if self.pending is not None and not (self.pending.kept or self.pending.keep()):
            await self.unrecorded()
            return
        store = self.exchange.plane.store
        amounts = self._settled_amounts(settlement)
        more: dict[str, Any] = {}
        if store.epoch:
            more["epoch"] = store.epoch
            if (lease := store.lease(self.id)) is not None:
                more["lease"] = [*lease]
        flags = ("budget_unverified",) if self.unverified else ()
        charged = Charged(self.id, self.route, self.reserved_nanousd, self._amounts(amounts), flags, more)
        payload = settle_bytes(settlement, charged)
        self.charged = True
        self.closed = True  # only now: whatever could not be put into a record is still open, and ends as unconfirmed
        spool = self.exchange.plane.spool
        if before_answer and store.ends_here(self.id):
            spool.owe(payload)
            OUTBOX.first(spool.write_owed)
        else:
            self._append(payload)
        if self.unverified:
            await store.charge(self.id, self.claims, amounts)
        elif self.claims:
            await store.settle(self.id, amounts)

    def become(self, job: Job, stored: Sequence[str] = (), facts: Mapping[str, Any] | None = None) -> None:
        """The provider has begun a job: the reservation stands until that ends, whoever sees it; this attempt is over."""
        self.closed = self.charged = True
        plane = self.exchange.plane
        begun: records.JobBegun = {"t": "job", "id": self.id, "at": now_us(), "job": job.record()}
        if stored:
            begun["stored"], begun["stored_model"] = stored, self.route.requested
            if facts is not None:
                begun["stored_facts"] = facts
        self._append(orjson.dumps(begun, default=str))
        if self.claims:
            plane.store.outlives(self.id)

    def _settled_amounts(self, settlement: Settlement) -> list[int]:
        """What each claim is settled with."""
        if settlement.cost is None:
            return [claim.amount for claim in self.claims]
        used = Amounts(settlement.cost.cost_nanousd, settlement.reading.usage, self.plan.requests)
        nanousd = used.nanousd or 0
        return [nanousd if one.measure == "usd" else used.of(one.measure, one.units) for one in self.budgets]


def _for_less(claims: Sequence[Claim], least_nanousd: int | None, most_nanousd: int | None) -> Sequence[Claim]:
    if least_nanousd is not None:
        claims = [c._replace(least=least_nanousd) if c.clamp and c.measure == "usd" else c for c in claims]
    if most_nanousd is not None:
        claims = [c._replace(amount=min(c.amount, most_nanousd)) if c.measure == "usd" else c for c in claims]
    return claims


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
