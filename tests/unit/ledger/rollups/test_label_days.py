"""Times that are over, added up by label and all else: whatever is asked and whatever came late, the answer is the entries'."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.control.labels import label_names
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import open_ledger
from proxy.ledger.parts_schema import spend_label_parts
from proxy.ledger.recording.retention import delete_some
from proxy.ledger.rollup_schema import spend_days, spend_label_days
from proxy.ledger.rollups import label_days
from proxy.ledger.rollups.label_days import MOST_NAMES, add_up_a_day
from proxy.ledger.rollups.label_parts import add_up_a_part, certainty_query
from proxy.ledger.rollups.sums import PART_US
from proxy.ledger.schema import entries
from proxy.reports.overview import cost_certainty
from proxy.reports.spans import ENTRIES, Span, answering
from proxy.reports.spend import spend
from proxy.times import DAY_US, HOUR_US
from tests.support.bought import bought
from tests.support.examples import examples
from tests.support.made_up import START, fill, made_up
from tests.support.postgres import PostgresServer

LATER = START + 60 * DAY_US
NAMES = [
    "key",
    "team",
    "user",
    "customer",
    "model",
    "provider",
    "upstream",
    "agent",
    "day",
    "hour",
    "label.plan",
    "label.a.b-c",
    "label.none",
    "claimed.x",
]
moments = st.one_of(
    st.none(),
    st.integers(-2, 16).map(lambda day: START + day * DAY_US),
    st.integers(0, 100).map(lambda part: START + part * PART_US),
    st.integers(-9 * HOUR_US, 320 * HOUR_US).map(lambda at: START + at),
)


def add_up(engine: Engine, names: list[str], now_us: int = LATER) -> int:
    """How many days were added up."""
    return count_of(lambda: add_up_a_day(engine, names, now_us))


def add_up_parts(engine: Engine, names: list[str], now_us: int = LATER) -> int:
    """How many times of three hours were added up."""
    return count_of(lambda: add_up_a_part(engine, names, now_us))


def count_of(add: Callable[[], bool]) -> int:
    count = 0
    while add():
        count += 1
    return count


@pytest.fixture(scope="module")
def filled(shared_database: str) -> Iterator[Engine]:
    """300 hours: added up by one label, then by two, and half of the days have changed again since; parts of them later yet."""
    engine, made = open_ledger(shared_database), made_up(600, hours=300)
    # Calls of all days, as late as can be; a correction may come before what it corrects.
    random.Random(3).shuffle(made)
    fill(engine, made[:400])
    assert add_up(engine, ["plan"]) == 13
    fill(engine, made[400:500])
    assert add_up(engine, ["plan", "a.b-c"]) == 13
    early, late = START + 4 * DAY_US, START + 6 * DAY_US
    fill(engine, [entry for entry in made[500:] if entry.row.started_at < early])
    assert add_up_parts(engine, ["plan", "a.b-c"]) > 80
    fill(engine, [entry for entry in made[500:] if early <= entry.row.started_at < late])
    yield engine
    engine.dispose()


@pytest.mark.long
@examples(15)
@given(by=st.lists(st.sampled_from(NAMES), max_size=4, unique=True), since=moments, until=moments)
def test_the_answer_is_that_of_the_entries(filled: Engine, by: list[str], since: int | None, until: int | None) -> None:
    assert spend(filled, by, since, until) == spend(filled, by, since, until, rolled=False)


def read_by(engine: Engine, ask: Callable[[], object]) -> list[str]:
    read: list[str] = []

    def note(conn: object, cursor: object, statement: str, *_: object) -> None:
        read.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        ask()
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    return read


def test_days_that_are_added_up_are_not_read_from_the_entries(filled: Engine) -> None:
    quiet = START + 7 * DAY_US

    for by in (["label.plan"], ["customer", "label.plan", "label.a.b-c"], ["day", "label.plan", "model"]):
        assert not any("FROM entries" in text for text in read_by(filled, lambda by=by: spend(filled, by, quiet, None)))  # type: ignore[misc]
        assert any("FROM entries" in text for text in read_by(filled, lambda by=by: spend(filled, by, None, None)))  # type: ignore[misc]
    assert any("FROM entries" in text for text in read_by(filled, lambda: spend(filled, ["label.x"], quiet, None)))


def test_whom_agents_served_is_not_read_from_the_entries(filled: Engine) -> None:
    quiet, noon = START + 7 * DAY_US, START + 7 * DAY_US + 4 * PART_US

    for by in (["customer", "agent"], ["user", "upstream", "day"], ["customer", "provider", "label.plan"]):
        assert not any("FROM entries" in text for text in read_by(filled, lambda by=by: spend(filled, by, quiet, None)))  # type: ignore[misc]
    for by in (["customer"], ["customer", "agent"], ["label.plan"]):
        assert not any("FROM entries" in text for text in read_by(filled, lambda by=by: spend(filled, by, noon, None)))  # type: ignore[misc]
    assert any("FROM entries" in text for text in read_by(filled, lambda: spend(filled, ["customer"], noon + 1, None)))


@examples(15)
@given(since=moments.filter(lambda at: at is not None))
def test_how_sure_it_is_is_what_the_entries_say(filled: Engine, since: int) -> None:
    with filled.connect() as connection:
        by_entry = [tuple(row) for row in connection.execute(certainty_query(entries.c.started_at >= since))]
    said = [
        (row.status, row.source, row.calls, row.unpriced, row.cost_nanousd) for row in cost_certainty(filled, since)
    ]
    assert sorted(said, key=repr) == sorted(by_entry, key=repr)


def test_parts_of_days_are_added_up_when_they_are_over(ledger: Engine) -> None:
    fill(ledger, [*calls(3, plan="pro"), *calls(2, START + PART_US, plan="free")])

    first = START // PART_US * PART_US
    assert add_up_parts(ledger, ["plan"], first + PART_US + HOUR_US // 60) == 0
    assert add_up_parts(ledger, ["plan"], first + PART_US + HOUR_US) == 1
    assert add_up_parts(ledger, ["plan"], first + 3 * PART_US) == 1
    assert add_up_parts(ledger, ["plan", "region"], first + 3 * PART_US) == 2
    assert add_up_parts(ledger, ["region"], first + 3 * PART_US) == 0
    assert [(row.status, row.calls) for row in cost_certainty(ledger, first)] == [("settled", 5)]
    fill(ledger, calls(1, START + PART_US, plan="free"))
    assert [(row.status, row.calls) for row in cost_certainty(ledger, first)] == [("settled", 6)]
    assert add_up_parts(ledger, ["region"], first + 3 * PART_US) == 1


def test_a_day_that_an_earlier_version_adds_up_again_is_not_whole(ledger: Engine) -> None:
    """It leaves providers and agents out, and writes its own number and names."""
    fill(ledger, calls(3, plan="pro"))
    add_up(ledger, ["plan"])
    with ledger.begin() as connection:
        connection.execute(sa.update(spend_label_days).values(provider=None, upstream=None, agent=None))
        connection.execute(sa.update(label_days.label_days).values(names='["other","plan"]'))

    by = ["customer", "provider"]
    assert spend(ledger, by, None, None) == spend(ledger, by, None, None, rolled=False)
    assert not any(
        "FROM entries" in text for text in read_by(ledger, lambda: spend(ledger, ["label.plan"], None, None))
    )
    assert add_up(ledger, ["plan"]) == 1


def test_a_day_that_an_earlier_version_adds_up_at_the_same_time_is_not_whole(ledger: Engine) -> None:
    """Both read the day when it had changed as often, by the same labels, and the earlier version writes last."""
    fill(ledger, calls(3, plan="pro"))
    add_up(ledger, ["plan"])
    with ledger.begin() as connection:
        connection.execute(sa.update(spend_label_days).values(provider=None, upstream=None, agent=None))
        connection.execute(sa.update(label_days.label_days).values(names='["plan"]'))

    by = ["customer", "provider"]
    assert spend(ledger, by, None, None) == spend(ledger, by, None, None, rolled=False)
    assert add_up(ledger, ["plan"]) == 1
    assert add_up(ledger, ["plan"]) == 0


def test_of_three_hours_in_which_a_time_ends_at_most_half_is_read_by_entry(ledger: Engine) -> None:
    fill(ledger, [*calls(2), *calls(1, START + PART_US - 1)])
    assert add_up_parts(ledger, []) == 1
    until = START + PART_US - HOUR_US * 4 // 3  # within the second hour

    with ledger.connect() as connection:
        parts = answering(connection, ["customer"], Span(START, until))
    assert [(part.spans, part.sign) for part in parts if part.source is ENTRIES] == [
        ([Span(until, START + PART_US)], -1)
    ]
    (row,) = spend(ledger, ["customer"], START, until)
    assert row.requests == 2


def test_parts_whose_entries_are_deleted_go_one_at_a_time(ledger: Engine) -> None:
    """The recorder waits for what is deleted at once."""
    fill(ledger, [*calls(1), *calls(1, START + PART_US), *calls(1, START + 9 * DAY_US)])
    assert add_up_parts(ledger, []) == 3
    while delete_some(ledger, 5, START + 10 * DAY_US):
        pass

    began: list[object] = []
    sa.event.listen(ledger, "begin", began.append)
    read = read_by(ledger, lambda: add_up_parts(ledger, []))
    deleted = [text for text in read if text.startswith("DELETE FROM spend_label_parts")]
    assert len(deleted) == 2
    assert len(began) > 2
    with ledger.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(spend_label_parts)).scalar_one() == 1


@pytest.fixture
def ledger(database: str) -> Iterator[Engine]:
    engine = open_ledger(database)
    yield engine
    engine.dispose()


def calls(count: int, at: int = START, **labels: str) -> list[Any]:
    return [bought(at + number, "0.001", {"input": 10, "image": "1.5"}, labels=labels) for number in range(count)]


def test_a_day_is_added_up_when_it_is_over(ledger: Engine) -> None:
    fill(ledger, calls(3, plan="pro"))

    day = START // DAY_US * DAY_US + DAY_US
    assert add_up(ledger, ["plan"], day + HOUR_US // 60) == 0
    assert add_up(ledger, [], day + HOUR_US) == 1
    assert add_up(ledger, ["plan"], day + HOUR_US) == 1
    assert add_up(ledger, ["plan"], day + HOUR_US) == 0
    assert add_up(ledger, ["plan", "region"], day + HOUR_US) == 1
    assert add_up(ledger, ["region"], day + HOUR_US) == 0  # more than is asked for is as good
    (row,) = spend(ledger, ["label.plan"], None, None)
    assert (row.group, row.requests, row.usage) == ({"label.plan": "pro"}, 3, {"input": 30, "image": "4.5"})


@pytest.mark.needs("postgres")
def test_on_postgresql_the_calls_of_a_day_are_never_in_memory_at_once(postgres: PostgresServer) -> None:
    with postgres.ledger() as url:
        engine = open_ledger(url)
        fill(engine, calls(20, plan="pro"))
        cursors: list[object] = []

        def note(conn: object, cursor: object, statement: str, *_: object) -> None:
            if "entries.usage IS NOT NULL" in statement:
                cursors.append(cursor)

        sa.event.listen(engine, "before_cursor_execute", note)
        assert add_up(engine, ["plan"]) == 1
        assert [isinstance(cursor, psycopg.ServerCursor) for cursor in cursors] == [True]
        engine.dispose()


def test_what_comes_while_a_day_is_added_up_is_not_lost(ledger: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ledger, calls(3, plan="pro"))
    whole = label_days.write

    def meanwhile(*given: Any) -> None:
        fill(ledger, calls(1, START + HOUR_US, plan="free"))
        whole(*given)

    monkeypatch.setattr(label_days, "write", meanwhile)
    assert add_up_a_day(ledger, ["plan"], LATER)

    monkeypatch.undo()
    assert {row.group["label.plan"]: row.requests for row in spend(ledger, ["label.plan"], None, None)} == {
        "pro": 3,
        "free": 1,
    }
    assert add_up(ledger, ["plan"]) == 1
    assert {row.group["label.plan"]: row.requests for row in spend(ledger, ["label.plan"], None, None)} == {
        "pro": 3,
        "free": 1,
    }


def test_who_is_later_does_not_put_the_older_in_place_of_the_newer(
    ledger: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, calls(3, plan="pro"))
    whole = label_days.write

    def meanwhile(*given: Any) -> None:
        monkeypatch.undo()
        fill(ledger, calls(1, START + HOUR_US, plan="free"))
        assert add_up_a_day(ledger, ["plan"], LATER)
        whole(*given)

    monkeypatch.setattr(label_days, "write", meanwhile)
    assert add_up_a_day(ledger, ["plan"], LATER)

    assert add_up(ledger, ["plan"]) == 0
    assert sum(row.requests for row in spend(ledger, ["label.plan"], None, None)) == 4


def test_what_an_earlier_version_writes_meanwhile_is_seen(ledger: Engine) -> None:
    """It counts no changes, but what the day comes to is another."""
    fill(ledger, calls(3, plan="pro"))
    add_up(ledger, ["plan"])
    with ledger.begin() as connection:
        connection.execute(sa.update(entries).values(cost_nanousd=entries.c.cost_nanousd + 1))
        connection.execute(sa.update(spend_days).values(cost_nanousd=spend_days.c.cost_nanousd + 3))

    assert spend(ledger, ["label.plan"], None, None) == spend(ledger, ["label.plan"], None, None, rolled=False)
    assert add_up(ledger, ["plan"]) == 1


def test_a_day_with_too_many_groups_is_left_out(ledger: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_days, "MOST_GROUPS", 4)
    fill(ledger, [entry for number in range(5) for entry in calls(1, START + number, run=str(number))])
    fill(ledger, calls(2, START + DAY_US, run="one"))

    assert add_up(ledger, ["run"]) == 2
    assert add_up(ledger, ["run"]) == 0
    with ledger.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(spend_label_days)).scalar_one() == 1
    assert len(spend(ledger, ["label.run"], None, None)) == 6


def test_labels_of_deleted_entries_stay_known(ledger: Engine, tmp_path: Path, database: str) -> None:
    fill(ledger, [*calls(3, plan="pro"), *calls(2, START + 9 * DAY_US, plan="free")])
    add_up(ledger, ["plan"])
    assert add_up_parts(ledger, ["plan"]) == 2
    before = spend(ledger, ["label.plan", "customer"], None, None)

    while delete_some(ledger, 5, START + 10 * DAY_US):
        pass

    assert spend(ledger, ["label.plan", "customer"], None, None) == before
    assert len(spend(ledger, ["label.plan"], None, None, rolled=False)) == 1
    assert add_up(ledger, ["plan", "region"]) == 1  # the day that is kept
    assert add_up_parts(ledger, ["plan"]) == 0
    with ledger.connect() as connection:
        starts = connection.execute(sa.select(spend_label_parts.c.start_at)).scalars().all()
    assert min(starts, default=0) > START + 8 * DAY_US
    assert spend(ledger, ["label.plan", "customer"], None, None) == before
    assert verify(database, tmp_path).difference is None


def test_the_audit_compares_them(ledger: Engine, tmp_path: Path, database: str) -> None:
    fill(ledger, calls(3, plan="pro"))
    add_up(ledger, ["plan"])
    (tmp_path / "a").mkdir()
    assert verify(database, tmp_path / "a").difference is None
    add_up_parts(ledger, ["plan"])
    for table in (spend_label_parts, spend_label_days):
        with ledger.begin() as connection:
            connection.execute(sa.update(table).values(cost_nanousd=1))
        (tmp_path / table.name).mkdir()

        found = verify(database, tmp_path / table.name).difference

        assert found is not None
        assert table.name in found.where


def test_plans_budgets_and_keys_name_the_labels() -> None:
    config = read_section(Config, {
        "plans": [{"name": "p", "match": {"label.plan": "pro"}, "per": "label.tenant", "usd_per_month": 1}],
        "budgets": [{"name": "b", "match": {"team": "x"}, "per": ["label.region"], "limit_usd": 1, "window": "day"}],
        "keys": [{"name": "k", "key": "sk-a", "labels": {"plan": "pro", "cost_centre": "7", "un named": "x"}}],
    })  # fmt: skip

    assert label_names(config, [{"labels": {"made": "later"}}]) == ["plan", "tenant", "region", "cost_centre", "made"]
    assert len(label_names(config, [{"labels": {f"l{n}": "x" for n in range(99)}}])) == MOST_NAMES
