"""Rare calls are listed as going through all entries lists them: those without a price are looked for where the sums say they
are, others a bounded part at a time.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
import sqlalchemy as sa

from proxy.ids import began_at
from proxy.ledger.database import open_ledger
from proxy.ledger.schema import entries
from proxy.reports import call_lists
from proxy.reports.call_lists import call_page
from proxy.reports.calls import requests
from proxy.times import DAY_US, HOUR_US
from tests.support.bought import bought
from tests.support.made_up import START, fill, made_up


def of_all(engine: sa.Engine, filters: Mapping[str, str | None], *span: int | None) -> list[str]:
    rows = requests(engine, limit=10_000, before=None, filters=filters, since=span[0], until=span[1])
    return [row["id"] for row in rows]


def pages_of(engine: sa.Engine, filters: Mapping[str, str | None], *span: int | None) -> list[str]:
    ids: list[str] = []
    before: str | None = None
    while True:
        page = call_page(engine, limit=7, before=before, filters=filters, since=span[0], until=span[1])
        ids += [row["id"] for row in page.rows]
        assert (page.back_to is None) == (len(page.rows) == 7 or page.next is None)
        if page.next is None:
            return ids
        before = page.next


@pytest.mark.long
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
        wanted = of_all(engine, filters, *span)
        assert pages_of(engine, filters, *span) == wanted, (filters, span)
        found += len(wanted)
    assert found > 50
    engine.dispose()


def test_where_there_are_none_no_entry_is_read(database: str) -> None:
    engine = open_ledger(database)
    fill(engine, [bought(START + hour * HOUR_US, "0.1", {"input": 5}) for hour in range(60)])
    asked: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert call_page(engine, limit=5, before=None, filters={"priced": "no"}, since=None, until=None).rows == []
    assert asked
    assert not [statement for statement in asked if "FROM entries" in statement]
    engine.dispose()


@pytest.mark.long
def test_what_no_sums_are_kept_by_is_looked_for_a_bounded_part_at_a_time(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pages together are what going through all entries lists; no page reads more than its part."""
    monkeypatch.setattr(call_lists, "LOOKED_THROUGH", 40)
    engine, chance = open_ledger(database), random.Random(9)
    fill(engine, made_up(400, hours=200))
    moments = [
        None,
        None,
        *[START + chance.randrange(-20, 220) * HOUR_US + chance.randrange(HOUR_US) for _ in range(6)],
    ]
    rare = {"outcome": "upstream_unreachable", "status": "unconfirmed", "usage_source": "none", "client": "none such",
            "operation": "chat", "priced": "yes", "claimed.x": None}  # fmt: skip
    found = 0
    for name, value in rare.items():
        for more in ({}, {"team": "payments"}, {"label.plan": "pro"}):
            for _ in range(3):
                span = chance.sample(moments, 2)
                wanted = of_all(engine, {name: value} | more, *span)
                assert pages_of(engine, {name: value} | more, *span) == wanted, (name, more, span)
                found += len(wanted)
    assert found > 400
    for request_id in ("r-7", "r-390", "none such"):
        wanted = of_all(engine, {"request_id": request_id}, None, None)
        assert pages_of(engine, {"request_id": request_id}, None, None) == wanted, request_id
    page = call_page(engine, limit=7, before=None, filters={"client": "none such"}, since=None, until=None)
    latest = requests(engine, limit=41, before=None, filters={}, since=None, until=None)
    assert page.back_to == began_at(latest[-1]["id"])
    assert page.next is not None
    assert (
        latest[-1]["id"]
        >= page.next
        > requests(engine, limit=60, before=None, filters={}, since=None, until=None)[-1]["id"]
    )
    engine.dispose()
