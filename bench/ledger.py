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
import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pricing.load import load_book
from pricing.money import to_nanousd
from pricing.operator import parse_rows
from proxy.config.plans import Plan
from proxy.control.metrics.series import MetricState
from proxy.ids import Ids, first_id
from proxy.ledger import partitions, schema
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.entries import Batch, Entry, entry_of
from proxy.ledger.label_days import add_up_a_day
from proxy.ledger.retention import delete_some, drop_months
from proxy.ledger.rollups import DAY_US, HOUR_US, WEEK_US, digest
from proxy.ledger.shipping import BATCH_NUMBER, Positions, Shipper
from proxy.reports import calls as queries
from proxy.reports import overview
from proxy.reports.alternatives import Change
from proxy.reports.explain import ExplainQuestion, explain_answer
from proxy.reports.focus_rows import FocusQuestion, focus_answer
from proxy.reports.margin import Question
from proxy.reports.margin_answer import margin_answer
from proxy.reports.month import MonthQuestion
from proxy.reports.month_answer import month_answer
from proxy.reports.months import month_named
from proxy.reports.reconcile_answer import ReconcileQuestion, reconcile_answer
from proxy.reports.sessions import sessions
from proxy.reports.spend import spend
from proxy.reports.what_if import what_if_answer

DAY_ENTRIES = 100_000
BATCH = 1000
START = 1_795_392_000_000_000 - 400 * DAY_US
PRICES = {"input": "2.5", "cache_read": "0.25", "output": "10"}
MODELS = [f"model-{number}" for number in range(12)]


def day() -> Iterator[Entry]:
    """50 keys of 10 teams, 3 models and 20 customers each; sessions of about 10 calls."""
    chance, ids = random.Random(1), Ids()
    for number in range(DAY_ENTRIES):
        key, at = chance.randrange(50), START + number * DAY_US // DAY_ENTRIES
        model = MODELS[(key + chance.choice([0, 0, 0, 1, 2])) % 12]
        session = f"session-{key}-{number // 500}"
        usage = {
            "input": chance.randrange(20_000),
            "cache_read": chance.randrange(60_000),
            "output": chance.randrange(2000),
        }
        lines = [
            {"unit": unit, "quantity": str(quantity), "price_usd": PRICES[unit], "per": 1_000_000, "model": model,
             "cost_usd": str(Decimal(PRICES[unit]) * quantity / 1_000_000), "source": "book"}
            for unit, quantity in usage.items()
        ]  # fmt: skip
        cost = to_nanousd(sum((Decimal(line["cost_usd"]) for line in lines), Decimal()))
        budgets = [["company", "", 0, "usd", cost], [f"team-{key % 10}", "", START // 1_000_000, "usd", cost]]
        intent = {
            "t": "intent", "id": ids.new(at), "request_id": f"req_{number:032d}", "attempt": 1, "started_at": at,
            "dialect": "openai", "operation": "chat", "stream": True, "upstream": f"provider-{key % 3}",
            "provider": f"provider-{key % 3}", "model_requested": model, "model": model, "key": f"key-{key}", "key_id": "0" * 64,
            "team": f"team-{key % 10}", "user": f"user-{key}", "customer": f"customer-{key * 20 + chance.randrange(20)}",
            "labels": {"plan": "pro"}, "untrusted_labels": {}, "session_id": session, "session_source": "header",
            "parent_session_id": None, "root_session_id": session, "agent": chance.choice([None, "claude-code"]),
            "client": "openai-python", "reserved_nanousd": cost * 3, "budgets": budgets, "price_version": "2026-11-23",
        }  # fmt: skip
        end = {
            "t": "settle", "id": intent["id"], "ended_at": at + 3_000_000, "status": "settled", "outcome": "ok", "http_status": 200,
            "usage": usage, "usage_source": "provider", "cost_nanousd": cost, "cost_source": "computed", "flags": [],
            "budgets": budgets, "ttft_ms": 312.5, "duration_ms": 3000.0, "overhead_ms": 0.4, "cost_lines": lines,
            "upstream_request_id": f"chatcmpl-{number:024d}",
        }  # fmt: skip
        yield entry_of(intent, end, "bench")


class Written(NamedTuple):
    """A day's entries into the ledger: seconds; of CPU here, and in the database where that is PostgreSQL on this machine."""

    wall_s: float
    cpu_s: float
    database_s: float | None

    def __str__(self) -> str:
        there = "" if self.database_s is None else f", {self.database_s / DAY_ENTRIES * 1e6:.0f} in the database"
        return f"{DAY_ENTRIES / self.wall_s:,.0f} entries a second; CPU an entry {self.cpu_s / DAY_ENTRIES * 1e6:.0f} µs here{there}"


def ship(engine: Engine, made: Sequence[Entry], batch: int) -> Written:
    """One day's entries, by the batch."""
    shipper = Shipper(engine, "bench", MetricState.load(engine, "bench"))
    backend, wall, cpu = _backend(engine), time.perf_counter(), time.process_time()
    before = _cpu_of(backend)
    for first in range(0, len(made), batch):
        shipper.ship(Batch(entries=list(made[first : first + batch])), Positions([], []))
    after = _cpu_of(backend)
    there = None if before is None or after is None else after - before
    return Written(time.perf_counter() - wall, time.process_time() - cpu, there)


def _backend(engine: Engine) -> int | None:
    """The process that serves us: the pool gives the same connection again."""
    if engine.dialect.name != "postgresql":
        return None
    with engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())


def _cpu_of(process: int | None) -> float | None:
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
    except OSError:
        return None
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def months_of_the_past(engine: Engine, days: int) -> None:
    """Tables for the months that are filled, as a ledger has them that is as old as its entries."""
    if engine.dialect.name != "postgresql":
        return
    with engine.begin() as connection:
        for month in partitions.partitions(connection):
            connection.execute(sa.text(f"DROP TABLE {month.name}"))
    for at in range(START, START + (days + 2) * DAY_US, 25 * DAY_US):
        partitions.make_months(engine, at)


def copy_days(engine: Engine, days: int) -> None:
    """Days 2 to `days`: the first one's rows with everything that must differ moved or marked."""
    for number in range(1, days):
        with writing(engine).begin() as connection:
            for name, moved, marked in (
                ("entries", ("started_at", "ended_at"), ("request_id", "session_id", "root_session_id")),
                ("spend_hours", ("start_at",), ()),
                ("spend_days", ("start_at",), ()),
                ("spend_people_days", ("start_at",), ()),
            ):
                connection.execute(_copy(schema.metadata.tables[name], moved, marked, number, engine.dialect.name))
            _copy_sessions(connection, number)
        print(f"\r{number + 1} of {days} days", end="", flush=True)
    print()
    _make_weeks(engine)
    _multiply(engine, days)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))


def _make_weeks(engine: Engine) -> None:
    """Weeks are no copies of a day."""
    days, weeks = schema.spend_people_days, schema.spend_people_weeks
    start = days.c.start_at - days.c.start_at % WEEK_US
    values = [
        start
        if column.name == "start_at"
        else sa.func.sum(column)
        if column.name in schema.SUMS
        else sa.func.max(column)
        for column in days.columns
        if column.name != "group"
    ]
    names = [column.name for column in days.columns if column.name != "group"]
    with writing(engine).begin() as connection:
        connection.execute(sa.delete(weeks))
        query = sa.select(days.c.group, *values).group_by(start, days.c.group)
        connection.execute(sa.insert(weeks).from_select(["group", *names], query))


def _copy_sessions(connection: Connection, number: int) -> None:
    """Their key is a digest of their name."""
    table = schema.spend_sessions
    rows = connection.execute(sa.select(table).where(table.c.last_at < START + DAY_US)).mappings().all()
    copies = []
    for row in rows:
        name = f"{row['session']}+{number}"
        times = {at: row[at] + number * DAY_US for at in ("first_at", "last_at", "ended_at")}
        copies.append(dict(row) | times | {"session": name, "group": digest((name,))})
    connection.execute(sa.insert(table), copies)


def _multiply(engine: Engine, days: int) -> None:
    """Counters and metrics of all days: `taximeter verify` finds nothing to say."""
    spent, state = schema.budget_spend, schema.metric_state
    with writing(engine).begin() as connection:
        connection.execute(sa.update(spent).values(amount=spent.c.amount * days))
        for row in connection.execute(sa.select(state).where(state.c.name != BATCH_NUMBER)).mappings().all():
            value = json.loads(row["value"])
            more = [number * days for number in value] if isinstance(value, list) else value * days
            same = (state.c.name == row["name"], state.c.labels == row["labels"])
            connection.execute(sa.update(state).where(*same).values(value=json.dumps(more)))


def _copy(table: sa.Table, moved: tuple[str, ...], marked: tuple[str, ...], number: int, dialect: str) -> Any:
    first_day = table.c[moved[0]] < START + DAY_US
    values = [
        _moved_id(table.c.started_at + number * DAY_US, column, dialect) if column.name == "id"
        else column + number * DAY_US if column.name in moved
        else column + f"+{number}" if column.name in marked
        else column
        for column in table.columns
    ]  # fmt: skip
    return sa.insert(table).from_select([column.name for column in table.columns], sa.select(*values).where(first_day))


def _moved_id(at: Any, known: Any, dialect: str) -> Any:
    """The id of another time: its first 48 bits are milliseconds."""
    milliseconds = sa.cast(at / 1000, sa.BigInteger)
    text = (
        sa.func.printf("%012x", at / 1000)
        if dialect == "sqlite"
        else sa.func.lpad(sa.func.to_hex(milliseconds), 12, "0")
    )
    return sa.func.substr(text, 1, 8) + "-" + sa.func.substr(text, 9, 4) + sa.func.substr(known, 14)


def timed(ask: Any, times: int = 5) -> float:
    """The median of so many, in milliseconds."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        ask()
        found.append((time.perf_counter() - begun) * 1000)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="A ledger with many entries.")
    parser.add_argument("--database", required=True, metavar="URL", help="an empty one, but for --reports and --verify")
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--batch", type=int, default=BATCH, help="entries that are shipped together")
    parser.add_argument("--entries-too", action="store_true", help="time the same reports without roll-ups")
    parser.add_argument("--reports", action="store_true", help="only the reports, of a ledger that was made before")
    parser.add_argument(
        "--slow", action="store_true", help="FOCUS and reconcile of everything, too: half a minute a million"
    )
    parser.add_argument("--verify", action="store_true", help="only audit a ledger that was made before")
    given = parser.parse_args()
    if given.verify:
        audit(given.database)
        return
    engine = open_ledger(given.database)
    days = given.entries // DAY_ENTRIES
    if not given.reports:
        fill(engine, days, given.batch)
    count_statements(engine)
    report(engine, days, entries_too=given.entries_too)
    questions(engine, days, slow=given.slow)
    tell_statements(engine)
    if not given.reports:
        retain(engine, days)
    engine.dispose()


def fill(engine: Engine, days: int, batch: int) -> None:
    months_of_the_past(engine, days)
    made = list(day())
    print(f"shipped, {batch} a batch: {ship(engine, made, batch)}")
    begun = time.perf_counter()
    copy_days(engine, days)
    took = time.perf_counter() - begun
    print(f"copied in {took:.0f} s, {(days - 1) * DAY_ENTRIES / took:,.0f} entries a second")
    print(f"shipped behind the others: {ship(engine, moved(made, days), batch)}")
    added, took, slowest = add_up(engine, days)
    print(f"added up {added} days by label in {took:.0f} s, the slowest in {slowest:.1f} s")
    size = size_of(engine)
    print(
        f"{size / 2**30:.2f} GiB, {size / (days + 1) / DAY_ENTRIES:,.0f} bytes an entry, all tables and indexes together"
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


def moved(made: Iterable[Entry], days: int) -> list[Entry]:
    """The same of another day."""
    later = []
    for entry in made:
        at = {name: getattr(entry.row, name) + days * DAY_US for name in ("started_at", "ended_at")}
        marked = {
            name: f"{getattr(entry.row, name)}+{days}" for name in ("request_id", "session_id", "root_session_id")
        }
        new = first_id(at["started_at"]) + entry.row.id[13:]
        later.append(entry._replace(row=entry.row._replace(id=new, **at, **marked)))
    return later


def add_up(engine: Engine, days: int) -> tuple[int, float, float]:
    """How many days, and seconds: of all, and of the slowest."""
    took = []
    begun = time.perf_counter()
    while add_up_a_day(engine, ["plan"], START + days * DAY_US + HOUR_US):
        took.append(time.perf_counter() - begun - sum(took))
    return len(took), sum(took), max(took, default=0)


def questions(engine: Engine, days: int, *, slow: bool) -> None:
    """The named reports, of the month that ends with the entries and of all of them, each with the most memory so far."""
    book, end = load_book().with_operator(parse_rows([{"model": "*", **PRICES}])[0]), START + days * DAY_US
    plans = [Plan.model_validate({"name": "pro", "match": {"label.plan": "pro"}, "usd_per_month": 20})]
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
            if name in ("focus", "reconcile") and since == START and not slow:
                continue
            took = timed(ask, 1)
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{took:>9.0f} ms  {name}, {text}; {most:.0f} MiB", flush=True)


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
            rows = connection.execute(sa.select(sa.func.count()).select_from(schema.metadata.tables[name])).scalar_one()
            print(f"{rows:>12,} rows in {name}")
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
        took = timed(lambda: spend(engine, by, since, until))  # noqa: B023 - called at once
        slow = timed(lambda: spend(engine, by, since, until, rolled=False), 1) if entries_too else None  # noqa: B023
        span = f"{((until or end) - (since or START)) / DAY_US:.1f} days"
        print(
            f"{took:>9.0f} ms  spend by {','.join(by) or 'nothing'}, {span}"
            + (f"; from entries {slow:.0f} ms" if slow else "")
        )
    print(f"{timed(lambda: sessions(engine, limit=50, since=None, until=None)):>9.0f} ms  the latest 50 sessions")
    print(f"{timed(lambda: sessions(engine, limit=50, since=end - DAY_US - odd, until=None)):>9.0f} ms  … of a day")
    lists = {"limit": 50, "before": None, "since": None, "until": None}
    print(f"{timed(lambda: queries.requests(engine, filters={}, **lists)):>9.0f} ms  the latest 50 calls")
    print(f"{timed(lambda: overview.spent_by_time(engine, end, HOUR_US, 24)):>9.0f} ms  the page's day by hours")


if __name__ == "__main__":
    main()
