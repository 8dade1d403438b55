"""Questions about single calls, for the API and the command line alike. What was spent: `spend.py`.

Times go in as integer epoch microseconds (`since` inclusive, `until` exclusive, by `started_at`); money comes out as
integer nano-USD. Nothing from a client is ever part of a statement's text: names come from tables here, values are bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, RowMapping

from proxy.ids import began_at, first_id
from proxy.ledger.entries.corrections import NOW_PRICED
from proxy.ledger.rollups.call_runs import Run
from proxy.ledger.schema import TOKEN_COLUMNS, counted, entries
from proxy.times import DAY_US, BadQuestion, now_us

GROUPS = {
    "key": entries.c.key,
    "team": entries.c.team,
    "user": entries.c.user,
    "customer": entries.c.customer,
    "model": entries.c.model,
    "provider": entries.c.provider,
    "upstream": entries.c.upstream,
    "session": entries.c.root_session_id,
    "agent": entries.c.agent,
}

_later = entries.alias()
_IS_REPRICED = sa.exists().where(
    _later.c.started_at == entries.c.started_at,  # by its index
    _later.c.corrects_id == entries.c.id,
    _later.c.usage.contains(NOW_PRICED),
)

_FILTERS = {
    **GROUPS,
    "status": entries.c.status,
    "outcome": entries.c.outcome,
    "request_id": entries.c.request_id,
    "operation": entries.c.operation,
    "client": entries.c.client,
    "usage_source": entries.c.usage_source,
    "priced": sa.case(
        (entries.c.cost_nanousd.is_not(None), "yes"),
        (sa.and_(entries.c.kind == "attempt", counted(), _IS_REPRICED), "yes"),
        (sa.and_(entries.c.kind == "attempt", counted()), "no"),
        else_=None,
    ),
}
FILTERS = tuple(_FILTERS)
_LOOK_UP = 200
_FIRST_LOOK = 2000  # entries; then more


_LABEL = re.compile(r"(label|claimed)\.([A-Za-z0-9_.-]{1,100})\Z")
_LABELS = {"label": entries.c.labels, "claimed": entries.c.untrusted_labels}


def requests(
    engine: Engine,
    *,
    limit: int,
    before: str | None,
    filters: Mapping[str, str | None],
    since: int | None,
    until: int | None,
) -> list[dict[str, Any]]:
    """Ledger entries, the latest first; `before` is the id of the last one of the page before.

    filters: of `FILTERS`, `label.NAME` or `claimed.NAME`; None is what has no such value.
    `priced` is yes (also of what a correction has given a price) or no, and nothing of a job that runs. Lists that few entries
    pass: `call_lists.py`.
    """
    with engine.connect() as connection:
        in_order = until is None or until >= now_us()
        statement = list_of(connection, before=before, filters=filters, since=since, until=until, by_id=in_order)
        return [entry(row) for row in connection.execute(statement.limit(limit)).mappings()]


def list_of(
    connection: Connection,
    *,
    before: str | None,
    filters: Mapping[str, str | None],
    since: int | None,
    until: int | None,
    by_id: bool,
) -> sa.Select[Any]:
    """As `requests`, of any length. by_id: the ids' index is gone through."""
    statement = sa.select(entries).order_by(entries.c.id.desc())
    if before is not None:
        statement = statement.where(entries.c.id < before)
    # The latest are the first by id: as an expression, so that the time's index is not walked through and sorted.
    started_at: Any = sa.func.coalesce(entries.c.started_at, 0) if by_id else entries.c.started_at
    if since is not None:
        # An id is not older than its call: what hardly any call passes is not looked for before that time.
        statement = statement.where(started_at >= since, entries.c.id >= first_id(max(since, 0)))
    if until is not None:
        statement = statement.where(started_at < until)
    for name, value in filters.items():
        if name == "session" and value and not _is_root(connection, value):
            # Of a tree's part its own calls; by the index of such.
            statement = statement.where(entries.c.session_id == value, entries.c.parent_session_id.is_not(None))
            continue
        column = attribute(name, connection.dialect.name)
        statement = statement.where(column == value if value else sa.or_(column.is_(None), column == ""))
    return statement


def _is_root(connection: Connection, session: str) -> bool:
    return bool(connection.execute(sa.select(1).where(entries.c.root_session_id == session).limit(1)).first())


class Looked(NamedTuple):
    """looked_to: the id of the last entry that was looked at, where there were too many to look at all."""

    rows: list[RowMapping]
    looked_to: str | None


def of_runs(
    connection: Connection, statement: sa.Select[Any], limit: int, runs: Iterable[Run], most: int | None = None
) -> Looked:
    """The first rows of a list that only these runs have. most: so many entries are looked at."""
    rows: list[RowMapping] = []
    left = most
    for run in runs:
        if len(rows) >= limit:
            break
        if run.ids is not None:
            ids = run.ids[::-1]
            for first in range(0, len(ids), _LOOK_UP):
                some = ids[first : first + _LOOK_UP]
                rows += connection.execute(statement.where(entries.c.id.in_(some)).limit(limit)).mappings()
                if len(rows) >= limit:
                    break
                left = None if left is None else left - len(some)
                if left is not None and left < 0:
                    return Looked(rows, some[-1])
            continue
        if left is None:
            rows += connection.execute(statement.where(run.holds).limit(limit)).mappings()
            continue
        holds, size, count = run.holds, _FIRST_LOOK, 0
        while len(rows) < limit:
            size = min(size, left + 1)
            count, last = _stretch(connection, statement, holds, size)
            if count:
                rows += connection.execute(statement.where(holds, entries.c.id >= last).limit(limit)).mappings()
            left -= count
            if left < 0 or count < size:
                break
            holds, size = sa.and_(holds, entries.c.id < last), 4 * size
        if left < 0:
            return Looked(rows[:limit], last if len(rows) < limit else None)
    return Looked(rows[:limit], None)


def _stretch(
    connection: Connection, statement: sa.Select[Any], holds: sa.ColumnElement[bool], size: int
) -> tuple[int, str]:
    """How many entries there are next, at most so many, and the id of the last of them."""
    ids = sa.select(entries.c.id).where(holds).order_by(entries.c.id.desc()).limit(size).subquery()
    count, last = connection.execute(sa.select(sa.func.count(), sa.func.min(ids.c.id))).one()
    return count, last or ""


def check_filters(names: Iterable[str]) -> None:
    """Raises `BadQuestion` for what calls do not have."""
    for name in names:
        if name not in _FILTERS and not _LABEL.match(name):
            raise BadQuestion(f"filter.{name[:60]}: is not a filter; use one of {', '.join(_FILTERS)} or label.NAME")


def attribute(name: str, dialect: str) -> Any:
    """An attribute of an entry, or one of its labels, as an expression. Raises KeyError for what calls do not have."""
    label = _LABEL.match(name)
    if label is None:
        return _FILTERS[name]
    if dialect == "postgresql":
        return sa.cast(_LABELS[label[1]], sa.JSON)[label[2]].as_string()
    return sa.func.json_extract(_LABELS[label[1]], f'$."{label[2]}"')


def request(engine: Engine, entry_id: str) -> list[dict[str, Any]]:
    """One entry by its id, or all attempts (and corrections) of one request id."""
    own = sa.select(entries).where(entries.c.id == entry_id)
    same = sa.select(entries).where(entries.c.request_id == entry_id, *_around(entry_id)).order_by(entries.c.id)
    with engine.connect() as connection:
        rows = list(connection.execute(own).mappings()) or list(connection.execute(same).mappings())
        return [entry(row) for row in rows]


LONGEST_REQUEST_US = 2 * DAY_US
A_MOMENT_US = 60_000_000


def _around(request_id: str) -> list[sa.ColumnElement[bool]]:
    """When the attempts of a request began, which its id says: by the time's index, however many entries there are."""
    begin = began_at(request_id)
    if begin is None:
        return []
    return [
        entries.c.started_at >= begin - A_MOMENT_US,
        entries.c.started_at < begin + LONGEST_REQUEST_US,
    ]


_JSON_COLUMNS = ("labels", "untrusted_labels", "told_usage", "cost_lines", "flags", "budgets")

_LISTS = ("cost_lines", "flags", "budgets")


def entry(row: RowMapping) -> dict[str, Any]:
    """A ledger row with its JSON opened and its usage in one place; times still in microseconds, money in nano-USD."""
    values = dict(row)
    usage = {unit: values.pop(column) for unit, column in TOKEN_COLUMNS.items()}
    usage = {unit: quantity for unit, quantity in usage.items() if quantity}
    usage |= orjson.loads(values["usage"]) if values["usage"] else {}
    for name in _JSON_COLUMNS:
        values[name] = orjson.loads(values[name]) if values[name] else ([] if name in _LISTS else {})
    values["usage"] = usage
    values["stream"] = bool(values["stream"])
    return values
