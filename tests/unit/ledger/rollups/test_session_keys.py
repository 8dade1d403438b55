"""Sessions of one key: whatever is known of whose they are, they are what all entries say."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from proxy.ledger.database import open_ledger
from proxy.ledger.rollup_schema import spend_sessions as table
from proxy.ledger.rollups import session_keys
from proxy.ledger.rollups.session_keys import note_keys
from proxy.ledger.schema import entries
from proxy.reports import sessions as lists
from proxy.times import HOUR_US
from tests.support.bought import bought
from tests.support.examples import examples
from tests.support.made_up import START, fill, made_up

KEYS = ("checkout", "search", "intern", "none such", "")


def forget(engine: Engine, *, every: int = 1) -> None:
    """As an earlier version writes sessions: of each so many-th nothing is known."""
    with engine.begin() as connection:
        groups = connection.execute(sa.select(table.c.group).order_by(table.c.group)).scalars().all()[::every]
        connection.execute(sa.update(table).where(table.c.group.in_(groups)).values(key=None, keyed=0))


def by_entries(engine: Engine, key: str, since: int | None, until: int | None) -> set[str | None]:
    row = entries.c
    query = sa.select(row.root_session_id).where(
        sa.func.coalesce(row.key, "") == key, row.status.not_in(["void", "running"])
    )
    query = query.where(row.started_at >= (since or 0), row.started_at < (until or 1 << 60))
    with engine.connect() as connection:
        return set(connection.execute(query).scalars())


def listed(engine: Engine, key: str, order: Any, since: int | None, until: int | None) -> list[str | None]:
    """All pages."""
    rows: list[lists.SessionRow] = []
    while True:
        after = lists.place_of(rows[-1], order) if rows else None
        page = lists.sessions(
            engine, limit=7, order=order, after=after, since=since, until=until, having={"key": key}, lone_counts=True
        )
        rows += page
        if len(page) < 7:
            values = [(row.cost_nanousd, row.ended_at)[order == "latest"] for row in rows]
            assert values == sorted(values, reverse=True)
            return [row.session for row in rows]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Sessions of several keys, of one and of none; of every third it is not known, and calls of some came later."""
    engine, chance = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/l.db"), random.Random(5)
    made = made_up(500, hours=200)
    made += [
        bought(START + hour * HOUR_US, "0.002", {"input": 9}, key="checkout", root_session_id=f"own-{hour}")
        for hour in range(60)
    ]
    chance.shuffle(made)
    fill(engine, made[:300])
    forget(engine, every=3)
    fill(engine, made[300:])
    return engine


moments = st.one_of(st.none(), st.integers(-5, 210).map(lambda hour: START + hour * HOUR_US))


@examples(12)
@given(key=st.sampled_from(KEYS), order=st.sampled_from(["latest", "cost"]), since=moments, until=moments)
def test_they_are_those_of_the_entries(
    filled: Engine, key: str, order: str, since: int | None, until: int | None
) -> None:
    found = listed(filled, key, order, since, until)

    assert len(found) == len(set(found))
    assert set(found) == by_entries(filled, key, since, until)


def keys_of(engine: Engine) -> dict[str | None, tuple[str | None, int, int]]:
    with engine.connect() as connection:
        rows = connection.execute(sa.select(table.c.session, table.c.key, table.c.keyed, table.c.requests))
        return {session: (key, keyed, requests) for session, key, keyed, requests in rows}


def test_what_an_earlier_version_began_gets_its_key(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_keys, "_AT_ONCE", 10)
    monkeypatch.setattr(session_keys, "_MOST_CALLS", 20)
    engine = open_ledger(database)
    fill(engine, [bought(START + n, "0.1", {"input": 5}, key="a", root_session_id=f"s{n % 15}") for n in range(30)])
    fill(engine, [bought(START + n, "0.1", {"input": 5}, key="b", root_session_id="s0") for n in range(3)])
    fill(engine, [bought(START + n, "0.1", {"input": 5}, key="a", root_session_id="long") for n in range(21)])
    as_recorded = keys_of(engine)
    assert as_recorded["s0"] == ("a", 2, 5)
    assert as_recorded["s1"] == ("a", 2, 2)
    forget(engine)
    fill(engine, [bought(START, "0.1", {"input": 5}, key="a", root_session_id="s1")])
    assert keys_of(engine)["s1"] == (None, 0, 3)  # what it had before may have another

    while note_keys(engine):
        pass

    known = keys_of(engine)
    assert (known["s0"], known["s1"], known["s2"]) == (("b", 3, 5), ("a", 3, 3), ("a", 2, 2))
    assert known["long"] == ("", 0, 21)  # looked up in its entries
    assert set(listed(engine, "a", "cost", None, None)) == {*(f"s{n}" for n in range(15)), "long"}
    assert listed(engine, "b", "cost", None, None) == ["s0"]
    engine.dispose()


def test_a_call_that_is_counted_meanwhile_is_not_lost(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_ledger(database)
    fill(engine, [bought(START, "0.1", {"input": 5}, key="a", root_session_id="s")])
    forget(engine)
    whole = session_keys._keys

    def meanwhile(*given: Any) -> Any:
        found = whole(*given)
        fill(engine, [bought(START + 1, "0.1", {"input": 5}, key="b", root_session_id="s")])
        return found

    monkeypatch.setattr(session_keys, "_keys", meanwhile)
    note_keys(engine)
    assert keys_of(engine)["s"] == (None, 0, 2)
    monkeypatch.undo()
    note_keys(engine)
    assert keys_of(engine)["s"][1:] == (1, 2)
    assert listed(engine, "b", "latest", None, None) == ["s"]
    engine.dispose()


def test_sessions_of_a_key_are_found_without_their_entries(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/l.db")
    fill(engine, [bought(START + n, "0.1", {"input": 5}, key="ab"[n % 2]) for n in range(20)])
    asked: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

    rows = lists.sessions(engine, limit=3, order="cost", having={"key": "b"})

    assert len(rows) == 3
    assert not [statement for statement in asked if "FROM entries" in statement and "session_source" not in statement]
    engine.dispose()
