"""The books of a capacity: each of its minutes once, and what each call had of them.

A minute is closed when every call that touched it is in the ledger (`watch.py`), in the order of time, in one transaction with
the shares of its calls and the place where the next one begins; so whoever closes it, however often it is tried, it is in the
books once. What is in them stays: a call that is known later has of a closed minute only what was idle in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pricing.values import frozen, slotted
from proxy.capacity.closing import Carried, Closed, close, late
from proxy.capacity.runs import Run, Tokens, tokens_within
from proxy.capacity.server_metrics import Increase
from proxy.capacity.split import Shared, Span, Terms
from proxy.ledger.beside.export_log import CAPACITY, note
from proxy.ledger.capacity.calls import Pending, pending
from proxy.ledger.capacity.totals import Prices, Totals, add_to_share
from proxy.ledger.capacity.watch import Life, lives, observed
from proxy.ledger.capacity_schema import capacities, capacity_minutes, capacity_samples, capacity_shares
from proxy.ledger.database import writing
from proxy.ledger.rollups.sums import Counted
from proxy.ledger.rollups.writing import Rolling, columns_of, counted
from proxy.ledger.schema import TOKEN_COLUMNS, entries
from proxy.times import MINUTE_US, now_us

MINUTES_AT_ONCE = 240
_LOOK_UP = 500


@frozen
class Books:
    """Where a capacity's books stand: a row of `capacities`. ended_at: since when it is in no configuration."""

    name: str
    since_at: int
    closed_until: int
    ended_at: int | None
    totals: Mapping[str, Any]
    carried: Carried


class Part(NamedTuple):
    """What a call had of a minute. metered: whether a meter said so; None where energy is unknown."""

    minute_at: int
    nanousd: int
    millijoules: int | None
    metered: bool | None

    def nothing(self) -> Part:
        """Nothing of it, where something was known."""
        return self._replace(nanousd=0, millijoules=None if self.millijoules is None else 0)


class LateInMinute(NamedTuple):
    """What a call that came late takes of a minute that is closed. unobserved_us: of that, time in which nobody looked."""

    entry_id: str
    minute_at: int
    time_us: int
    idle_us: int
    nanousd: int
    unobserved_us: int
    tokens: Tokens
    began: bool


@slotted
class Outcome:
    """What closing comes to: minutes in their order, how many calls began in each, and what each call had of them."""

    until: int
    minutes: list[tuple[Closed, int]] = field(default_factory=list)
    lates: list[LateInMinute] = field(default_factory=list)
    parts: dict[str, list[Part]] = field(default_factory=lambda: defaultdict(list))
    calls: list[Pending] = field(default_factory=list)
    before: dict[str, list[Part]] = field(default_factory=lambda: defaultdict(list))
    carried: Carried = field(default_factory=Carried)

    def finished(self) -> Iterator[tuple[Pending, list[Part]]]:
        """The calls of which everything is known, with all that they had."""
        for call in self.calls:
            if call.run.end <= self.until:
                had = [*self.before.get(call.run.id, ()), *self.parts.get(call.run.id, ())]
                yield call, [part.nothing() for part in had] if call.charged else had

    @property
    def runs(self) -> list[Run]:
        """How the calls ran, each once."""
        return [call.run for call in self.calls if not call.charged]


def read_books(connection: Connection, name: str, *, locked: bool = False) -> Books | None:
    query = sa.select(capacities).where(capacities.c.name == name)
    row = connection.execute(query.with_for_update() if locked else query).first()
    if row is None:
        return None
    written = orjson.loads(row.carried)  # by a newer release, maybe, that shares the database
    carried = Carried(**{name: value for name, value in written.items() if name in Carried._fields})
    return Books(row.name, row.since_at, row.closed_until, row.ended_at, orjson.loads(row.totals), carried)


def open_books(connection: Connection, name: str, now: int) -> None:
    """Begin them, unless they are begun; where the capacity had been taken out of every configuration, they go on from now."""
    books = read_books(connection, name)
    begin = {"since_at": now, "closed_until": now - now % MINUTE_US, "ended_at": None}
    if books is None:
        row = begin | {"name": name, "keeper_until": 0, "totals": "{}", "carried": "{}"}
        connection.execute(sa.insert(capacities).values(**row))
    elif books.ended_at is not None and books.closed_until <= now:
        connection.execute(sa.update(capacities).where(capacities.c.name == name).values(**begin))


def end_books(connection: Connection, names: Sequence[str], now: int, unkept_since: int) -> None:
    """Books that nobody keeps any more, as nobody has their capacity in its configuration, end; what was not closed by then is
    not in them."""
    c = capacities.c
    gone = sa.update(capacities).where(c.ended_at.is_(None), c.name.not_in(names), c.keeper_until < unkept_since)
    connection.execute(gone.values(ended_at=now))


def keep(connection: Connection, name: str, instance: str, now: int, until: int) -> bool:
    """Whether this instance closes the minutes, until then: one does at a time."""
    c = capacities.c
    free = sa.or_(c.keeper == instance, c.keeper_until < now, c.keeper.is_(None))
    taken = sa.update(capacities).where(c.name == name, free).values(keeper=instance, keeper_until=until)
    return connection.execute(taken).rowcount == 1


def close_minutes(
    engine: Engine, name: str, terms: Terms, until: int, *, elsewhere: Prices | None = None, instance: str = ""
) -> Outcome | None:
    """Close some of the minutes before `until`; None where there is none to close. instance: who does it."""
    with writing(engine).begin() as connection:
        books = read_books(connection, name, locked=True)
        if books is None:
            return None
        instance_lives = lives(connection, books.closed_until - MINUTE_US)
        until = min(until - until % MINUTE_US, books.closed_until + MINUTES_AT_ONCE * MINUTE_US)
        if until <= books.closed_until:
            return None
        outcome = work_out(connection, books, terms, until, instance_lives)
        totals = _write(connection, engine, books, outcome, elsewhere)
        add_to_share(connection, engine, instance, name, books.totals, totals)
    return outcome


def work_out(connection: Connection, books: Books, terms: Terms, until: int, instance_lives: Sequence[Life]) -> Outcome:
    """What closing would come to, up to `until`; only reads. The last minute may be one that is not over."""
    outcome = Outcome(until, calls=pending(connection, books.name, until, instance_lives), carried=books.carried)
    _read_parts(connection, outcome, books)
    _work_out_late(connection, outcome, books)
    samples = _samples(connection, books.name)
    seen = observed(instance_lives)
    begun = sorted(outcome.runs, key=lambda run: run.start)
    running: list[Run] = []
    position = 0
    for at in range(books.closed_until, until, MINUTE_US):
        minute = Span(max(at, books.since_at), min(at + MINUTE_US, until))
        if minute.start >= minute.end:
            continue
        running = [run for run in running if run.end > minute.start]
        began = 0
        while position < len(begun) and begun[position].start < minute.end:
            run = begun[position]
            position += 1
            began += run.start >= at
            if run.end > minute.start:
                running.append(run)
        closed, outcome.carried = close(minute, terms, running, samples.get(at, ()), seen, outcome.carried)
        outcome.minutes.append((closed, began))
        for entry_id, shared in closed.split.shares.items():
            outcome.parts[entry_id].append(_part(at, shared, closed))
    return outcome


def _part(minute_at: int, shared: Shared, closed: Closed) -> Part:
    power = closed.split.power
    return Part(minute_at, shared.nanousd, shared.millijoules, None if power is None else power.metered)


def _read_parts(connection: Connection, outcome: Outcome, books: Books) -> None:
    """What calls that go on had of the minutes before."""
    ids = [run.id for run in outcome.runs if run.start < books.closed_until]
    for first in range(0, len(ids), _LOOK_UP):
        query = sa.select(capacity_shares).where(capacity_shares.c.entry_id.in_(ids[first : first + _LOOK_UP]))
        for row in connection.execute(query.order_by(capacity_shares.c.minute_at)):
            metered = None if row.millijoules is None else bool(row.metered)
            outcome.before[row.entry_id].append(Part(row.minute_at, row.nanousd, row.millijoules, metered))


def _work_out_late(connection: Connection, outcome: Outcome, books: Books) -> None:
    """Calls that were not known when their minutes were closed: in the order of their ids, each has of the idle time that is
    left."""
    idle: dict[int, list[int]] = {}
    for run in outcome.runs:
        if run.start >= books.closed_until or run.id in outcome.before:
            continue
        first = run.start - run.start % MINUTE_US
        c = capacity_minutes.c
        query = sa.select(c.minute_at, c.time_us, c.busy_us, c.idle_nanousd, c.unobserved_us).where(
            c.capacity == books.name, c.minute_at >= first, c.minute_at < min(run.end, books.closed_until)
        )
        for row in connection.execute(query.order_by(c.minute_at)):
            left = idle.setdefault(row.minute_at, [row.time_us - row.busy_us, row.idle_nanousd, row.unobserved_us])
            minute = Span(row.minute_at, row.minute_at + MINUTE_US)
            had = late(run, minute, idle_us=left[0], idle_nanousd=left[1])
            unobserved = min(left[2], had.idle_us)
            left[:] = left[0] - had.idle_us, left[1] - had.nanousd, left[2] - unobserved
            tokens, began = tokens_within(run, *minute), run.start >= row.minute_at
            outcome.lates.append(LateInMinute(run.id, row.minute_at, *had, unobserved, tokens, began))
            outcome.parts[run.id].append(Part(row.minute_at, had.nanousd, None, None))


def _samples(connection: Connection, capacity: str) -> dict[int, list[Increase]]:
    """Those of the instance that looked longest, of each minute: two that look see the same."""
    best: dict[int, list[Increase]] = {}
    for row in connection.execute(sa.select(capacity_samples).where(capacity_samples.c.capacity == capacity)):
        samples = [Increase(*sample[: len(Increase._fields)]) for sample in orjson.loads(row.samples)]
        if _seen_us(samples) > _seen_us(best.get(row.minute_at, ())):
            best[row.minute_at] = samples
    return best


def _seen_us(samples: Sequence[Increase]) -> int:
    return sum(sample.end - sample.start for sample in samples)


# Writing


def _write(
    connection: Connection, engine: Engine, books: Books, outcome: Outcome, elsewhere: Prices | None
) -> dict[str, Any]:
    """The sums since then."""
    totals = Totals(books.totals, elsewhere)
    if outcome.minutes:
        rows = [_minute_row(books.name, closed, began) for closed, began in outcome.minutes]
        connection.execute(sa.insert(capacity_minutes), rows)
    for change in outcome.lates:
        _write_late(connection, books.name, change)
        totals.add_late(change.nanousd, change.tokens)
    for closed, _ in outcome.minutes:
        totals.add_minute(closed)
    for run in (call.run for call, _ in outcome.finished() if not call.charged):
        totals.add_call(Tokens(run.input, run.cache_read, run.output))
    shared = _write_parts(connection, engine, books.name, outcome)
    c = capacities.c
    values = {
        "closed_until": outcome.until,
        "totals": orjson.dumps(totals.stored()).decode(),
        "carried": orjson.dumps(outcome.carried._asdict()).decode(),
    }
    connection.execute(sa.update(capacities).where(c.name == books.name).values(**values))
    s = capacity_samples.c
    connection.execute(sa.delete(capacity_samples).where(s.capacity == books.name, s.minute_at < outcome.until))
    note(connection, [(entry_id, CAPACITY) for entry_id in shared], now_us())
    return totals.stored()


def _minute_row(capacity: str, closed: Closed, began: int) -> dict[str, Any]:
    made = closed.split
    power = made.power
    return {
        "capacity": capacity,
        "minute_at": made.start - made.start % MINUTE_US,
        "time_us": made.end - made.start,
        "cost_nanousd": made.cost,
        "busy_nanousd": made.busy,
        "idle_nanousd": made.idle,
        "outside_nanousd": made.outside,
        "late_nanousd": 0,
        "busy_us": made.busy_us,
        "calls_us": made.calls_us,
        "unobserved_us": made.unobserved_us,
        "requests": began,
        "input_tokens": made.tokens.input,
        "cache_read_tokens": made.tokens.cache_read,
        "output_tokens": made.tokens.output,
        "input_nanousd": made.input_nanousd,
        "saved_nanousd": made.saved_nanousd,
        "busy_millijoules": None if power is None else power.busy,
        "idle_millijoules": None if power is None else power.idle,
        "energy_source": source_of(None if power is None else power.metered),
        "weights": orjson.dumps(tuple(closed.weights)).decode() if closed.weights.measured else None,
        "server": orjson.dumps(closed.server).decode() if closed.server else None,
        "levels": orjson.dumps([tuple(level) for level in made.levels]).decode() if made.levels else None,
    }


def source_of(metered: bool | None) -> str | None:
    """Where energy comes from, in the ledger's words."""
    return None if metered is None else "meter" if metered else "estimated"


def _write_late(connection: Connection, capacity: str, late: LateInMinute) -> None:
    c = capacity_minutes.c
    changed = sa.update(capacity_minutes).where(c.capacity == capacity, c.minute_at == late.minute_at)
    connection.execute(
        changed.values(
            idle_nanousd=c.idle_nanousd - late.nanousd,
            busy_nanousd=c.busy_nanousd + late.nanousd,
            late_nanousd=c.late_nanousd + late.nanousd,
            busy_us=c.busy_us + late.idle_us,
            calls_us=c.calls_us + late.time_us,
            unobserved_us=c.unobserved_us - late.unobserved_us,
            requests=c.requests + int(late.began),
            input_tokens=c.input_tokens + late.tokens.input,
            cache_read_tokens=c.cache_read_tokens + late.tokens.cache_read,
            output_tokens=c.output_tokens + late.tokens.output,
        )
    )


def _write_parts(connection: Connection, engine: Engine, capacity: str, outcome: Outcome) -> list[str]:
    """Each finished call gets its share, once (their ids); of calls of several minutes, what each had is kept."""
    several, shares = [], []
    rolled: list[Counted] = []
    for call in outcome.calls:
        row = call.row
        ended_at = max(row["started_at"], row["ended_at"] - 1, call.run.end - 1)
        if not call.charged and row["started_at"] // MINUTE_US != ended_at // MINUTE_US:
            several += [
                (call.run.id, part.minute_at, capacity, part.nanousd, part.millijoules, part.metered)
                for part in outcome.parts.get(call.run.id, ())
            ]
    for call, parts in outcome.finished():
        nanousd = sum(part.nanousd for part in parts)
        joules = [part.millijoules for part in parts]
        has_energy = bool(joules) and None not in joules
        source = source_of(all(part.metered for part in parts)) if has_energy else None
        shares.append((nanousd, sum(one or 0 for one in joules) if has_energy else None, source, call.row["id"]))
        rolled.append(share_row(call.row, nanousd))
    if several:
        connection.execute(
            sa.insert(capacity_shares),
            [dict(zip(capacity_shares.c.keys(), row, strict=True)) for row in several],
        )
    if shares:
        mark = "?" if engine.dialect.name == "sqlite" else "%s"
        connection.exec_driver_sql(
            f"UPDATE entries SET capacity_nanousd = {mark}, energy_millijoules = {mark}, energy_source = {mark}"  # noqa: S608 - our own names
            f" WHERE id = {mark}",
            shares,
        )
        Rolling(engine.dialect).add(connection, columns_of(rolled))
    return [entry_id for *_, entry_id in shares]


_NO_TOKENS = dict.fromkeys(TOKEN_COLUMNS.values(), 0)


def share_row(row: Mapping[str, Any], nanousd: int) -> Counted:
    """What a call's share adds to the roll-ups: nothing but itself."""
    share = {"kind": "share", "usage": None, "cost_nanousd": None, "capacity_nanousd": nanousd}
    return counted({**row, **_NO_TOKENS, **share})


def shares_of_deleted(connection: Connection, before: int) -> None:
    """Forget what calls had of single minutes that are older than any entry."""
    kept = sa.exists().where(entries.c.id == capacity_shares.c.entry_id)
    connection.execute(sa.delete(capacity_shares).where(capacity_shares.c.minute_at < before, ~kept))
