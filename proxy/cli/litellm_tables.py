"""LiteLLM's tables from its database, a dump of `pg_dump`, or a JSON file of rows; its spend log a row at a time."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from proxy.cli.output import fail
from proxy.config.from_litellm import SPEND_LOG, TABLES
from proxy.config.from_litellm.models import provider_named
from proxy.config.from_litellm.values import moment
from proxy.config.ledger_url import without_password
from proxy.money import NANO
from proxy.reports.what_if.replay import LoggedCall

Row = Mapping[str, Any]

_COPY = re.compile(r'COPY (?:\w+\.)?"?(\w+)"? \((.*)\) FROM stdin;$')
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\"}
_ESCAPED = re.compile(r"\\[tnr\\]")
_BOOLEANS = {"t": True, "f": False}
_PRISMAS = frozenset(
    {"schema", "connection_limit", "pool_timeout", "socket_timeout", "pgbouncer", "statement_cache_size", "sslaccept"}
)
"""What a URL of Prisma's may say that PostgreSQL's own library does not know."""
_LOGGED = (
    "startTime",
    "api_key",
    "spend",
    "total_tokens",
    "model_group",
    "model",
    "custom_llm_provider",
    "end_user",
    "status",
)
_PAGE = 5000


class LiteLLM(NamedTuple):
    """tables: by the names of `TABLES`. calls: its spend log, in the order of time."""

    tables: Mapping[str, Sequence[Row]]
    calls: Callable[[], Iterator[LoggedCall]]


def nothing() -> LiteLLM:
    return LiteLLM({}, lambda: iter(()))


# A database


def asked(url: str) -> LiteLLM:
    """It is only read."""
    import sqlalchemy as sa
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = sa.create_engine(_address(url))
        there = set(sa.inspect(engine).get_table_names())
        with engine.connect() as connection:
            tables = {
                name: [dict(row) for row in connection.execute(sa.text(f'SELECT * FROM "{table}"')).mappings()]  # noqa: S608 - our own names
                for name, table in TABLES.items()
                if table in there
            }
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise fail(f"LiteLLM's database cannot be read: {_reason(error, url)}") from None
    if not tables:
        raise fail("the database has no table of LiteLLM", 2)

    def calls() -> Iterator[LoggedCall]:
        if SPEND_LOG not in there:
            return
        columns = ", ".join(f'"{name}"' for name in _LOGGED)
        query = sa.text(f'SELECT {columns} FROM "{SPEND_LOG}" ORDER BY "startTime"')  # noqa: S608 - our own names
        try:
            with engine.connect().execution_options(yield_per=_PAGE) as connection:
                yield from _logged(map(dict, connection.execute(query).mappings()))
        except SQLAlchemyError as error:
            raise fail(f"LiteLLM's spend log cannot be read: {_reason(error, url)}") from None
        finally:
            engine.dispose()

    return LiteLLM(tables, calls)


def _reason(error: Exception, url: str) -> str:
    """What the driver says, in a line, without the password."""
    import sqlalchemy as sa

    text = str(getattr(error, "orig", None) or error).strip().partition("\n")[0] or type(error).__name__
    try:
        password = sa.make_url(url).password
    except sa.exc.ArgumentError:
        return type(error).__name__  # it repeats the address, whatever of it is secret
    return without_password(text, password)


def _address(url: str) -> Any:
    import sqlalchemy as sa

    address = sa.make_url(url)
    if address.drivername not in ("postgres", "postgresql"):
        return address
    query = {name: value for name, value in address.query.items() if name not in _PRISMAS}
    schema = address.query.get("schema")
    if schema:
        query["options"] = f"-c search_path={schema}"
    return address.set(drivername="postgresql+psycopg", query=query)


# A dump


def dumped(dump: Path) -> LiteLLM:
    """A plain dump is read line by line: its spend log may be larger than memory."""
    try:
        with dump.open("rb") as file:
            begins = file.read(64)
        if begins.startswith(b"PGDMP"):
            raise fail(f"{dump} is in pg_dump's own format: make it with --format=plain", 2)
        if begins.lstrip().startswith(b"{"):
            body = json.loads(dump.read_text("utf-8"))
            tables = {name: body.get(table) or [] for name, table in TABLES.items()}
            log = body.get(SPEND_LOG) or []
            return LiteLLM(tables, lambda: _logged(sorted(log, key=lambda row: str(row.get("startTime")))))
        tables = _tables_in(dump)
    except (OSError, ValueError) as error:
        raise fail(f"{dump} cannot be read: {error}", 2) from None
    if not tables:
        raise fail(f"{dump} has no table of LiteLLM: make it with pg_dump, without --inserts", 2)
    return LiteLLM(tables, lambda: _in_order(dump))


def _tables_in(dump: Path) -> dict[str, list[Row]]:
    names = {table: name for name, table in TABLES.items()}
    tables: dict[str, list[Row]] = {}
    for table, rows in _copies(dump):
        if table in names:
            tables.setdefault(names[table], []).extend(rows)
    return tables


def _in_order(dump: Path) -> Iterator[LoggedCall]:
    """By time, whatever the order of the dump: sorted on disk."""
    with contextlib.closing(sqlite3.connect("")) as aside:  # a database in a file of its own, that is gone with it
        aside.execute("CREATE TABLE calls (at_s, key_id, nanousd, tokens, model, provider, customer)")
        for table, rows in _copies(dump):
            if table == SPEND_LOG:
                aside.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?)", _logged(rows))
        yield from map(LoggedCall._make, aside.execute("SELECT * FROM calls ORDER BY at_s"))


def _copies(dump: Path) -> Iterator[tuple[str, Iterator[Row]]]:
    """Each table's name, and its rows: to be read before the next table."""
    with dump.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            match = _COPY.match(line.rstrip("\n"))
            if match:
                columns = [column.strip().strip('"') for column in match[2].split(",")]
                yield match[1], _copied(lines, columns)


def _copied(lines: Iterable[str], columns: Sequence[str]) -> Iterator[Row]:
    for line in lines:
        text = line.rstrip("\n")
        if text == "\\.":
            return
        cells = (
            None if cell == "\\N" else _ESCAPED.sub(lambda part: _ESCAPES[part[0]], cell) for cell in text.split("\t")
        )
        row: dict[str, Any] = dict(zip(columns, cells, strict=False))
        yield row | {"blocked": _BOOLEANS.get(row.get("blocked") or "f")}


def _logged(rows: Iterable[Row]) -> Iterator[LoggedCall]:
    """Calls that cost or counted: those that failed did not."""
    for row in rows:
        at = moment(row.get("startTime"))
        if at is None or row.get("status") == "failure":
            continue
        yield LoggedCall(
            at.timestamp(),
            str(row.get("api_key") or ""),
            round(float(row.get("spend") or 0) * NANO),
            int(row.get("total_tokens") or 0),
            row.get("model_group") or row.get("model") or None,
            provider_named(str(row.get("custom_llm_provider") or "")) or None,
            row.get("end_user") or None,
        )
