"""What the explorer is asked, adds up and links to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from proxy.control.pages import view
from proxy.control.pages.address import Address
from proxy.reports.known_cost import known_cost
from proxy.reports.sessions import SessionRow
from proxy.reports.spans import Span
from proxy.reports.spend import SpendRow
from proxy.times import DAY_US, HOUR_US

METRICS = {"cost": "Cost", "calls": "Calls", "tokens": "Tokens", "rate": "$ per million tokens"}
STEPS_US = {"hour": HOUR_US, "day": DAY_US, "week": 7 * DAY_US}


class Choice(NamedTuple):
    """What the address asks for, checked. until: now, where it is `open`."""

    by: tuple[str, ...]
    metric: str
    top: int
    sort: str
    step: str
    since: int | None
    until: int
    compared: bool
    open: bool

    @property
    def span(self) -> Span:
        """Without an end where none is asked for: no call has begun later than now, and the running day is read whole."""
        return Span(self.since, None if self.open else self.until)

    @property
    def ranked_by(self) -> str:
        return self.sort if self.sort in METRICS else self.metric


Key = tuple[str | None, ...]


class Sums(NamedTuple):
    cost: int
    calls: int
    unpriced: int
    read: int
    cached: int
    written: int

    def plus(self, other: Sums) -> Sums:
        return Sums(*(mine + more for mine, more in zip(self, other, strict=True)))

    def less(self, other: Sums) -> Sums:
        return Sums(*(mine - part for mine, part in zip(self, other, strict=True)))

    @property
    def tokens(self) -> int:
        return self.read + self.cached + self.written

    def of(self, metric: str) -> int | None:
        """The metric's value; None where there is none."""
        match metric:
            case "cost":
                return known_cost(self.cost, self.calls, self.unpriced)
            case "calls":
                return self.calls
            case "tokens":
                return self.tokens
            case _:
                return self.cost * 1_000_000 // self.tokens if self.tokens and self.of("cost") is not None else None


NOTHING = Sums(0, 0, 0, 0, 0, 0)


def sum_of(parts: Iterable[Sums]) -> Sums:
    total = NOTHING
    for part in parts:
        total = total.plus(part)
    return total


def sums_of(row: SpendRow | SessionRow) -> Sums:
    def tokens(*units: str) -> int:
        return sum(int(row.usage.get(unit, 0)) for unit in units)

    cached = tokens("cache_read")
    return Sums(
        row.cost_nanousd,
        row.requests,
        row.unpriced_requests,
        tokens(*view.INPUT) - cached,
        cached,
        tokens(*view.OUTPUT),
    )


def key_of(row: SpendRow, by: Sequence[str]) -> Key:
    """What is empty counts as none."""
    return tuple(row.group[name] or None for name in by)


def links_of(address: Address, choice: Choice, key: Key) -> dict[str, str]:
    """A name asks on within itself; cost and calls lead to the calls."""
    links: dict[str, str] = {}
    narrowed = address
    for name, value in zip(choice.by, key, strict=True):
        narrowed = narrowed.filtered(name, value)
        links[name] = _deeper(narrowed, name, value)
    calls = narrowed.at("/calls")
    return links | {"cost": str(calls), "unpriced": str(calls.filtered("priced", "no"))}


_DEEPER = {
    "model": "key",
    "team": "key",
    "provider": "model",
    "upstream": "model",
    "customer": "user",
    "agent": "session",
}


def _deeper(narrowed: Address, name: str, value: str | None) -> str:
    if name == "session" and value is not None:
        return f"/sessions/{view.part(value)}"
    return str(narrowed.without("sort", "top")._replace(by=(_DEEPER.get(name, "model"),)))
