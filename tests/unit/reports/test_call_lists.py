"""Calls without a price are listed as going through all entries lists them, and are looked for where the sums say they are."""

from __future__ import annotations

import random
from collections.abc import Mapping

import sqlalchemy as sa

from proxy.ledger.database import open_ledger
from proxy.ledger.rollups import DAY_US, HOUR_US
from proxy.ledger.schema import entries
from proxy.reports.call_lists import listed
from proxy.reports.calls import requests
from tests.support.bought import bought
from tests.support.made_up import START, fill, made_up


def pages_of(ask: object, engine: sa.Engine, filters: Mapping[str, str | None], *span: int | None) -> list[str]:
    ids: list[str] = []
    while True:
        page = ask(  # type: ignore[operator]
            engine, limit=7, before=ids[-1] if ids else None, filters=filters, since=span[0], until=span[1]
        )
        ids += [row["id"] for row in page]
        if len(page) < 7:
            return ids


def test_they_are_those_of_all_entries(database: str) -> None:
    engine, chance = open_ledger(database), random.Random(8)
    fill(engine, made_up(400, hours=200))
    moments = [None, *[START + chance.randrange(-20, 220) * HOUR_US + chance.randrange(HOUR_US) for _ in range(9)]]
    moments += [START, START + 2 * DAY_US]
    found = 0
    for _ in range(20):
        filters: dict[str, str | None] = {"priced": "no"}
        for name in chance.sample(["model", "team", "status", "agent", "customer", "key"], chance.randrange(3)):
            column = entries.c[name]
            with engine.connect() as connection:
                values = connection.execute(sa.select(column).distinct()).scalars().all()
            filters[name] = chance.choice(sorted(values, key=str))
        span = chance.sample(moments, 2)
        wanted = pages_of(requests, engine, filters, *span)
        assert pages_of(listed, engine, filters, *span) == wanted, (filters, span)
        found += len(wanted)
    assert found > 50
    engine.dispose()


def test_where_there_are_none_no_entry_is_read(database: str) -> None:
    engine = open_ledger(database)
    fill(engine, [bought(START + hour * HOUR_US, "0.1", {"input": 5}) for hour in range(60)])
    asked: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert listed(engine, limit=5, before=None, filters={"priced": "no"}, since=None, until=None) == []
    assert asked
    assert not [statement for statement in asked if "FROM entries" in statement]
    engine.dispose()
