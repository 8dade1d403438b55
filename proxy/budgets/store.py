"""The interface of a budget store: reserve, settle, release, expire; every store passes the same contract tests.

A reservation stands under its attempt's id and ends exactly once. `reserve` takes from every counter or from none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from proxy.types import Claim

Ending = Literal["settled", "released", "expired"]


class StoreUnavailable(Exception):  # noqa: N818 - the state's name
    """The store cannot answer; nothing is known of the reservation."""


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


@dataclass(frozen=True, slots=True)
class Granted:
    """The reservation stands, for `nanousd` where claims asked for less than all (None: all that was asked for).

    `would_refuse` names the soft budgets that it passes.
    """

    nanousd: int | None = None
    would_refuse: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Denied:
    """Nothing was reserved. `exceeded` would not fit with nothing in flight; `busy` only wait for reservations."""

    exceeded: tuple[Standing, ...]
    busy: tuple[Standing, ...]


def granted_amounts(claims: Sequence[Claim], nanousd: int | None) -> list[int]:
    """What each claim holds when the reservation was granted for `nanousd` (None: for all that was asked)."""
    if nanousd is None:
        return [claim.amount for claim in claims]
    return [min(claim.amount, nanousd) if claim.measure == "usd" else claim.amount for claim in claims]


class Store(Protocol):
    """What the exchange needs of a store. Times are epoch seconds; amounts are in the claims' measures."""

    async def reserve(
        self, reservation_id: str, claims: Sequence[Claim], now_s: float, deadline_s: float
    ) -> Granted | Denied:
        """All claims or none; claims in USD that have a `least` may all be granted for one smaller amount.

        The same id again gives the same answer and takes nothing more.
        """
        ...

    async def settle(self, reservation_id: str, amounts: Sequence[int]) -> Ending | None:
        """End it with what was really used, one amount for each claim. None: it is unknown; else how it ended."""
        ...

    async def release(self, reservation_id: str) -> Ending | None:
        """End it with nothing used: surely never sent."""
        ...

    async def wait_for_room(self, claims: Sequence[Claim], timeout_s: float) -> bool:
        """Return when a reservation on one of these counters ended, or (False) when the time is over."""
        ...
