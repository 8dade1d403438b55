"""Roll-ups: however a question is cut into days, hours and edges, the answer is that of the entries, to the last digit."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from proxy.ledger import schema
from proxy.ledger.database import connect, open_ledger
from proxy.ledger.rollup_schema import spend_sessions
from proxy.ledger.rollups.sums import quantity, units_of
from proxy.ledger.rollups.writing import pages
from proxy.ledger.sql_view import view_sql
from proxy.reports import sessions as reports
from proxy.reports.sessions import sessions
from proxy.reports.spend import spend
from proxy.times import DAY_US, HOUR_US
from tests.support.examples import examples
from tests.support.made_up import START, fill, made_up
from tests.support.postgres import PostgresServer

NAMES = [
    "key",
    "team",
    "user",
    "customer",
    "model",
    "provider",
    "upstream",
    "session",
    "agent",
    "day",
    "hour",
    "label.plan",
]
ROLLUPS = ("spend_hours", "spend_days", "spend_people_days", "spend_people_weeks", "spend_sessions", "spend_units")

moments = st.one_of(
    st.none(),
    st.integers(0, 320).map(lambda hour: START + hour * HOUR_US),
    st.integers(-12, 12).map(lambda day: START + day * DAY_US),
    st.integers(-9 * HOUR_US, 320 * HOUR_US).map(lambda at: START + at),
)


@pytest.fixture(scope="module")
def filled(shared_database: str) -> Iterator[Engine]:
    """A ledger of 300 hours, shipped in batches of all sizes, of which some came twice."""
    engine, made, chance = open_ledger(shared_database), made_up(700, hours=300), random.Random(2)
    while made:
        size = chance.choice([1, 7, 150])
        fill(engine, made[:size])
        if chance.random() < 0.3:
            fill(engine, made[:size])
        made = made[size:]
    yield engine
    engine.dispose()


@pytest.mark.long
@examples(40)
@given(by=st.lists(st.sampled_from(NAMES), max_size=3, unique=True), since=moments, until=moments)
def test_the_answer_is_that_of_the_entries(filled: Engine, by: list[str], since: int | None, until: int | None) -> None:
    assert spend(filled, by, since, until) == spend(filled, by, since, until, rolled=False)


@examples(30)
@given(
    by=st.sampled_from(NAMES),
    kept=st.sampled_from(["team", "model", "customer", "agent"]),
    since=moments,
    data=st.data(),
)
def test_what_is_kept_is_that_of_the_groups(
    filled: Engine, by: str, kept: str, since: int | None, data: st.DataObject
) -> None:
    every = [row for row in spend(filled, [kept], since, None) if row.requests]
    values = data.draw(
        st.lists(st.sampled_from([row.group[kept] or "" for row in every] or [""]), min_size=1, max_size=3)
    )
    among = [{kept: value} for value in dict.fromkeys(values)]
    names = list(dict.fromkeys([by, kept]))
    wanted = [row for row in spend(filled, names, since, None, rolled=False) if (row.group[kept] or "") in values]
    assert spend(filled, names, since, None, among=among) == wanted
    assert spend(filled, names, since, None, only=among[0], among=among) == [
        row for row in wanted if (row.group[kept] or "") == values[0]
    ]


@examples(25)
@given(since=moments, until=moments, limit=st.sampled_from([1, 10, 1000]))
def test_sessions_are_those_of_the_entries(filled: Engine, since: int | None, until: int | None, limit: int) -> None:
    shown = sessions(filled, limit=limit, since=since, until=until)
    whole = {item.group["session"]: item for item in spend(filled, ["session"], since, until, rolled=False)}
    assert len(shown) == min(limit, len(whole))
    for item in shown:
        of = whole[item.session]
        assert (item.requests, item.cost_nanousd) == (of.requests, of.cost_nanousd)
    ends = [item.ended_at for item in shown]
    assert ends == sorted(ends, reverse=True)


@examples(25)
@given(
    name=st.sampled_from(["team", "customer", "model", "user", "key", "label.plan"]),
    since=moments,
    until=moments,
    order=st.sampled_from(["latest", "cost", "calls"]),
    data=st.data(),
)
def test_sessions_with_some_call_are_those_whose_calls_say_so(
    filled: Engine, name: str, since: int | None, until: int | None, order: Any, data: st.DataObject
) -> None:
    rows = spend(filled, ["session", name], since, until, rolled=False)
    value = data.draw(st.sampled_from([*sorted({row.group[name] or "" for row in rows}), "nobody's"]))
    wanted = {row.group["session"] for row in rows if (row.group[name] or "") == value}
    shown = sessions(filled, limit=1000, order=order, since=since, until=until, having={name: value}, lone_counts=True)
    every = sessions(filled, limit=1000, order=order, since=since, until=until, lone_counts=True)
    assert shown == [row for row in every if row.session in wanted]


def test_pages_of_sessions_with_some_call_are_the_whole_list(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_LOOKED_AT", 2)
    whole, pages, after = sessions(filled, limit=1000, having={"model": "big"}), [], None
    while page := sessions(filled, limit=3, having={"model": "big"}, after=after):
        pages += page
        after = reports.place_of(page[-1], "latest")
    assert pages == whole
    assert len(pages) > 6


def test_whole_days_and_hours_are_not_read_from_the_entries(filled: Engine) -> None:
    """What a report of months costs: no entry is read but those of the two broken hours at its ends."""
    read: list[str] = []

    def note(conn: object, cursor: object, statement: str, *_: object) -> None:
        read.append(statement)

    sa.event.listen(filled, "before_cursor_execute", note)
    try:
        for by in (["team", "model"], ["customer"], ["day", "key"], []):
            spend(filled, by, None, None)
            spend(filled, by, START, START + 2 * DAY_US)
        spend(filled, ["hour", "agent"], START + HOUR_US, START + 50 * HOUR_US)
        spend(filled, ["session"], None, None)
        assert not any("FROM entries" in statement for statement in read)
        spend(filled, ["team"], START + 1, None)
        assert any("FROM entries" in statement for statement in read)
    finally:
        sa.event.remove(filled, "before_cursor_execute", note)


def rolled(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """Of sessions with several keys it is that of the call that was shipped first. Under which key a session stands is left out."""
    found = {}
    table = spend_sessions.c
    with engine.connect() as connection:
        named = {row.group: row.session for row in connection.execute(sa.select(table.group, table.session))}
        for name in ROLLUPS:
            columns = [column for column in schema.metadata.tables[name].columns if column.name != "keyed"]
            columns = [column for column in columns if name != "spend_sessions" or column.name != "key"]
            rows = connection.execute(sa.select(*columns))
            found[name] = sorted((tuple(named.get(value, value) for value in row) for row in rows), key=repr)
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("shared_database", "empty_database"),
    [("sqlite", "sqlite"), pytest.param("postgresql", "postgresql", marks=pytest.mark.needs("postgres"))],
    indirect=True,
)
def test_a_ledger_without_roll_ups_gets_them(filled: Engine, empty_database: str) -> None:
    """The migration of a ledger from before there were any."""
    old = connect(empty_database)
    with old.begin() as connection:
        schema.metadata.create_all(connection)
        connection.execute(sa.text(view_sql(old.dialect.name)))
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('0003')"))
        for name in ROLLUPS:
            connection.execute(sa.text(f"DROP TABLE {name}"))
        with filled.connect() as there:
            rows = [dict(row) for row in there.execute(sa.select(schema.entries)).mappings()]
        connection.execute(sa.insert(schema.entries), rows)
    old.dispose()
    migrated = open_ledger(empty_database)
    assert rolled(migrated) == rolled(filled)
    assert all(rolled(migrated).values())
    migrated.dispose()


@pytest.mark.needs("postgres")
def test_instances_that_write_at_once_add_up(postgres: PostgresServer) -> None:
    with postgres.ledger() as url:
        engine = open_ledger(url)
        shares = [made_up(150, seed=seed, hours=2) for seed in range(4)]
        problems: list[Exception] = []

        def ship(number: int) -> None:
            try:
                fill(engine, shares[number], batch=10, instance=f"i{number}")
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=ship, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        for by in (["key", "model", "hour"], ["customer"], ["session"]):
            assert spend(engine, by, None, None) == spend(engine, by, None, None, rolled=False)
        assert spend(engine, [], None, None)[0].requests > 400
        engine.dispose()


@pytest.mark.parametrize(
    ("usage", "units"),
    [
        ('{"image": 2, "audio_second": "1.50"}', {("image", 0): 2, ("audio_second", 2): 150}),
        ('{"a": 1.25, "b": "1e3", "c": true}', {("a", 2): 125, ("b", 0): 1000}),
        ('{"a": "NaN", "b": "Infinity", "c": "1e999999999", "d": "1e-99", "e": [1], "f": null, "g": "x"}', {}),
        ('{"a": 9007199254740993, "b": "90071992547409.93"}', {}),
    ],
)
def test_quantities_are_integers_of_a_scale(usage: str, units: dict[tuple[str, int], int]) -> None:
    assert units_of(usage) == units


def test_scaled_quantities_add_up_exactly() -> None:
    assert quantity([(0, 1), (1, 5), (2, 50)]) == 2
    assert quantity([(1, 1), (1, 2)]) == "0.3"
    assert quantity([(15, 1), (0, 2**53)]) == "9007199254740992.000000000000001"


# Pages of one entry only where few are: each is a query.
@examples(12)
@given(since=moments, until=moments, size=st.sampled_from([40, 250, 5000]))
@example(since=START + 20 * HOUR_US, until=START + 40 * HOUR_US, size=1)
@example(since=None, until=START + 10 * HOUR_US, size=1)
@example(since=START + 2 * DAY_US, until=None, size=7)
def test_pages_have_each_entry_of_their_span_once(
    filled: Engine, since: int | None, until: int | None, size: int
) -> None:
    columns = (schema.entries.c.id, schema.entries.c.started_at)
    with filled.connect() as connection:
        every = connection.execute(
            sa.select(*columns).order_by(*([columns[1]] if since is not None else []), columns[0])
        ).all()
        read = [row for page in pages(connection, columns, since, until, size) for row in page]
    wanted = [row for row in every if (since is None or row[1] >= since) and (until is None or row[1] < until)]
    assert [(row["id"], row["started_at"]) for row in read] == [tuple(row) for row in wanted]


def test_a_session_with_a_row_of_another_version_counts_both(filled: Engine) -> None:
    before = {row.group["session"]: row.requests for row in spend(filled, ["session"], None, None)}
    name = next(session for session in before if session is not None)
    table = spend_sessions
    with filled.begin() as connection:
        row = connection.execute(sa.select(table).where(table.c.session == name)).mappings().first()
        assert row is not None
        connection.execute(sa.insert(table).values({**row, "group": "another version's"}))
    try:
        after = {row.group["session"]: row.requests for row in spend(filled, ["session"], None, None)}
    finally:
        with filled.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.group == "another version's"))
    assert after == before | {name: before[name] + row["requests"]}
