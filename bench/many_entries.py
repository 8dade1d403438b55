"""Many entries in a ledger: a day of them shipped as the recorder ships, the other days made in the database from that one."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pricing.money import to_nanousd
from proxy.control.metrics.series import MetricState
from proxy.ids import Ids, first_id
from proxy.ledger import partitions, parts_schema, schema
from proxy.ledger.database import writing
from proxy.ledger.entries.entry import Entry, entry_of
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.shipping import BATCH_NUMBER, Positions, Shipper
from proxy.ledger.rollup_schema import SUMS, spend_people_days, spend_people_weeks, spend_sessions
from proxy.ledger.rollups.label_parts import add_up_a_part
from proxy.ledger.rollups.label_weeks import add_up_a_month, add_up_a_week
from proxy.ledger.rollups.sums import WEEK_US, digest
from proxy.times import DAY_US

BATCH = 1000
# A ledger for pages, which ask for the days before now, ends today: `BENCH_SINCE=2026-08-22 python -m bench.ledger …`.
START = int(datetime.fromisoformat(os.environ.get("BENCH_SINCE", "2025-10-19") + "T00:00Z").timestamp()) * 1_000_000
ROLLUPS = (
    "spend_hours",
    "spend_days",
    "spend_people_days",
    "spend_label_days",
    "spend_impersonal_days",
    "label_days",
    "spend_label_parts",
    "spend_impersonal_parts",
    "spend_part_sources",
    "label_parts",
)
MARKED = ("request_id", "session_id", "root_session_id")
PRICES = {"input": "2.5", "cache_read": "0.25", "output": "10"}
MODELS = [f"model-{number}" for number in range(12)]


def day(count: int) -> Iterator[Entry]:
    """So many of one day: 50 keys of 10 teams, 3 models and 20 customers each; sessions of about 10 calls."""
    chance, ids = random.Random(1), Ids()
    for number in range(count):
        key, at = chance.randrange(50), START + number * DAY_US // count
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
    """So many entries into the ledger: seconds; of CPU here, and in the database where that is PostgreSQL on this machine."""

    entries: int
    wall_s: float
    cpu_s: float
    database_s: float | None

    def __str__(self) -> str:
        there = "" if self.database_s is None else f", {self.database_s / self.entries * 1e6:.0f} in the database"
        return f"{self.entries / self.wall_s:,.0f} entries a second; CPU an entry {self.cpu_s / self.entries * 1e6:.0f} µs here{there}"


def ship(engine: Engine, made: Sequence[Entry], batch: int) -> Written:
    """One day's entries, by the batch."""
    shipper = Shipper(engine, "bench", MetricState.load(engine, "bench"))
    before, wall, cpu = database_cpu_s(engine), time.perf_counter(), time.process_time()
    for first in range(0, len(made), batch):
        shipper.ship(Batch(entries=list(made[first : first + batch])), Positions([], []))
    wall, cpu, after = time.perf_counter() - wall, time.process_time() - cpu, database_cpu_s(engine)
    return Written(len(made), wall, cpu, None if before is None or after is None else after - before)


def database_cpu_s(engine: Engine) -> float | None:
    """CPU seconds of PostgreSQL's processes that serve this database, where they are on this machine."""
    if engine.dialect.name != "postgresql":
        return None
    with engine.connect() as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        processes = connection.execute(sa.text(query)).scalars().all()
    ticks = 0
    for process in processes:
        try:
            text = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
        except OSError:
            return None
        user, system = text.rpartition(")")[2].split()[11:13]
        ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def months_of_the_past(engine: Engine, days: int) -> None:
    """Tables for the months that are filled, as a ledger has them that is as old as its entries."""
    if engine.dialect.name != "postgresql":
        return
    with engine.begin() as connection:
        for month in partitions.partitions(connection):
            connection.execute(sa.text(f"DROP TABLE {month.name}"))
    for at in range(START, START + (days + 2) * DAY_US, 25 * DAY_US):
        partitions.make_months(engine, at)


def copy_days(engine: Engine, days: int, names: Iterable[str]) -> None:
    """Days 2 to `days` in the tables of these names: the first one's rows with everything that must differ moved or marked."""
    sessions = spend_sessions
    with engine.connect() as connection:
        query = sa.select(sessions).where(sessions.c.last_at < START + DAY_US)
        first = [dict(row) for row in connection.execute(query).mappings()]
    for number in range(1, days):
        with writing(engine).begin() as connection:
            for name in names:
                table = schema.metadata.tables[name]
                connection.execute(moved_day(table, table, number, engine.dialect.name))
            _copy_sessions(connection, first, number)
        print(f"\r{number + 1} of {days} days", end="", flush=True)
    print()
    _make_weeks(engine)
    now = START + (days + 32) * DAY_US
    while add_up_a_week(engine, now) or add_up_a_month(engine, now):
        pass
    list_calls(engine)
    _multiply(engine, days)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))


def list_calls(engine: Engine) -> None:
    """Ids are no copies of a day's."""
    parts = parts_schema.label_parts
    with writing(engine).begin() as connection:
        connection.execute(sa.update(parts).values(persons=None, listed=None))
        connection.execute(sa.delete(parts_schema.person_calls))
        connection.execute(sa.delete(parts_schema.rare_calls))
    while add_up_a_part(engine, ["plan"], time.time_ns() // 1000 + 366 * DAY_US):
        pass


def _make_weeks(engine: Engine) -> None:
    """Weeks are no copies of a day."""
    days, weeks = spend_people_days, spend_people_weeks
    start = days.c.start_at - days.c.start_at % WEEK_US
    values = [
        start if column.name == "start_at" else sa.func.sum(column) if column.name in SUMS else sa.func.max(column)
        for column in days.columns
        if column.name != "group"
    ]
    names = [column.name for column in days.columns if column.name != "group"]
    with writing(engine).begin() as connection:
        connection.execute(sa.delete(weeks))
        query = sa.select(days.c.group, *values).group_by(start, days.c.group)
        connection.execute(sa.insert(weeks).from_select(["group", *names], query))


def _copy_sessions(connection: Connection, rows: Sequence[dict[str, Any]], number: int) -> None:
    """Those of the first day, some days later. Their key is a digest of their name."""
    table = spend_sessions
    copies = []
    for row in rows:
        name = f"{row['session']}+{number}"
        times = {at: row[at] + number * DAY_US for at in ("first_at", "last_at", "ended_at")}
        copies.append(row | times | {"session": name, "group": digest((name,))})
    if connection.dialect.name != "postgresql":
        connection.execute(sa.insert(table), copies)
        return
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    with connection.connection.cursor() as cursor, cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:  # type: ignore[attr-defined]  # psycopg's
        for row in copies:
            copy.write_row([row[column.name] for column in table.columns])


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


def moved_day(source: sa.Table, target: sa.Table, number: int, dialect: str) -> sa.Insert:
    """The first day's rows, `number` days later, into a table of the same columns."""
    moved = ("started_at", "ended_at") if "started_at" in source.c else ("start_at",)
    first_day = source.c[moved[0]] < START + DAY_US
    values = [
        _moved_id(source.c.started_at + number * DAY_US, column, dialect) if column.name == "id"
        else column + number * DAY_US if column.name in moved
        else column + f"+{number}" if column.name in MARKED
        else column
        for column in source.columns
    ]  # fmt: skip
    return sa.insert(target).from_select(
        [column.name for column in source.columns], sa.select(*values).where(first_day)
    )


def _moved_id(at: Any, known: Any, dialect: str) -> Any:
    """The id of another time: its first 48 bits are milliseconds."""
    milliseconds = sa.cast(at / 1000, sa.BigInteger)
    text = (
        sa.func.printf("%012x", at / 1000)
        if dialect == "sqlite"
        else sa.func.lpad(sa.func.to_hex(milliseconds), 12, "0")
    )
    return sa.func.substr(text, 1, 8) + "-" + sa.func.substr(text, 9, 4) + sa.func.substr(known, 14)


def moved(made: Iterable[Entry], days: int) -> list[Entry]:
    """The same of another day."""
    later = []
    for entry in made:
        at = {name: getattr(entry.row, name) + days * DAY_US for name in ("started_at", "ended_at")}
        marked = {
            name: f"{getattr(entry.row, name)}+{days}" for name in ("request_id", "session_id", "root_session_id")
        }
        new = first_id(at["started_at"]) + entry.row.id[13:]
        later.append(entry.with_row(entry.row._replace(id=new, **at, **marked)))
    return later
