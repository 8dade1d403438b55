"""Rows that are put in, or change the row that is there: what is odd in a name is a name all the same."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from proxy.ledger.database import open_ledger
from proxy.ledger.schema import budget_spend, metric_state
from proxy.ledger.upserts import Upsert

ODD = [
    "plain", "", " ", "null", "NULL", '"', "\\", "\\n", "a\nb", "\t", "{", "}", "{}", "[", "]", ",", "a,b", "'", "%s", "%", "?", ":x",
    "é", "日本", "🙂", "\u2028", "\x01", "\x7f", "  two  ", '{"a": "b"}',
]  # fmt: skip


def test_names_of_any_kind_are_what_they_were(database: str) -> None:
    engine = open_ledger(database)
    upsert = Upsert(metric_state, engine.dialect)
    rows = [("i", name, name, name) for name in sorted(ODD)]
    for some in (rows, *([row] for row in rows)):
        with engine.begin() as connection:
            upsert.write(connection, some)
    with engine.connect() as connection:
        kept = connection.execute(sa.select(metric_state)).all()
    assert sorted(tuple(row) for row in kept) == sorted(rows)
    engine.dispose()


def test_what_is_added_is_added_and_what_stays_stays(database: str) -> None:
    engine = open_ledger(database)
    adding = Upsert(budget_spend, engine.dialect, {"amount": "{there} + {new}"})
    most = 2**63 - 1
    with engine.begin() as connection:
        adding.write(connection, [("a", "", 0, "usd", most - 5), ("b", "g", -1, "usd", 3)])
        adding.write(connection, [("a", "", 0, "usd", 5), ("b", "g", -1, "usd", -10)])
        amounts = connection.execute(sa.select(budget_spend.c.amount).order_by(budget_spend.c.budget)).scalars().all()
    assert amounts == [most, -7]
    staying = Upsert(budget_spend, engine.dialect, {"amount": "{there}"})
    with engine.begin() as connection:
        staying.write(connection, [("a", "", 0, "usd", 1)])
        assert connection.execute(sa.select(sa.func.max(budget_spend.c.amount))).scalar() == most
    engine.dispose()


def test_what_the_database_cannot_hold_is_its_error(database: str) -> None:
    engine = open_ledger(database)
    with pytest.raises((sa.exc.DBAPIError, OverflowError)), engine.begin() as connection:
        Upsert(budget_spend, engine.dialect).write(connection, [("a", "", 0, "usd", 2**63)])
    engine.dispose()
