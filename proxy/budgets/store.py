"""The interface of a budget store: reserve, settle, release, expire; every store passes the same contract tests.

A reservation stands under its attempt's id and ends exactly once. `reserve` takes from every counter or from none. One whose
deadline passes is charged whole, and remembered for a day: what is learned of it later corrects the counters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from pricing.values import frozen
from proxy.budgets.budget import Budget
from proxy.budgets.totals import Totals
from proxy.types import Claim

Ending = Literal["settled", "released", "expired"]
Keep = Callable[[], None]
"""Brings a call's record on disk. Raises whatever says that the disk refused it."""
CounterKey = tuple[str, str, str, int]
"""Budget, group, measure, window start."""

REMEMBERED_S = 86_400
"""How long the end of a reservation is remembered where something may still come for it."""

ENDED_KEPT_S = 3600
"""How long what was spent in a window is known after its end: a clock that is set back finds it there."""

MOST = 2**53
"""No claim takes more: beyond every limit that can be configured, and still exact as a double."""


def counter_key(claim: Claim) -> CounterKey:
    return claim.budget, claim.group, claim.measure, claim.window_start


class Lease(NamedTuple):
    """report: the number of the report that tells of it, where it was granted out of a lease; reported: that of the last one
    which was heard."""

    report: int | None
    reported: int


class GuardLimits(NamedTuple):
    """What guards allow a session: calls, settled cost a minute, repetitions in `within_s`. None: any number."""

    requests: int | None
    nanousd: int | None
    repeats: int | None
    within_s: float


class Seen(NamedTuple):
    """What a session did before a call: its calls, its cost in the last minute, how often this very request came lately."""

    requests: int
    nanousd: int
    repeats: int


class StoreUnavailable(Exception):  # noqa: N818 - the state's name
    """The store cannot answer; nothing is known of the reservation."""


class Unanswered(StoreUnavailable):
    """It was asked, and may have done what it was asked for."""


class Standing(NamedTuple):
    """One counter: what is settled and what is reserved, in the budget's own measure."""

    budget: str
    group: str
    window_start: int
    window_end: int | None
    measure: str
    limit: int
    spent: int
    reserved: int

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.spent - self.reserved)


def standing_of(claim: Claim, spent: int = 0, reserved: int = 0) -> Standing:
    """The standing of the counter that `claim` counts in."""
    return Standing(
        claim.budget, claim.group, claim.window_start, claim.window_end, claim.measure, claim.limit, spent, reserved
    )


@frozen
class Granted:
    """The reservation stands, for `nanousd` where claims asked for less than all (None: all that was asked for).

    `would_refuse` names the soft budgets that it passes.
    """

    nanousd: int | None = None
    would_refuse: tuple[str, ...] = ()


@frozen
class Denied:
    """Nothing was reserved. `exceeded` would not fit with nothing in flight; `busy` only wait for reservations.

    Both are empty where the id's reservation has ended already: nobody waits for such an answer any more.
    """

    exceeded: tuple[Standing, ...]
    busy: tuple[Standing, ...]


@frozen
class Moved:
    """Nothing was reserved: by the store's clock, `now_s`, a claim is not of the window that runs."""

    now_s: float


class Expired(NamedTuple):
    """A reservation that was charged whole, with what its ledger entry needs.

    `nanousd` as in `Granted`; charged: budget, group, window start, measure and amount of each claim.
    record: what came with the reservation.
    """

    reservation_id: str
    nanousd: int | None
    charged: tuple[tuple[str, str, int, str, int], ...]
    record: bytes


def granted_amounts(claims: Sequence[Claim], nanousd: int | None) -> list[int]:
    """What each claim holds when the reservation was granted for `nanousd` (None: for all that was asked)."""
    if nanousd is None:
        return [claim.amount for claim in claims]
    return [min(claim.amount, nanousd) if claim.measure == "usd" else claim.amount for claim in claims]


class Store(Protocol):
    """What the exchange needs of a store. Times are epoch seconds; amounts are in the claims' measures.

    Every method may raise `StoreUnavailable`.

    epoch: of a shared store, the life that its counters have; what was settled in another must be counted anew.
    """

    @property
    def epoch(self) -> str: ...

    async def reserve(
        self,
        reservation_id: str,
        claims: Sequence[Claim],
        now_s: float,
        deadline_s: float,
        record: bytes = b"",
        keep: Keep | None = None,
    ) -> Granted | Denied | Moved:
        """All claims or none; claims in USD that have a `least` may all be granted for one smaller amount.

        The same id again gives the same answer and takes nothing more. A store with a clock of its own goes by that, not
        by `now_s`. record: kept with the reservation, for the ledger entry of one that expires. keep: called before
        anything is reserved where that outlives this process; where it raises, nothing is.
        """
        ...

    async def settle(self, reservation_id: str, amounts: Sequence[int]) -> Ending | None:
        """End it with what was really used, one amount for each claim.

        "expired": it had been charged whole, and is corrected now. None: it is unknown, or ended before.
        """
        ...

    async def release(self, reservation_id: str) -> Ending | None:
        """End it with nothing used: surely never sent. An id released before its reservation comes can never reserve."""
        ...

    async def charge(self, reservation_id: str, claims: Sequence[Claim], amounts: Sequence[int]) -> Ending | None:
        """As `settle`, but an unknown id is charged too, once: the call went on though nobody could reserve for it."""
        ...

    async def restore(
        self, reservation_id: str, claims: Sequence[Claim], amounts: Sequence[int], deadline_s: float, record: bytes
    ) -> None:
        """Put back a reservation that an earlier life granted, whatever the counters say; one that is known, or has ended,
        stays as it is."""
        ...

    def outlives(self, reservation_id: str) -> None:
        """This reservation is a job's: it stands beyond this process, which need not answer for it any more."""
        ...

    def ends_here(self, reservation_id: str) -> bool:
        """Whether its end is nobody's business but this process's, as long as no report tells of it."""
        ...

    def lease(self, reservation_id: str) -> Lease | None:
        """What its end is recorded with, if it ends now: after a crash that says whether the shared store was told."""
        ...

    async def sweep(self, now_s: float) -> int:
        """Charge reservations whose deadline is over; how many."""
        ...

    async def expired(self) -> Sequence[Expired]:
        """Reservations that expired and are not `written` yet, some at a time."""
        ...

    async def written(self, reservation_ids: Sequence[str]) -> None:
        """These expired reservations are recorded where they cannot be lost."""
        ...

    async def wait_for_room(self, reservation_id: str, claims: Sequence[Claim], timeout_s: float) -> bool:
        """Return when this call may fit (or surely never will), the oldest first, or (False) when the time is over."""
        ...

    async def standings_of(self, claims: Sequence[Claim]) -> Sequence[Standing]:
        """The counters that these claims count in, as they stand."""
        ...

    def remaining(self, claim: Claim) -> int:
        """What is left to reserve on the counter of `claim`, as of the last answer that this process had."""
        ...

    def least_remaining(self, claims: Sequence[Claim]) -> int | None:
        """The least of that among the claims of money, in nano-USD; None where none is."""
        ...

    async def session_cost(self, team: str | None, session_id: str, nanousd: int, *, alone: bool = False) -> int | None:
        """Add to what a session has cost in all processes; the total. None where this process has all of it itself, as far as
        is known. alone: the session is this one call."""
        ...

    def note_session(self, names: Sequence[str], session_id: str) -> None:
        """Tell other processes which session goes by these names; nobody waits until they know."""
        ...

    def send_notes(self) -> None:
        """What was noted is on its way from here on, and not in the loop's next turn."""
        ...

    async def noted_sessions(self, names: Sequence[str]) -> Sequence[str | None]:
        """What other processes noted, by name; none where this process has all of it itself."""
        ...

    async def guarded(self, session_id: str, request: str, limits: GuardLimits) -> Seen | None:
        """What a session did in all processes before this call, which is counted where it is within the limits. request: a
        digest of the call. None where this process has all of it itself."""
        ...

    def note_bill(self, session_id: str, nanousd: int) -> None:
        """A call of a session that is guarded was settled with that; nobody waits until other processes know."""
        ...

    # Its life in a process. What a store has no use for does nothing.

    @property
    def up(self) -> bool:
        """Whether it answers."""
        ...

    async def run(self) -> None:
        """What it does by itself, until it is cancelled."""
        ...

    async def close(self) -> None:
        """The process ends."""
        ...

    @property
    def answered(self) -> Mapping[str, int]:
        """How many reservations were asked for, by who answered: "redis", or a "lease" from it."""
        ...

    async def wait_until_up(self) -> None: ...

    def seed(self, standing: Standing, base: int = 0) -> None:
        """Set what the ledger says was spent, of which `base` is the base of the budget's definition; where the counter knows
        more, its base alone becomes another."""
        ...

    def begin_anew(self, budget: str, measure: str, window_start: int, window_end: int | None) -> bool:
        """A budget counts something else from now on, in this window; whether it waits to be seeded for that."""
        ...

    def limits_changed(self) -> None:
        """A budget was raised: whoever waits may look again."""
        ...

    async def forget_ended_windows(self, now_s: float) -> None: ...

    # What it says of itself, as far as this process has its counters: nothing where they are shared.

    def standings(self, budget: str | None = None, group: str | None = None) -> Sequence[Standing]: ...

    def fullest(self, most: int, now_s: float) -> tuple[Sequence[Standing], Mapping[str, int]]:
        """For each budget its `most` fullest counters, and how many it has."""
        ...

    def totals(self, budgets: Sequence[Budget], now_s: float) -> Sequence[Totals]:
        """What each budget's groups come to."""
        ...


class InProcess:
    """A store that is all in one process: there is nothing to wait for, to run or to ask."""

    up = True

    def outlives(self, reservation_id: str) -> None:
        """Nothing is to be done: the ledger puts such reservations back when the process starts again."""

    def ends_here(self, reservation_id: str) -> bool:
        return True

    def lease(self, reservation_id: str) -> Lease | None:
        """Nothing is leased where nothing is shared."""
        return None

    async def run(self) -> None:
        """Nothing happens by itself."""

    async def close(self) -> None:
        """Nothing is left open."""

    @property
    def answered(self) -> Mapping[str, int]:
        """Nobody is asked."""
        return {}

    async def wait_until_up(self) -> None:
        """It always is."""

    async def session_cost(self, team: str | None, session_id: str, nanousd: int, *, alone: bool = False) -> int | None:
        """This process has all of it itself."""
        return None

    def note_session(self, names: Sequence[str], session_id: str) -> None:
        """There is nobody to tell."""

    def send_notes(self) -> None:
        """There are none."""

    async def noted_sessions(self, names: Sequence[str]) -> Sequence[str | None]:
        """Nobody else notes any."""
        return ()

    async def guarded(self, session_id: str, request: str, limits: GuardLimits) -> Seen | None:
        """This process has all of it itself."""
        return None

    def note_bill(self, session_id: str, nanousd: int) -> None:
        """There is nobody to tell."""
