"""What machines of one's own cost, whose that was, and what the same tokens would have cost elsewhere.

The closed minutes are read from the books; those that are not closed yet are worked out as they will be by what is known now
(`provisional_since`). A span of time is one of whole minutes. Shares of calls + outside + idle are the cost, whatever the span.
Times are integer epoch microseconds; money is integer nano-USD, energy millijoules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import field

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pricing.book import Book
from pricing.values import frozen, slotted
from proxy.capacity.carbon import grams
from proxy.capacity.runs import Tokens
from proxy.capacity.server_metrics import COUNTERS, GAUGES
from proxy.capacity.split import Weights
from proxy.config.capacity import Capacity
from proxy.ledger.capacity.books import LateInMinute, Outcome, read_books, work_out
from proxy.ledger.capacity.calls import Pending
from proxy.ledger.capacity.watch import ALIVE_US, lives
from proxy.ledger.capacity_schema import capacity_minutes, capacity_shares
from proxy.ledger.database import reading
from proxy.ledger.schema import entries
from proxy.reports.calls import GROUPS
from proxy.reports.capacity.compared_prices import compared_prices
from proxy.times import MINUTE_US, BadQuestion

_SUMMED = (
    "time_us", "cost_nanousd", "busy_nanousd", "idle_nanousd", "outside_nanousd", "busy_us", "calls_us", "unobserved_us",
    "requests", "input_tokens", "cache_read_tokens", "output_tokens", "input_nanousd", "saved_nanousd",
)  # fmt: skip
_MOST_NAMES = 8
_SERVER_SUMS = (*(name for name in COUNTERS if name != "millijoules"), "untold")
_SERVER_MEANS = GAUGES


@frozen
class Compared:
    """One model that the same tokens are priced at; None where the book has no price for them."""

    model: str
    nanousd: int | None


@slotted
class Level:
    """All that ran while so many calls ran at once."""

    time_us: int = 0
    nanousd: int = 0
    input: int = 0
    output: int = 0


@slotted
class Group:
    """What the calls of one group had."""

    requests: int = 0
    nanousd: int = 0
    millijoules: int | None = 0
    tokens: Tokens = field(default_factory=Tokens)


@slotted
class CapacityReport:
    """One capacity in one span. sums: by the names of the minutes' columns. millijoules: busy, idle; None is unknown.

    minutes: how many are in it; metered: how many have a known energy. provisional_since: minutes from there on are not closed.
    server: what its counters came to, and (`minutes`) in how many it could be asked. weights: input to output, the last ones.
    """

    name: str
    since: int | None
    until: int | None
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_SUMMED, 0))
    millijoules: list[int] = field(default_factory=lambda: [0, 0])
    minutes: int = 0
    metered: int = 0
    sources: set[str] = field(default_factory=set)
    server: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    levels: dict[int, Level] = field(default_factory=dict)
    weights: Weights = field(default_factory=Weights)
    groups: dict[tuple[str | None, ...], Group] = field(default_factory=dict)
    compared: list[Compared] = field(default_factory=list)
    grams_per_kwh: float | None = None
    provisional_since: int | None = None

    @property
    def tokens(self) -> Tokens:
        return Tokens(*(self.sums[name] for name in ("input_tokens", "cache_read_tokens", "output_tokens")))

    @property
    def whole_nanousd(self) -> int:
        """What our calls cost with the time that nobody used."""
        return self.sums["busy_nanousd"] + self.sums["idle_nanousd"]

    def mean(self, name: str) -> float | None:
        """Of one of the server's gauges, over the minutes in which it said it; None where it did not."""
        minutes = self.server.get(f"{name}_minutes")
        return self.server[name] / minutes if minutes else None

    @property
    def energy_millijoules(self) -> int | None:
        """None where that of some minute is unknown."""
        return sum(self.millijoules) if self.minutes and self.metered == self.minutes else None

    @property
    def co2e_g(self) -> float | None:
        energy = self.energy_millijoules
        return None if energy is None or self.grams_per_kwh is None else grams(energy, self.grams_per_kwh)


def capacity_report(
    engine: Engine,
    row: Capacity,
    since: int | None,
    until: int | None,
    *,
    now: int,
    book: Book,
    by: Sequence[str] = (),
) -> CapacityReport:
    """Raises `BadQuestion` for names that cannot be grouped by. Empty where the books have not begun."""
    if len(by) > _MOST_NAMES or any(name not in GROUPS for name in by) or len(set(by)) < len(by):
        raise BadQuestion(f"a capacity is grouped by some of {', '.join(GROUPS)}, each once")
    report = CapacityReport(row.name, since, until, grams_per_kwh=row.grams_per_kwh())
    with reading(engine).connect() as connection:
        books = read_books(connection, row.name)
        if books is not None:
            begin = books.since_at if since is None else since
            report.since = since = begin - begin % MINUTE_US
            until = now if until is None else min(until, now)
            if until < now:
                until -= until % MINUTE_US
            report.until = until
            _add_closed(connection, report, since, until)
            outcome = None
            if until > books.closed_until and books.ended_at is None:
                report.provisional_since = max(since, books.closed_until)
                outcome = _open_minutes(connection, row, report, since, until)
            if by:
                _add_groups(connection, report, by, outcome, since, until)
        prices = compared_prices(book, row.compare, now // 1_000_000)
        priced = prices.nanousd(report.tokens, _long_calls(connection, report, prices.cuts))
    report.compared = [Compared(model, priced.get(model)) for model in row.compare]
    return report


def _long_calls(connection: Connection, report: CapacityReport, cuts: Sequence[float]) -> list[tuple[float, Tokens]]:
    """The tokens of the span's calls with contexts beyond the first of `cuts`, by the last that each is beyond."""
    if not cuts or report.since is None or report.until is None:
        return []
    e = entries.c
    fresh = e.input_tokens + e.cache_write_5m_tokens + e.cache_write_30m_tokens + e.cache_write_1h_tokens
    size = fresh + e.cache_read_tokens
    band = sa.case(*((size > cut, cut) for cut in reversed(cuts)))
    tokens = (sa.func.sum(fresh), sa.func.sum(e.cache_read_tokens), sa.func.sum(e.output_tokens + e.reasoning_tokens))
    query = sa.select(band, *tokens).where(
        e.capacity == report.name, e.started_at >= report.since, e.started_at < report.until, size > cuts[0]
    )
    return [(int(cut) + 1, Tokens(*map(int, sums))) for cut, *sums in connection.execute(query.group_by(band))]


def closed_report(connection: Connection, name: str, since: int, until: int) -> CapacityReport:
    """What the closed minutes of a span come to, without groups and comparison."""
    report = CapacityReport(name, since, until)
    _add_closed(connection, report, since, until)
    return report


# Minutes


def _add_closed(connection: Connection, report: CapacityReport, since: int, until: int) -> None:
    c = capacity_minutes.c
    where = (c.capacity == report.name, c.minute_at >= since, c.minute_at < until)
    sums = [sa.func.coalesce(sa.func.sum(c[name]), 0) for name in _SUMMED]
    energy = [sa.func.coalesce(sa.func.sum(c[name]), 0) for name in ("busy_millijoules", "idle_millijoules")]
    counts = (sa.func.count(), sa.func.count(c.busy_millijoules))
    row = connection.execute(sa.select(*counts, *energy, *sums).where(*where)).one()
    report.minutes, report.metered = int(row[0]), int(row[1])
    report.millijoules = [int(row[2]), int(row[3])]
    for name, value in zip(_SUMMED, row[4:], strict=True):
        report.sums[name] = int(value)
    report.sources |= set(connection.execute(sa.select(c.energy_source).where(*where).distinct()).scalars()) - {None}
    details = sa.select(c.levels, c.server, c.weights).where(
        *where, sa.or_(c.levels.is_not(None), c.server.is_not(None))
    )
    for levels, server, weights in connection.execute(details.order_by(c.minute_at)):
        _add_levels(report, orjson.loads(levels) if levels else ())
        _add_server(report, orjson.loads(server) if server else {})
        if weights:
            report.weights = Weights(*orjson.loads(weights))


def _add_levels(report: CapacityReport, levels: Sequence[Sequence[int]]) -> None:
    for calls, time_us, nanousd, read, written in levels:
        level = report.levels.setdefault(calls, Level())
        level.time_us += time_us
        level.nanousd += nanousd
        level.input += read
        level.output += written


def _add_server(report: CapacityReport, server: Mapping[str, float]) -> None:
    """Sums are added up; of the gauges' means, each minute counts the same."""
    if not server:
        return
    report.server["minutes"] += 1
    for name in (*_SERVER_SUMS, *_SERVER_MEANS):
        if name in server:
            report.server[name] += server[name]
            if name in _SERVER_MEANS:
                report.server[f"{name}_minutes"] += 1


def _open_minutes(
    connection: Connection, row: Capacity, report: CapacityReport, since: int, until: int
) -> Outcome | None:
    """What the minutes that are not closed yet come to, as far as is known; those of the span are added."""
    books = read_books(connection, row.name)
    if books is None:
        return None
    known = [
        life._replace(until_at=max(life.until_at, until))
        if until - life.until_at < ALIVE_US
        else life  # it will say so
        for life in lives(connection, books.closed_until - MINUTE_US)
    ]
    outcome = work_out(connection, books, row.terms(), until, known)
    for closed, began in outcome.minutes:
        made = closed.split
        if made.start < since:
            continue
        report.minutes += 1
        values = (
            made.end - made.start, made.cost, made.busy, made.idle, made.outside, made.busy_us, made.calls_us,
            made.unobserved_us, began, *made.tokens, made.input_nanousd, made.saved_nanousd,
        )  # fmt: skip
        for name, value in zip(_SUMMED, values, strict=True):
            report.sums[name] += value
        if made.power is not None:
            report.metered += 1
            report.sources.add("meter" if made.power.metered else "estimated")
            report.millijoules[0] += made.power.busy
            report.millijoules[1] += made.power.idle
        _add_levels(report, made.levels)
        _add_server(report, closed.server)
        if closed.weights.measured:
            report.weights = closed.weights
    for late in outcome.lates:
        if since <= late.minute_at < until:
            _add_late(report, late)
    return outcome


def _add_late(report: CapacityReport, late: LateInMinute) -> None:
    """What a call that came late will have of a minute that is closed, out of its idle time."""
    added = {
        "busy_nanousd": late.nanousd, "idle_nanousd": -late.nanousd, "busy_us": late.idle_us, "calls_us": late.time_us,
        "unobserved_us": -late.unobserved_us, "requests": int(late.began), "input_tokens": late.tokens.input,
        "cache_read_tokens": late.tokens.cache_read, "output_tokens": late.tokens.output,
    }  # fmt: skip
    for name, amount in added.items():
        report.sums[name] += amount


# Groups


def _add_groups(
    connection: Connection, report: CapacityReport, by: Sequence[str], outcome: Outcome | None, since: int, until: int
) -> None:
    """Calls that lie within the span with all of their share; of those that reach beyond it, what they had of its minutes."""
    names = [GROUPS[name].label(f"g{number}") for number, name in enumerate(by)]
    e = entries.c
    tokens = (
        sa.func.sum(e.input_tokens + e.cache_write_5m_tokens + e.cache_write_30m_tokens + e.cache_write_1h_tokens),
        sa.func.sum(e.cache_read_tokens),
        sa.func.sum(e.output_tokens + e.reasoning_tokens),
    )
    count = sa.func.sum(sa.case((e.kind == "attempt", 1), else_=0))
    unknown = sa.func.sum(
        sa.case((sa.and_(e.capacity_nanousd.is_not(None), e.energy_millijoules.is_(None)), 1), else_=0)
    )
    began = (e.capacity == report.name, e.started_at >= since, e.started_at < until)
    within = sa.case((e.ended_at <= until, e.capacity_nanousd), else_=None)
    energy = sa.case((e.ended_at <= until, e.energy_millijoules), else_=None)
    query = sa.select(*names, count, sa.func.sum(within), sa.func.sum(energy), unknown, *tokens).where(*began)
    for row in connection.execute(query.group_by(*names)):
        group = report.groups.setdefault(tuple(row[: len(by)]), Group())
        requests, nanousd, millijoules, dark, *counted = row[len(by) :]
        group.requests += int(requests or 0)
        group.nanousd += int(nanousd or 0)
        group.millijoules = None if dark else int(millijoules or 0)
        group.tokens = group.tokens.plus(Tokens(*(int(one or 0) for one in counted)))
    s = capacity_shares.c
    across = sa.or_(e.started_at < since, e.ended_at > until)
    edges = (
        sa.select(*names, sa.func.sum(s.nanousd), sa.func.sum(s.millijoules))
        .join_from(capacity_shares, entries, s.entry_id == e.id)
        .where(
            s.capacity == report.name,
            s.minute_at >= since,
            s.minute_at < until,
            across,
            e.capacity_nanousd.is_not(None),
        )
    )
    for row in connection.execute(edges.group_by(*names)):
        group = report.groups.setdefault(tuple(row[: len(by)]), Group())
        group.nanousd += int(row[-2] or 0)
        if group.millijoules is not None:
            group.millijoules += int(row[-1] or 0)
    for call in () if outcome is None else outcome.calls:
        _add_open(report, by, call, outcome, since, until)


_COLUMN = {"session": "root_session_id"}


def _add_open(
    report: CapacityReport, by: Sequence[str], call: Pending, outcome: Outcome | None, since: int, until: int
) -> None:
    """A call whose minutes are not all closed: what it had and will have of those in the span."""
    if outcome is None or call.charged:
        return
    run = call.run
    parts = [
        part
        for part in (*outcome.before.get(run.id, ()), *outcome.parts.get(run.id, ()))
        if since <= part.minute_at < until
    ]
    if parts:
        group = report.groups.setdefault(tuple(call.row[_COLUMN.get(name, name)] for name in by), Group())
        group.nanousd += sum(part.nanousd for part in parts)
        joules = [part.millijoules for part in parts]
        if group.millijoules is not None:
            group.millijoules = None if None in joules else group.millijoules + sum(one or 0 for one in joules)
