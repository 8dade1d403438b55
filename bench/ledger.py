"""A ledger with many entries: rows a second in, size, how long reports take, retention. Not part of `make bench`: it takes a while.

    python -m bench.ledger --entries 10000000 --database postgresql://user@/database?host=/socket/folder
    python -m bench.ledger --entries 10000000 --database sqlite:////tmp/big.db

A day of entries is shipped as the recorder ships them, which is the figure for rows in. The other days are copies of it, made
in the database: entries and roll-ups with their times (and the times in their ids) moved by whole days. Every report is asked for
several times; the median is shown, and that of the same report without roll-ups once, where there is time. In PostgreSQL the
entries have tables for their months, statements are counted where pg_stat_statements is there, and a month is dropped at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bench.machine import make_urgent, raise_group
from bench.many_entries import (
    BATCH,
    PRICES,
    ROLLUPS,
    START,
    copy_days,
    database_cpu_s,
    day,
    months_of_the_past,
    moved,
    ship,
)
from bench.whole_months import fill_months
from pricing.load import load_book
from pricing.operator import parse_rows
from proxy.config.plans import Plan
from proxy.config.reading import read_section
from proxy.ids import first_id
from proxy.ledger import partitions, schema
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import open_ledger
from proxy.ledger.recording.retention import delete_some, drop_months
from proxy.ledger.rollups.label_days import add_up_a_day
from proxy.ledger.rollups.label_parts import add_up_a_part
from proxy.reports import calls as queries
from proxy.reports import overview
from proxy.reports.explain.answer import ExplainQuestion, explain_answer
from proxy.reports.focus.rows import FocusQuestion, focus_answer
from proxy.reports.margin.answer import margin_answer
from proxy.reports.margin.margin import Question
from proxy.reports.month.answer import month_answer
from proxy.reports.month.charged import MonthQuestion
from proxy.reports.months import month_named
from proxy.reports.reconcile.answer import ReconcileQuestion, reconcile_answer
from proxy.reports.sessions import sessions
from proxy.reports.spend import spend
from proxy.reports.what_if.alternatives import Change
from proxy.reports.what_if.answer import what_if_answer
from proxy.times import DAY_US, HOUR_US


class Took(NamedTuple):
    """Milliseconds: the median; and of CPU, here and in the database together."""

    wall_ms: float
    cpu_ms: float

    def __str__(self) -> str:
        return f"{self.wall_ms:>9.0f} ms, CPU {self.cpu_ms:>7.0f} ms"


def timed(engine: Engine, ask: Callable[[], object], times: int = 5) -> Took:
    """Asked so many times."""
    walls, before, cpu = [], database_cpu_s(engine), time.process_time()
    for _ in range(times):
        begun = time.perf_counter()
        ask()
        walls.append((time.perf_counter() - begun) * 1000)
    spent = time.process_time() - cpu + (database_cpu_s(engine) or 0.0) - (before or 0.0)
    return Took(statistics.median(walls), spent * 1000 / times)


def main() -> None:
    parser = argparse.ArgumentParser(description="A ledger with many entries.")
    parser.add_argument("--database", required=True, metavar="URL", help="an empty one, but for --reports and --verify")
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=100, help="over which they are spread evenly")
    parser.add_argument("--batch", type=int, default=BATCH, help="entries that are shipped together")
    parser.add_argument("--entries-too", action="store_true", help="time the same reports without roll-ups")
    parser.add_argument("--reports", action="store_true", help="only the reports, of a ledger that was made before")
    parser.add_argument("--slow", action="store_true", help="FOCUS and reconcile, too: half a minute a million entries")
    parser.add_argument("--retention", action="store_true", help="only drop a month of a ledger that was made before")
    parser.add_argument("--write", action="store_true", help="only ship a day more to a ledger that was made before")
    parser.add_argument(
        "--urgent", action="store_true", help="before other programs of a busy machine, sessions too (root)"
    )
    parser.add_argument("--verify", action="store_true", help="only audit a ledger that was made before")
    given = parser.parse_args()
    if given.verify:
        audit(given.database)
        return
    engine = open_ledger(given.database)
    if given.urgent:
        make_urgent()
        sa.event.listen(engine, "connect", _make_session_urgent)
        engine.dispose()  # those that are open
    days = given.days
    if given.write:
        write(engine, days, given.batch)
        return
    if given.retention:
        retain(engine, days)
        return
    if not given.reports:
        fill(engine, days, given.entries // days, given.batch)
    count_statements(engine)
    report(engine, days, entries_too=given.entries_too)
    questions(engine, days, slow=given.slow)
    tell_statements(engine)
    if not given.reports:
        retain(engine, days)
    engine.dispose()


def _make_session_urgent(connection: Any, _: object) -> None:
    raise_group(connection.info.backend_pid)


def write(engine: Engine, days: int, batch: int) -> None:
    """60,000 entries of a day behind the others, three times."""
    made = list(day(60_000))
    gc.freeze()
    for number in range(3):
        print(
            f"shipped behind the others, {batch} a batch: {ship(engine, moved(made, days + 1 + number), batch)}",
            flush=True,
        )


def fill(engine: Engine, days: int, day_entries: int, batch: int) -> None:
    months_of_the_past(engine, days)
    made = list(day(day_entries))
    gc.freeze()  # else each collection walks through a gigabyte of them
    print(f"shipped, {batch} a batch: {ship(engine, made, batch)}")
    begun = time.perf_counter()
    while add_up_a_day(engine, ["plan"], START + DAY_US + HOUR_US) or add_up_a_part(
        engine, ["plan"], START + DAY_US + HOUR_US
    ):
        pass
    print(f"a day added up by label, and by three hours, in {time.perf_counter() - begun:.1f} s")
    begun = time.perf_counter()
    names = ROLLUPS
    if engine.dialect.name == "postgresql":
        fill_months(engine, days)
    else:
        names = ("entries", *ROLLUPS)
    copy_days(engine, days, names)
    took = time.perf_counter() - begun
    print(f"copied in {took:.0f} s, {(days - 1) * day_entries / took:,.0f} entries a second")
    print(f"shipped behind the others: {ship(engine, moved(made, days), batch)}")
    size = size_of(engine)
    print(
        f"{size / 2**30:.2f} GiB, {size / (days + 1) / day_entries:,.0f} bytes an entry, all tables and indexes together"
    )


def size_of(engine: Engine) -> int:
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            return int(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())
    return Path(str(engine.url.database)).stat().st_size


def retain(engine: Engine, days: int) -> None:
    """Keep all but the first month; then one day less."""
    with engine.connect() as connection:
        there = partitions.partitions(connection)
        first = there[0].until if there else first_id(START + 30 * DAY_US)
    kept_since = int(first.replace("-", ""), 16) * 1000
    now = START + days * DAY_US
    keep_days = (now - kept_since) // DAY_US
    begun = time.perf_counter()
    dropped = drop_months(engine, keep_days, now)
    print(f"retention dropped {', '.join(dropped) or 'nothing'} in {time.perf_counter() - begun:.1f} s")
    begun, count = time.perf_counter(), 0
    while count < 20_000 and (deleted := delete_some(engine, keep_days - 1, now)):
        count += deleted
    print(f"retention deleted {count:,} entries of the next day, {count / (time.perf_counter() - begun):,.0f} a second")
    begun = time.perf_counter()
    print(f"{size_of(engine) / 2**30:.2f} GiB after it")


def count_statements(engine: Engine) -> None:
    """From here on, where the database does."""
    with contextlib.suppress(sa.exc.SQLAlchemyError), engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_stat_statements_reset()"))


def tell_statements(engine: Engine) -> None:
    """What took longest in the database, of all that was asked since."""
    query = (
        "SELECT calls, mean_exec_time, rows / calls, shared_blks_hit + shared_blks_read, query FROM pg_stat_statements "
        "JOIN pg_database d ON d.oid = dbid WHERE d.datname = current_database() ORDER BY mean_exec_time DESC LIMIT 12"
    )
    with contextlib.suppress(sa.exc.SQLAlchemyError), engine.connect() as connection:
        for calls, mean, rows, blocks, text in connection.execute(sa.text(query)):
            print(f"{mean:>9.1f} ms  {calls} x, {rows:,} rows, {blocks:,} blocks: {' '.join(text.split())[:150]}")


def audit(url: str) -> None:
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        found = verify(url, Path(scratch))
    took = time.perf_counter() - begun
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"verified {found.counted['entries'] / took:,.0f} entries a second, {most:.0f} MiB of memory: {found.difference}"
    )


def questions(engine: Engine, days: int, *, slow: bool) -> None:
    """The named reports, of the month that ends with the entries and of all of them, each with the most memory so far."""
    book, end = load_book().with_operator(parse_rows([{"model": "*", **PRICES}])[0]), START + days * DAY_US
    plans = [read_section(Plan, {"name": "pro", "match": {"label.plan": "pro"}, "usd_per_month": 20})]
    zone, day = ZoneInfo("UTC"), f"{datetime.fromtimestamp(end / 1e6 - 20 * 86_400, UTC):%Y-%m}"
    costs = json.dumps({"data": [
        {"start_time": (START + n * DAY_US) // 1_000_000, "results": [
            {"amount": {"value": 1, "currency": "usd"}, "line_item": "model-1, input", "quantity": 1000, "quantity_unit": "tokens"}
        ]} for n in range(days)
    ]})  # fmt: skip
    for since, text in ((end - 30 * DAY_US, "30 days"), (START, f"{days} days")):
        month = MonthQuestion(month_named(day, zone), ("label.plan",), Decimal(0), None, zone)
        explained = ExplainQuestion(("label.plan", "model"), (since + end) // 2, end, (since, (since + end) // 2))
        by_label = Question(("label.plan",), since, end)
        asked: dict[str, Callable[[], object]] = {
            "margin by customer": partial(margin_answer, engine, plans, Question(since=since, until=end), end),
            "margin by label": partial(margin_answer, engine, plans, by_label, end),
            "explain by label": partial(explain_answer, engine, book, explained, end),
            "month by label": partial(month_answer, engine, month, end),
            "what-if": partial(what_if_answer, engine, book, Change(tier="batch"), since, end, {}, end),
            "focus": partial(focus_answer, engine, FocusQuestion(since=since, until=end), end),
            "reconcile": partial(
                reconcile_answer, engine, book, ReconcileQuestion("provider-1", costs, since, end), end
            ),
        }
        for name, ask in asked.items():
            if name in ("focus", "reconcile") and not slow:
                continue
            took = timed(engine, ask, 1)
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{took}  {name}, {text}; {most:.0f} MiB", flush=True)


def rows_of(connection: sa.Connection, name: str) -> int:
    """PostgreSQL's own estimate, where it has one: to count a hundred million takes minutes."""
    if connection.dialect.name == "postgresql":
        known = "SELECT sum(reltuples)::bigint FROM pg_class WHERE relkind = 'r' AND (relname = :name OR relname LIKE :months)"
        months = f"{name}\\_%" if name == "entries" else name
        return int(connection.execute(sa.text(known), {"name": name, "months": months}).scalar() or 0)
    return int(connection.execute(sa.select(sa.func.count()).select_from(schema.metadata.tables[name])).scalar_one())


def report(engine: Engine, days: int, *, entries_too: bool) -> None:
    end = START + days * DAY_US
    odd = 12_345_678_901
    with engine.connect() as connection:
        for name in (
            "entries",
            "spend_hours",
            "spend_days",
            "spend_people_days",
            "spend_people_weeks",
            "spend_label_days",
            "spend_sessions",
        ):
            print(f"{rows_of(connection, name):>12,} rows in {name}")
    for by, since, until in (
        ([], None, None),
        (["team", "model"], None, None),
        (["team", "model"], START + odd, end - odd),
        (["key", "model", "day"], end - 30 * DAY_US, None),
        (["hour", "team"], end - 7 * DAY_US + odd, None),
        (["customer"], None, None),
        (["customer", "model"], end - 30 * DAY_US - odd, None),
        (["session"], end - DAY_US - odd, None),
        (["label.plan"], end - DAY_US, None),
        (["label.plan"], None, None),
        (["customer", "label.plan"], None, None),
    ):
        took = timed(engine, lambda: spend(engine, by, since, until))  # noqa: B023 - called at once
        slow = timed(engine, lambda: spend(engine, by, since, until, rolled=False), 1) if entries_too else None  # noqa: B023
        span = f"{((until or end) - (since or START)) / DAY_US:.1f} days"
        print(f"{took}  spend by {','.join(by) or 'nothing'}, {span}" + (f"; from entries {slow}" if slow else ""))
    print(f"{timed(engine, lambda: sessions(engine, limit=50, since=None, until=None))}  the latest 50 sessions")
    print(f"{timed(engine, lambda: sessions(engine, limit=50, since=end - DAY_US - odd, until=None))}  … of a day")
    lists = {"limit": 50, "before": None, "since": None, "until": None}
    print(f"{timed(engine, lambda: queries.requests(engine, filters={}, **lists))}  the latest 50 calls")
    print(f"{timed(engine, lambda: overview.spent_by_time(engine, end, HOUR_US, 24))}  the page's day by hours")


if __name__ == "__main__":
    main()
