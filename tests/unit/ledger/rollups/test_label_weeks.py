"""Seven days added up from days that are added up: whatever is asked and whatever came late, the answer is the entries'."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from proxy.control import labels
from proxy.ledger.audit.difference import Difference
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import open_ledger
from proxy.ledger.parts_schema import spend_impersonal_weeks, spend_label_weeks
from proxy.ledger.recording.retention import delete_some
from proxy.ledger.rollup_schema import label_days as days_state
from proxy.ledger.rollups import label_weeks
from proxy.ledger.rollups.label_days import add_up_a_day
from proxy.ledger.rollups.label_weeks import add_up_a_month, add_up_a_week, add_up_days
from proxy.ledger.rollups.sums import WEEK_US
from proxy.reports.spans import answering
from proxy.reports.spend import Span, spend
from proxy.times import DAY_US, HOUR_US
from tests.support.bought import bought
from tests.support.examples import examples
from tests.support.made_up import START, fill, made_up

WEEK = START - START % WEEK_US + WEEK_US
"""The first whole one after `START`."""
NOW = WEEK + 15 * DAY_US + HOUR_US
LATER = START + 60 * DAY_US
NAMES = [
    "key",
    "team",
    "user",
    "customer",
    "model",
    "provider",
    "agent",
    "day",
    "label.plan",
    "label.a.b-c",
    "label.none",
]
moments = st.one_of(
    st.none(),
    st.integers(-2, 40).map(lambda day: START + day * DAY_US),
    st.integers(-9 * HOUR_US, 920 * HOUR_US).map(lambda at: START + at),
)


def add_up(engine: Engine, names: list[str], now_us: int = NOW) -> int:
    """All days and weeks that can be; how many weeks."""
    while add_up_a_day(engine, names, now_us):
        pass
    count = 0
    while add_up_a_week(engine, now_us):
        count += 1
    return count


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """900 hours: added up by one label, then late calls of some days, of which some are added up again by two."""
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/l.db")
    made = made_up(1200, hours=900)
    random.Random(3).shuffle(made)
    fill(engine, made[:900])
    assert add_up(engine, ["plan"], LATER) == 6
    for since, until in ((14, 16), (23, 24)):
        late = [entry for entry in made[900:] if since * DAY_US <= entry.row.started_at - START < until * DAY_US]
        assert late
        fill(engine, late)
    for _ in range(2):
        assert add_up_a_day(engine, ["plan", "a.b-c"], LATER)
    yield engine
    engine.dispose()


@pytest.mark.long
@examples(25)
@given(by=st.lists(st.sampled_from(NAMES), max_size=4, unique=True), since=moments, until=moments)
def test_the_answer_is_that_of_the_entries(filled: Engine, by: list[str], since: int | None, until: int | None) -> None:
    assert spend(filled, by, since, until) == spend(filled, by, since, until, rolled=False)


def calls(at: int, count: int = 1, **given: Any) -> list[Any]:
    return [
        bought(at + number, "0.001", {"input": 10, "image": "1.5"}, labels={"plan": "pro"}) for number in range(count)
    ]


@pytest.fixture(scope="module")
def two_weeks(shared_database: str) -> str:
    """Two weeks with a call each day, and the day behind them, added up."""
    engine = open_ledger(shared_database)
    fill(engine, [entry for day in range(15) for entry in calls(WEEK + day * DAY_US, 2)])
    assert add_up(engine, ["plan"]) == 2
    engine.dispose()
    return shared_database


@pytest.fixture
def ledger(two_weeks: str, copy_of: Callable[[str], str]) -> Iterator[Engine]:
    engine = open_ledger(copy_of(two_weeks))
    yield engine
    engine.dispose()


def audited(engine: Engine, folder: Path) -> Difference | None:
    folder.mkdir()
    return verify(engine.url.render_as_string(hide_password=False), folder).difference


def tables_read(engine: Engine, names: list[str], since: int | None = None, until: int | None = None) -> set[str]:
    with engine.connect() as connection:
        return {part.source.table.name for part in answering(connection, names, Span(since, until))}


def same_as_the_entries(engine: Engine, *by: str) -> bool:
    return spend(engine, by, None, None) == spend(engine, by, None, None, rolled=False)


def test_long_times_are_read_by_weeks(ledger: Engine) -> None:
    weeks_and_day = {"spend_label_weeks", "spend_label_days"}
    impersonal = {name.replace("label", "impersonal") for name in weeks_and_day}

    assert tables_read(ledger, ["customer", "label.plan"]) == weeks_and_day
    assert tables_read(ledger, ["provider", "user"], WEEK, WEEK + 14 * DAY_US) == {"spend_label_weeks"}
    assert tables_read(ledger, ["agent", "label.plan"], WEEK) == impersonal
    assert tables_read(ledger, ["customer", "label.plan", "day"]) == {"spend_label_days"}
    assert tables_read(ledger, ["customer", "label.plan"], WEEK + DAY_US, WEEK + 5 * DAY_US) == {"spend_label_days"}
    (row,) = spend(ledger, ["label.plan", "provider"], None, None)
    assert (row.requests, row.usage) == (30, {"input": 300, "image": 45})


def test_what_comes_late_is_seen(ledger: Engine) -> None:
    fill(ledger, calls(WEEK + 3 * DAY_US + HOUR_US))

    assert same_as_the_entries(ledger, "customer", "label.plan")
    assert not add_up_a_week(ledger, NOW)  # its day is first
    assert add_up(ledger, ["plan"]) == 1
    assert same_as_the_entries(ledger, "customer", "label.plan")
    assert "entries" not in tables_read(ledger, ["customer", "label.plan"])


def test_a_day_with_its_first_call_is_seen(database: str) -> None:
    engine = open_ledger(database)
    fill(engine, calls(WEEK) + calls(WEEK + 2 * DAY_US))
    assert add_up(engine, ["plan"]) == 1
    fill(engine, calls(WEEK + DAY_US))

    assert same_as_the_entries(engine, "customer", "label.plan")
    assert add_up(engine, ["plan"]) == 1
    assert same_as_the_entries(engine, "customer", "label.plan")
    engine.dispose()


def test_who_is_later_does_not_put_the_older_in_place_of_the_newer(
    ledger: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, calls(WEEK + HOUR_US))
    assert add_up_a_day(ledger, ["plan"], LATER)
    whole = label_weeks.write

    def meanwhile(*given: Any) -> None:
        monkeypatch.undo()
        fill(ledger, calls(WEEK + 2 * HOUR_US))
        assert add_up(ledger, ["plan"]) == 1
        whole(*given)

    monkeypatch.setattr(label_weeks, "write", meanwhile)
    assert add_up_a_week(ledger, NOW)

    assert same_as_the_entries(ledger, "customer", "label.plan")
    assert not add_up_a_week(ledger, NOW)


def test_a_week_that_is_not_over_waits(ledger: Engine) -> None:
    third = WEEK + 14 * DAY_US
    fill(ledger, calls(third + DAY_US))

    assert add_up(ledger, ["plan"], third + WEEK_US - HOUR_US) == 0
    assert add_up(ledger, ["plan"], third + WEEK_US + HOUR_US) == 1


def test_a_label_more_comes_with_its_days(ledger: Engine) -> None:
    assert "entries" in tables_read(ledger, ["label.region", "customer"])

    assert add_up(ledger, ["plan", "region"]) == 2

    assert tables_read(ledger, ["label.region", "customer"], WEEK, WEEK + 14 * DAY_US) == {"spend_label_weeks"}
    assert add_up(ledger, ["plan"]) == 0  # more than is asked for is as good


def test_days_of_an_earlier_version_make_no_week(ledger: Engine) -> None:
    with ledger.begin() as connection:
        connection.execute(sa.update(days_state).where(days_state.c.start_at == WEEK).values(whole=None))

    assert "spend_label_weeks" in tables_read(ledger, ["customer", "label.plan"])  # the other one
    assert tables_read(ledger, ["customer", "label.plan"], WEEK, WEEK + WEEK_US) == {"spend_label_days"}


def test_a_week_with_too_many_groups_is_left_out(ledger: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_weeks, "MOST_GROUPS", 1)
    more = bought(WEEK + HOUR_US, "0.001", {"input": 10}, labels={"plan": "free"})
    fill(ledger, [more])

    assert add_up(ledger, ["plan"]) == 1
    assert add_up(ledger, ["plan"]) == 0
    assert tables_read(ledger, ["customer", "label.plan"], WEEK, WEEK + WEEK_US) == {"spend_label_days"}
    assert same_as_the_entries(ledger, "customer", "label.plan")


def test_weeks_of_deleted_entries_stay_known(ledger: Engine, tmp_path: Path) -> None:
    before = spend(ledger, ["label.plan", "customer"], None, None)
    fill(ledger, calls(WEEK + HOUR_US))  # so that the first week is to be added up again

    while delete_some(ledger, 5, WEEK + 15 * DAY_US):
        pass

    assert add_up(ledger, ["plan"]) == 0
    (row,) = spend(ledger, ["label.plan", "customer"], None, None)
    assert row.requests == before[0].requests  # the late one is known to no day
    assert tables_read(ledger, ["customer", "label.plan"]) >= {"spend_label_weeks"}
    assert audited(ledger, tmp_path / "a") is None


def test_a_look_at_days_weeks_and_months_reads_the_days_once(database: str) -> None:
    """As it is done each minute, mostly where there is nothing to add up."""
    engine = open_ledger(database)
    fill(engine, [entry for day in range(0, 75, 6) for entry in calls(WEEK + day * DAY_US)])
    now_us = WEEK + 90 * DAY_US
    while add_up_days(engine, ["plan"], now_us):
        pass
    assert not add_up_a_day(engine, ["plan"], now_us)
    assert not add_up_a_week(engine, now_us)
    assert not add_up_a_month(engine, now_us)
    assert tables_read(engine, ["customer", "label.plan"]) >= {"spend_label_months", "spend_label_weeks"}
    assert same_as_the_entries(engine, "customer", "label.plan")
    asked: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

    assert not add_up_days(engine, ["plan"], now_us)

    assert len([statement for statement in asked if "FROM spend_days" in statement]) == 1
    engine.dispose()


def test_weeks_of_days_whose_entries_are_deleted_are_added_up(database: str) -> None:
    engine = open_ledger(database)
    fill(engine, [entry for day in range(15) for entry in calls(WEEK + day * DAY_US)])
    while add_up_a_day(engine, ["plan"], LATER):
        pass
    before = spend(engine, ["label.plan", "customer"], None, None)
    while delete_some(engine, 5, WEEK + 15 * DAY_US):
        pass

    assert add_up(engine, ["plan"]) == 2
    assert spend(engine, ["label.plan", "customer"], None, None) == before
    engine.dispose()


def test_the_audit_compares_them(ledger: Engine, tmp_path: Path) -> None:
    assert audited(ledger, tmp_path / "as it is") is None
    for table in (spend_impersonal_weeks, spend_label_weeks):
        with ledger.begin() as connection:
            connection.execute(sa.update(table).values(output_tokens=1))

        found = audited(ledger, tmp_path / table.name)

        assert found is not None
        assert table.name in found.where


def test_an_old_ledgers_weeks_do_not_wait_for_all_of_its_parts(ledger: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier version has added up its days and parts, and knows neither weeks nor whose calls are in a part."""
    monkeypatch.setattr(labels, "now_us", lambda: LATER)
    with ledger.begin() as connection:
        for table in (spend_label_weeks, spend_impersonal_weeks, label_weeks.label_weeks):
            connection.execute(sa.delete(table))

    for _ in range(3):
        assert labels._add_up(ledger, ["plan"])

    assert "spend_label_weeks" in tables_read(ledger, ["customer", "label.plan"], WEEK, WEEK + 14 * DAY_US)


def test_weeks_are_added_up_beside_parts_and_days(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "now_us", lambda: LATER)
    engine = open_ledger(database)
    fill(engine, calls(START) + calls(START + WEEK_US))
    while labels._add_up(engine, ["plan"]):
        pass

    two_weeks = WEEK - WEEK_US, WEEK + WEEK_US
    assert tables_read(engine, ["customer", "label.plan"], *two_weeks) == {"spend_label_weeks"}
    assert tables_read(engine, ["customer", "label.plan"]) == {"spend_label_months"}
    engine.dispose()
