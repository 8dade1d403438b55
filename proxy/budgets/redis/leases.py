"""What one data plane has leased of shared counters: calls are granted and settled here, and reported together. No I/O.

A lease is a slice of a counter, reserved in Redis. What is granted out of it is *in flight*, what is left of it *free*; what
was settled is *used* until a report has told it. Reports are numbered, and told one after the other: each takes what was used
since the one before, and what ends while it is under way belongs to the next. So whoever reads this process's spool after its
death knows exactly which ends a report has counted: each end is recorded with its report's number.

For every counter, whatever is lost on the way: what Redis holds for this process is at least in flight + free + used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from proxy.budgets.store import CounterKey, Granted, counter_key
from proxy.types import Claim

MOST_UNREPORTED = 900
"""Calls whose end no report has told. After a crash they are charged by whoever reads the spool, and that remembers 1000."""

_MOST_COUNTERS = 200
_LIVELY = 4.0  # calls between two reports: with fewer, a lease saves nothing
_AHEAD = 2.0  # so many times what is asked for between two reports is leased ahead of need
_SMOOTHING = 0.5
_NEAR_END_S = 2.0  # Redis's clock decides in which window a call is: near an end of it, it is asked
_GRANTED = Granted()


class Row(NamedTuple):
    """What a report says of one counter."""

    claim: Claim
    used: int
    in_flight: int
    kept: int
    wanted: int


class Report(NamedTuple):
    number: int
    rows: Sequence[Row]


class InFlightCall(NamedTuple):
    """A call that was granted out of leases."""

    claims: Sequence[Claim]
    leases: Sequence[Slice]
    deadline_s: float
    record: bytes


class Slice:
    """One counter: what this process has of it, and what is asked of it (calls and amount, between two reports)."""

    __slots__ = (
        "amount", "calls", "claim", "free", "given", "held", "in_flight", "lately", "lately_calls", "short", "used", "wanted",
    )  # fmt: skip

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.free = 0
        self.given = 0  # the most that may be free: what Redis counts as taken ahead of need
        self.in_flight = 0
        self.used = 0
        self.held = 0  # what Redis has reserved for it, by its last answer
        self.short = False  # Redis gave less than was wanted: what is free is asked for anew with every report
        self.calls = 0.0
        self.amount = 0.0
        self.lately_calls = 0
        self.lately = 0
        self.wanted = 0

    def ran_out(self) -> None:
        """Calls go on to ask for it, for as much as by now at least: what that comes to is not waited for."""
        if self.lately_calls >= _LIVELY:
            self.calls, self.amount = max(self.calls, self.lately_calls), max(self.amount, self.lately)
            self.wanted = max(self.wanted, math.ceil(self.lately * _AHEAD))

    def measure(self) -> None:
        """The time between two reports is over: how much to lease follows what was asked for in it."""
        self.calls += (self.lately_calls - self.calls) * _SMOOTHING
        self.amount += (self.lately - self.amount) * _SMOOTHING
        self.lately_calls = self.lately = 0
        self.wanted = math.ceil(self.amount * _AHEAD) if self.calls >= _LIVELY else 0

    @property
    def idle(self) -> bool:
        return not (self.held or self.free or self.in_flight or self.used or self.wanted) and self.calls < 1

    @property
    def news(self) -> bool:
        """Whether a report would change anything worth a round trip."""
        if self.used or self.free > 2 * self.wanted or (self.short and self.free):
            return True
        return 2 * self.free < self.wanted or self.held > self.in_flight + self.free


class Leases:
    """All leases of a process. `longest_s`: a call that may last longer is not granted here."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._leases: dict[CounterKey, Slice] = {}
        self._in_flight: dict[str, InFlightCall] = {}
        self._leaving: dict[
            str, int
        ] = {}  # calls that Redis may not know as reservations yet, by the report without them
        self._number = 1  # number of the report that will tell what ends now
        self.reported = 0  # the number of the last report that was heard
        self._unreported = 0
        self._reporting = 0  # ends in the report that is under way
        self._report: Report | None = None
        self.hurried = False  # calls ask Redis because a lease is used up, or there is much to tell

    def __contains__(self, reservation_id: str) -> bool:
        return reservation_id in self._in_flight

    def __bool__(self) -> bool:
        return bool(self._leases)

    def all(self) -> list[Slice]:
        return list(self._leases.values())

    @property
    def held(self) -> Mapping[str, InFlightCall]:
        return self._in_flight

    # Calls

    def grant(
        self, reservation_id: str, claims: Sequence[Claim], now_s: float, deadline_s: float, record: bytes
    ) -> Granted | None:
        """Grant it whole, out of leases of all its counters; None: Redis has to be asked."""
        if reservation_id in self._in_flight:
            return _GRANTED
        untold = len(self._in_flight) + self._unreported + self._reporting
        leases, enough = [], untold < MOST_UNREPORTED and deadline_s - now_s <= self._longest_s
        known = self._leases
        for claim in claims:
            amount, start, end = claim.amount, claim.window_start, claim.window_end
            lease = known.get((claim.budget, claim.group, claim.measure, start))
            if lease is None:
                lease = self._begin(claim)
                if lease is None:
                    return None
            lease.claim = claim
            lease.lately_calls += 1
            lease.lately += amount
            if lease.free < amount or lease.free < 1:  # what costs nothing is not granted where nothing is left
                enough = False
                lease.ran_out()
                self.hurried = self.hurried or (lease.wanted > 0 and not lease.short)
            elif now_s < start + _NEAR_END_S or (end is not None and now_s >= end - _NEAR_END_S) or lease in leases:
                enough = False
            leases.append(lease)
        if not enough:
            return None
        for index, lease in enumerate(leases):  # `zip` with a word in its call takes four times as long
            amount = claims[index].amount
            lease.free -= amount
            lease.in_flight += amount
        self._in_flight[reservation_id] = InFlightCall(claims, leases, deadline_s, record)
        return _GRANTED

    def _begin(self, claim: Claim) -> Slice | None:
        if len(self._leases) >= _MOST_COUNTERS:
            return None
        self.hurried = self.hurried or not self._leases  # who measures waits for the first
        lease = self._leases[counter_key(claim)] = Slice(claim)
        return lease

    def number_of(self, reservation_id: str) -> int | None:
        """Of the report that will tell its end, if it ends now, or of the first that Redis reads after its reservation; None
        where it is none of ours."""
        return self._number if reservation_id in self._in_flight else self._leaving.get(reservation_id)

    def end(self, reservation_id: str, amounts: Sequence[int] | None) -> bool:
        """It ended with so much used (None: with nothing); whether it was one of ours."""
        call = self._in_flight.pop(reservation_id, None)
        if call is None:
            self._leaving.pop(reservation_id, None)
            return False
        claims = call.claims
        for index, lease in enumerate(call.leases):
            amount, used = claims[index].amount, amounts[index] if amounts is not None else 0
            lease.in_flight -= amount
            lease.used += used
            # The rest goes back to Redis with the next report, except what is counted as taken ahead.
            free, given = lease.free + amount - used, lease.given
            if free > given:  # noqa: PLR1730 - in a tenth of what `min` takes
                free = given
            lease.free = free
        if amounts is not None:
            self._unreported += 1
            self.hurried = self.hurried or self._unreported >= MOST_UNREPORTED // 2
        return True

    def hand_back(self, claims: Iterable[Claim]) -> bool:
        """Somebody waits for room: want nothing of these counters for now; whether there is anything free in them."""
        free = False
        for claim in claims:
            lease = self._leases.get(counter_key(claim))
            if lease is not None:
                lease.calls = lease.amount = 0.0
                lease.lately = lease.lately_calls = lease.wanted = 0
                free = free or lease.free > 0
        return free

    def overdue(self, now_s: float) -> list[str]:
        return [name for name, call in self._in_flight.items() if call.deadline_s <= now_s]

    # Reports

    def measure(self) -> None:
        """The time between two reports is over."""
        for key, lease in list(self._leases.items()):
            lease.measure()
            if lease.idle and self._report is None:
                del self._leases[key]

    def report(self, *, anyhow: bool = False) -> Report | None:
        """What is to be told now: the report whose answer never came, else a new one; None where there is nothing to tell.

        anyhow: say what is in flight and free though it is no news.
        """
        if self._report is not None:
            return self._report
        self.hurried = False
        leases = self._leases.values()
        if not any(lease.news for lease in leases) and not (
            anyhow and any(one.in_flight or one.free for one in leases)
        ):
            return None
        rows = []
        for lease in leases:
            if lease.held or lease.used or lease.in_flight or lease.free or lease.wanted:
                lease.free = 0 if lease.short else max(0, min(lease.free, lease.wanted))
                lease.given = lease.free
                rows.append(Row(lease.claim, lease.used, lease.in_flight, lease.free, lease.wanted))
                lease.used = 0
        self._report = Report(self._number, rows)
        self._number += 1
        self._reporting, self._unreported = self._unreported, 0
        return self._report

    def note_reply(self, report: Report, free_now: Sequence[int]) -> None:
        """The report is counted. free_now: what is free of each counter that it names."""
        if report is not self._report:
            return
        self._report, self._reporting, self.reported = None, 0, report.number
        for row, free in zip(report.rows, free_now, strict=True):
            key = counter_key(row.claim)
            lease = self._leases[key]
            lease.free += free - row.kept
            lease.given = free
            lease.held, lease.short = row.in_flight + free, free < row.wanted

    def drop(self) -> dict[str, InFlightCall]:
        """What Redis knew of all this is lost. The calls that were in flight: they have to be reserved one by one."""
        call, self._in_flight = self._in_flight, {}
        self._leases.clear()
        self._leaving.clear()
        self._report = None
        self._unreported = self._reporting = 0
        return call

    def give_up(self, reservation_id: str) -> InFlightCall | None:
        """This call is reserved for itself: it is in flight here no more. What it was, if it was."""
        call = self._in_flight.pop(reservation_id, None)
        if call is not None:
            self._leaving[reservation_id] = self._number
            for lease, claim in zip(call.leases, call.claims, strict=True):
                lease.in_flight -= claim.amount
        return call

    def is_out(self, reservation_id: str) -> None:
        """Redis has its reservation."""
        self._leaving.pop(reservation_id, None)
