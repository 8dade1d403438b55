"""What the audit reads: client log, invoice, ledger, budget store, metrics, spool. `verdict.py` judges it.

The ledger is read by plain SQL, the spool by its frame format, the rest over HTTP or from files. Money becomes integer
nano-USD here, and anything that cannot be one exactly is an error.
"""

from __future__ import annotations

import json
import re
import sqlite3
import struct
import urllib.request
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from .invoice import Line

NANO = 1_000_000_000
UNITS = ("input", "cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h", "output", "reasoning")


@dataclass(slots=True)
class Entry:
    """A ledger entry. `usage` leaves out zeros; `budgets` says what it counted in: (name, group, window start in s)."""

    id: str
    kind: str = "attempt"
    corrects_id: str | None = None
    request_id: str = ""
    attempt: int = 1
    started_us: int = 0
    status: str = "settled"
    outcome: str = "ok"
    upstream: str = ""
    model: str = ""
    key: str | None = None
    team: str | None = None
    session_id: str | None = None
    usage: dict[str, Decimal] = field(default_factory=dict)
    usage_source: str = "provider"
    cost_nano: int | None = None
    cost_lines: list[dict[str, Any]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    budgets: list[tuple[str, str, int]] = field(default_factory=list)
    upstream_request_id: str | None = None
    reserved_nano: int | None = None


@dataclass(slots=True)
class Standing:
    """A budget as the store has it: per group, (spent, reserved) in nano-USD. `window_start` in epoch seconds."""

    name: str
    window_start: int
    spent_nano: int
    reserved_nano: int
    groups: dict[str, tuple[int, int]] = field(default_factory=dict)


Metrics = dict[str, list[tuple[dict[str, str], Decimal]]]


@dataclass(slots=True)
class Evidence:
    """All of it. None: not read. `budgets` are the configured ones, `keys` gives the upstream of a provider's key."""

    invoice: list[Line]
    client: list[dict[str, Any]] | None = None
    entries: list[Entry] | None = None
    standings: list[Standing] | None = None
    metrics: Metrics | None = None
    intents: set[str] | None = None
    budgets: list[dict[str, Any]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)


# client log


def read_client(paths: Iterable[Path]) -> list[dict[str, Any]]:
    return [
        json.loads(line) for path in paths for line in path.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"
    ]


# ledger


def read_ledger(url: str) -> list[Entry]:
    """All entries of `sqlite:///FILE` or `postgresql://…`. The table is the one that has the contract's columns."""
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme == "sqlite":
        rows = _sqlite_rows(url.partition("///")[2])
    elif scheme in ("postgresql", "postgres"):
        rows = _postgres_rows("postgresql:" + url.partition(":")[2])
    else:
        raise ValueError(f"{url!r} is neither sqlite:/// nor postgresql://")
    return [entry_of(row) for row in rows]


_MARKS = {"id", "corrects_id", "request_id", "cost_nanousd"}


def _sqlite_rows(path: str) -> list[dict[str, Any]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        connection.row_factory = sqlite3.Row
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        columns = {t: {row[1] for row in connection.execute(f'pragma table_info("{t}")')} for t in tables}
        table = _the_table(columns)
        return [dict(row) for row in connection.execute(f'select * from "{table}"')]
    finally:
        connection.close()


def _postgres_rows(url: str) -> list[dict[str, Any]]:
    found: dict[str, set[str]] = {}
    query = """select c.table_name, c.column_name from information_schema.columns c join information_schema.tables t
        using (table_schema, table_name) where t.table_type = 'BASE TABLE' and c.table_schema = current_schema()
        and not exists (select from pg_class where relname = c.table_name and relispartition)"""
    with psycopg.connect(url) as connection:
        for table, column in connection.execute(query):
            found.setdefault(table, set()).add(column)
        with connection.cursor(row_factory=dict_row) as cursor:
            return list(cursor.execute(f'select * from "{_the_table(found)}"'))


def _the_table(columns: Mapping[str, set[str]]) -> str:
    fitting = [table for table, names in columns.items() if names >= _MARKS]
    if len(fitting) != 1:
        raise ValueError(f"expected one ledger table with {sorted(_MARKS)}, found {fitting or 'none'}")
    return fitting[0]


def entry_of(row: Mapping[str, Any]) -> Entry:
    usage = {unit: Decimal(str(quantity)) for unit, quantity in (_json(row.get("usage")) or {}).items()}
    for unit in UNITS:
        quantity = row.get(unit, row.get(f"{unit}_tokens"))
        if quantity:
            usage[unit] = Decimal(str(quantity))
    flags = _json(row.get("flags")) or []
    return Entry(
        id=str(row["id"]),
        kind=row["kind"],
        corrects_id=str(row["corrects_id"]) if row["corrects_id"] else None,
        request_id=str(row["request_id"]),
        attempt=row.get("attempt") or 1,
        started_us=row.get("started_at") or 0,
        status=row["status"],
        outcome=row.get("outcome") or "",
        upstream=row.get("upstream") or "",
        model=row.get("model") or "",
        key=row.get("key"),
        team=row.get("team"),
        session_id=row.get("session_id"),
        usage={unit: quantity for unit, quantity in usage.items() if quantity},
        usage_source=row.get("usage_source") or "none",
        cost_nano=row["cost_nanousd"],
        cost_lines=_json(row.get("cost_lines")) or [],
        flags=flags if isinstance(flags, list) else str(flags).split(","),
        budgets=[_counted(budget) for budget in _json(row.get("budgets")) or []],
        upstream_request_id=row.get("upstream_request_id"),
        reserved_nano=row.get("reserved_nanousd"),
    )


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str | bytes) and value else value


def _counted(budget: Any) -> tuple[str, str, int]:
    """(name, group, window start) from a list in that order or from an object."""
    if isinstance(budget, dict):
        start = budget.get("window_start", budget.get("window_start_s"))
        return budget["name"], budget.get("group") or "", _seconds(start)
    return budget[0], budget[1] or "", _seconds(budget[2])


def _seconds(value: Any) -> int:
    if isinstance(value, str):
        return int(datetime.fromisoformat(value).timestamp())
    return int(value or 0)


# budgets and metrics


def fetch(source: str, key: str | None = None) -> str:
    """The text of a URL (with a bearer key) or a file."""
    if not source.startswith("http"):
        return Path(source).read_text()
    request = urllib.request.Request(source, headers={"Authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(request, timeout=30) as response:
        text: str = response.read().decode()
        return text


def read_standings(text: str) -> list[Standing]:
    """`GET /api/budgets`. Budgets that do not count USD are left out."""
    standings = []
    for item in json.loads(text)["items"]:
        if item.get("spent_usd") is None:
            continue
        groups = {
            row.get("group") or "": (nano(row["spent_usd"]), nano(row["reserved_usd"]))
            for row in item.get("groups") or []
        }
        start = _seconds((item.get("window") or {}).get("start"))
        standings.append(Standing(item["name"], start, nano(item["spent_usd"]), nano(item["reserved_usd"]), groups))
    return standings


def nano(usd: str) -> int:
    """Nano-USD of a decimal string. Raises ValueError where it is finer."""
    exact = Decimal(usd) * NANO
    if exact != exact.to_integral_value():
        raise ValueError(f"{usd!r} is finer than a nano-dollar")
    return int(exact)


_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \S+)?$")
_LABEL = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)",?')


def read_metrics(text: str) -> Metrics:
    """The samples of an exposition, exactly as its text has them."""
    metrics: Metrics = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        sample = _SAMPLE.match(line.partition(" # ")[0])
        if sample is None:
            raise ValueError(f"not a sample: {line!r}")
        name, labels, value = sample.groups()
        metrics.setdefault(name, []).append((dict(_LABEL.findall(labels or "")), Decimal(value)))
    return metrics


# spool

_FRAME = struct.Struct("<II")


def spool_records(directory: Path) -> Iterator[dict[str, Any]]:
    """The whole frames of every segment: u32 length, u32 CRC-32, JSON. A torn tail ends its segment."""
    for path in sorted(directory.glob("*.spool")):
        data = path.read_bytes()
        at = 0
        while at + _FRAME.size <= len(data):
            length, crc = _FRAME.unpack_from(data, at)
            payload = data[at + _FRAME.size : at + _FRAME.size + length]
            if len(payload) < length or zlib.crc32(payload) != crc:
                break
            yield json.loads(payload)
            at += _FRAME.size + length


def unrefused_intents(records: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of intents that no refusal has closed: each of them is owed exactly one entry."""
    intents: set[str] = set()
    refused: set[str] = set()
    for record in records:
        if record.get("t") == "intent":
            intents.add(record["id"])
        elif record.get("t") == "refused":
            refused.add(record["id"])
    return intents - refused
