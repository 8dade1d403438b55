"""A file for each day (UTC) of calls, JSON lines or Parquet, in a folder.

A day's file is all that the ledger has of the day, corrections of its calls among it. It is written anew, whole, when something
of the day is exported that it has not got, and takes the old one's place at once; so it may be written any number of times, and
never holds an entry twice or half of one. The first portion of a long day's history brings all of the day; what the portions
behind it tell is in the file, and the ledger says so: the day has not changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Protocol

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.config.exports import Export
from proxy.exports.sink import Event, Later, Sink
from proxy.exports.usage import usage_of
from proxy.ledger.beside.export_log import ENTRY, Item
from proxy.ledger.database import reading
from proxy.ledger.rollup_schema import label_days, spend_days
from proxy.ledger.schema import counted, entries, horizon
from proxy.money import usd_text
from proxy.times import DAY_US

_PAGE = 5000
_REMEMBERED = 400  # days

_INTEGERS = frozenset({
    "attempt", "http_status", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
})  # fmt: skip
_NUMBERS = frozenset({"ttft_ms", "duration_ms"})
_DECIMALS = frozenset({"cost_usd", "capacity_usd"})
_TIMES = frozenset({"started_at", "ended_at"})
_NESTED = frozenset({"labels", "flags", "units"})


class Writer(Protocol):
    """Writes rows of a day to a file that is there."""

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None: ...

    def end(self) -> None:
        """Everything is in the file."""
        ...


class Files(Sink):
    """See `Sink`."""

    rows = 50_000
    at_once = 50_000
    columns = (entries.c.id, entries.c.started_at, entries.c.capacity_nanousd)

    def __init__(self, row: Export, engine: Engine) -> None:
        assert row.path is not None
        self.pause_s = row.every_s
        self._folder = Path(row.path)
        self._format = row.format
        self._engine = engine
        self._written: dict[int, tuple[int, ...]] = {}  # what each day was when its file was written

    def events(self, item: Item) -> Sequence[Event]:
        return [Event(item.id, item, item.row["started_at"] // DAY_US * DAY_US)]

    def send(self, events: Sequence[Event]) -> Mapping[str, str]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            gone = {day for day in sorted({event.payload for event in events}) if not self._write(day)}
        except OSError as error:
            raise Later(f"{self._folder} cannot be written ({error.strerror or type(error).__name__})") from None
        return {
            event.id: f"entries of {_name(event.payload)} are deleted, so its file is left as it is"
            for event in events
            if event.payload in gone
        }

    def _write(self, day: int) -> bool:
        """Whether the day's entries are still there."""
        path = self._folder / f"{_name(day)}.{self._format}"
        part = path.with_name(f".{path.name}.part")
        with reading(self._engine).connect() as connection:
            kept_since = horizon(connection)
            if kept_since is not None and day < kept_since:
                return False
            as_it_is = _state_of(connection, day)
            if self._written.get(day) == as_it_is and path.exists():
                return True
            with part.open("wb") as file:
                writer: Writer = _Lines(file) if self._format == "jsonl" else _Parquet(file)
                for rows in _rows(connection, day):
                    writer.write(rows)
                writer.end()
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
        _sync(self._folder)
        self._written.pop(day, None)
        self._written[day] = as_it_is
        for oldest in list(self._written)[:-_REMEMBERED]:
            del self._written[oldest]
        return True


def _state_of(connection: Connection, day: int) -> tuple[int, ...]:
    """How often the day's entries have changed, and what it comes to, as an earlier version counts no changes."""
    changes = sa.select(label_days.c.changes).where(label_days.c.start_at == day)
    sums = (sa.func.sum(spend_days.c[name]) for name in ("requests", "cost_nanousd"))
    row = connection.execute(sa.select(*sums).where(spend_days.c.start_at == day)).one()
    return (connection.execute(changes).scalar() or 0, *(int(number or 0) for number in row))


def _name(day: int) -> str:
    return datetime.fromtimestamp(day / 1e6, UTC).strftime("%Y-%m-%d")


def _sync(folder: Path) -> None:
    """What was renamed in it stays so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rows(connection: Connection, day: int) -> Iterator[list[dict[str, Any]]]:
    """Everything of the day, in the order of its times, some at a time; at least once, so that each file has its columns."""
    c, at, last = entries.c, day, ""
    while True:
        behind = sa.or_(c.started_at > at, sa.and_(c.started_at == at, c.id > last))
        within = (c.started_at >= at, c.started_at < day + DAY_US)
        query = sa.select(entries).where(*within, behind, counted()).order_by(c.started_at, c.id).limit(_PAGE)
        rows = connection.execute(query).mappings().all()
        yield [_shown(dict(row)) for row in rows]
        if len(rows) < _PAGE:
            return
        at, last = rows[-1]["started_at"], rows[-1]["id"]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    shared = row["capacity_nanousd"]
    return usage_of(Item(row, ENTRY)) | {
        "capacity": row["capacity"],
        "capacity_usd": None if shared is None else usd_text(shared),
    }


class _Lines:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)

    def end(self) -> None:
        pass


class _Parquet:
    """Amounts are exact decimals, times instants of UTC; what is nested is text of JSON."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: Any = None

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        import pyarrow  # noqa: PLC0415 - an extra of 150 MB, for this alone
        from pyarrow import parquet  # noqa: PLC0415 - as above

        if self._writer is None:
            names = [*(rows[0] if rows else _shown(_EMPTY))]
            self._schema = pyarrow.schema([(name, _type(pyarrow, name)) for name in names])
            self._writer = parquet.ParquetWriter(self._file, self._schema)
        if rows:
            columns = [[_cell(field.name, row[field.name]) for row in rows] for field in self._schema]
            arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
            self._writer.write_table(pyarrow.table(arrays, schema=self._schema))

    def end(self) -> None:
        self._writer.close()


_EMPTY = dict.fromkeys(entries.columns.keys()) | {"id": ""}


def _type(pyarrow: Any, name: str) -> Any:
    if name in _INTEGERS:
        return pyarrow.int64()
    if name in _NUMBERS:
        return pyarrow.float64()
    if name in _DECIMALS:
        return pyarrow.decimal128(38, 9)
    return pyarrow.timestamp("us", tz="UTC") if name in _TIMES else pyarrow.string()


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _DECIMALS:
        return Decimal(value)
    if name in _TIMES:
        return datetime.fromisoformat(value)
    return json.dumps(value, ensure_ascii=False) if name in _NESTED else value
