"""Months that were charged: kept as they were, once for each way to group them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import insert_into, writing
from proxy.ledger.schema import closed_months

Items = Sequence[Mapping[str, Any]]


class Closing(NamedTuple):
    """`items` and `adjustments` as the report had them; by: the names that it grouped by, with commas between."""

    month: str
    by: str
    timezone: str
    mark_up: str
    items: Items
    adjustments: Items
    closed_at: int


def closings(connection: Connection, by: str, timezone: str) -> dict[str, Closing]:
    """Month -> how it was closed, of those that were grouped so."""
    query = sa.select(closed_months).where(closed_months.c.by == by, closed_months.c.timezone == timezone)
    by_month = {}
    for row in connection.execute(query).mappings():
        values = dict(row)
        lists = {name: orjson.loads(values[name]) for name in ("items", "adjustments")}
        by_month[values["month"]] = Closing(**values | lists)
    return by_month


def close(engine: Engine, closing: Closing) -> bool:
    """Keep it; False where the month is closed already, and stays as it was."""
    lists = {name: orjson.dumps(list(getattr(closing, name))).decode() for name in ("items", "adjustments")}
    with writing(engine).begin() as connection:
        done = connection.execute(
            insert_into(connection, closed_months)
            .values(closing._asdict() | lists)
            .on_conflict_do_nothing(index_elements=["month", "by", "timezone"])
            .returning(closed_months.c.month)
        )
        return done.first() is not None
