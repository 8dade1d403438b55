"""Three hours at a time: added up as days are (`label_days.py`), with how costs are known, and where rare calls are.

A part whose sums are as its entries and whose lists are not, as an earlier version has left it, gets the lists alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import reading, writing
from proxy.ledger.parts_schema import TOO_MANY, label_parts, person_calls, rare_calls, spend_part_sources
from proxy.ledger.rollup_schema import spend_units
from proxy.ledger.rollups.label_days import (
    PARTS,
    SETTLED_US,
    Beside,
    add_up,
    added_up_by,
    is_stale,
    label_value,
    names_text,
    wanted_names,
    whole_text,
    within,
)
from proxy.ledger.rollups.listed_calls import lists_of_calls
from proxy.ledger.rollups.sums import PART_US
from proxy.ledger.rollups.writing import ENTRY_SUMS
from proxy.ledger.schema import counted, entries, horizon


def add_up_a_part(engine: Engine, names: Iterable[str], now_us: int) -> bool:
    """As `add_up_a_day`, three hours."""
    wanted, state = wanted_names(names), label_parts.c
    over = state.start_at <= now_us - SETTLED_US - PART_US
    as_listed = sa.cast(state.built, sa.Text) + " " + names_text(wanted)
    is_now = sa.and_(
        state.built == state.changes,
        state.persons.in_([state.whole, TOO_MANY]),
        state.listed.in_([as_listed, TOO_MANY]),
    )
    as_wanted = sa.and_(is_now, state.names == names_text(wanted))
    with reading(engine).connect() as connection:
        kept = horizon(connection) or 0
        oldest = connection.execute(sa.select(sa.func.min(state.start_at))).scalar()
        query = sa.select(label_parts).where(over, state.start_at >= kept, sa.func.coalesce(~as_wanted, True))
        rows = connection.execute(query.order_by(state.start_at.desc())).all()
    if oldest is not None and oldest < kept:
        _drop_parts(engine, kept)
    for row in rows:
        is_so = row.names is not None and row.built == row.changes
        if is_stale(added_up_by(row) if is_so else None, wanted):
            return add_up(engine, PARTS, row.start_at, wanted, _Look(wanted))
        if row.persons not in (row.whole, TOO_MANY) or not _has_lists(row, wanted):
            return _list_calls(engine, row.start_at, wanted)
    return False


def _has_lists(row: Any, wanted: Sequence[str]) -> bool:
    number, _, labels = (row.listed or "").partition(" ")
    return row.listed == TOO_MANY or (number == str(row.built) and set(wanted) <= set(orjson.loads(labels)))


class _Look:
    """What is read beside a part's sums. names: of labels."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __call__(
        self, connection: Connection, start_at: int, whole: str | None, changes: int
    ) -> tuple[dict[str, str | None], Beside]:
        state, beside = self.lists(connection, start_at, whole, changes)
        return state, beside | {spend_part_sources: _sources(connection, start_at)}

    def lists(
        self, connection: Connection, start_at: int, whole: str | None, changes: int
    ) -> tuple[dict[str, str | None], dict[sa.Table, list[dict[str, Any]]]]:
        labels = {f"label.{name}": label_value(connection, entries.c.labels, name) for name in self._names}
        lists = lists_of_calls(connection, start_at, PART_US, labels)
        if lists is None:
            return {"persons": TOO_MANY, "listed": TOO_MANY}, {person_calls: [], rare_calls: []}
        listed = whole_text(changes, names_text(self._names))
        return {"persons": whole, "listed": listed}, {person_calls: lists.persons, rare_calls: lists.rare}


def _list_calls(engine: Engine, start_at: int, names: Sequence[str]) -> bool:
    """True."""
    this_part = label_parts.c.start_at == start_at
    with reading(engine).connect() as connection:
        was = connection.execute(sa.select(label_parts).where(this_part)).one()
        state, beside = _Look(names).lists(connection, start_at, was.whole, was.changes)
    with writing(engine).begin() as connection:
        there = connection.execute(sa.select(label_parts).where(this_part).with_for_update()).one_or_none()
        if there is None or (there.built, there.whole) != (was.built, was.whole):
            return True  # somebody else has added it up, or its entries are being deleted
        if there.persons in (there.whole, TOO_MANY):
            del beside[person_calls]  # there already; to write them again costs as much as all else
        for table, rows in beside.items():
            connection.execute(sa.delete(table).where(table.c.start_at == start_at))
            if rows:
                connection.execute(sa.insert(table), rows)
        connection.execute(sa.update(label_parts).where(this_part).values(**state))
    return True


def _drop_parts(engine: Engine, before: int) -> None:
    """Where entries are deleted, only days are asked for. One at a time: the recorder waits for no more than that."""
    with reading(engine).connect() as connection:
        old = sa.select(label_parts.c.start_at).where(label_parts.c.start_at < before)
        starts = connection.execute(old.order_by(label_parts.c.start_at)).scalars().all()
    for at in starts:
        with writing(engine).begin() as connection:
            for table in (label_parts, PARTS.sums, PARTS.impersonal, spend_part_sources, person_calls, rare_calls):
                connection.execute(sa.delete(table).where(table.c.start_at == at))
            units = (spend_units.c.rollup.in_([PARTS.sums.name, PARTS.impersonal.name]), spend_units.c.start_at == at)
            connection.execute(sa.delete(spend_units).where(*units))


def _sources(connection: Connection, start_at: int) -> list[dict[str, Any]]:
    """How the calls of three hours came to their costs."""
    query = certainty_query(within(start_at, PART_US))
    names = [column.name for column in spend_part_sources.columns]
    rows = connection.execute(query).all()
    return [
        dict(zip(names, (start_at, status, source or "", *numbers), strict=True)) for status, source, *numbers in rows
    ]


def certainty_query(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """status, usage_source (None: none), calls, those without a price, and what the others cost: of the entries."""
    sums = (ENTRY_SUMS["requests"], ENTRY_SUMS["unpriced_requests"], sa.func.coalesce(entries.c.cost_nanousd, 0))
    source = sa.func.nullif(entries.c.usage_source, "")
    query = sa.select(entries.c.status, source, *map(sa.func.sum, sums))
    return query.where(where, entries.c.kind == "attempt", counted()).group_by(entries.c.status, source)
