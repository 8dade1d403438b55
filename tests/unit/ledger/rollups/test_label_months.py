"""Calendar months added up from days that are added up: whatever is asked and whatever came late, the answer is the entries'."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from proxy.ledger.audit.verify import verify
from proxy.ledger.database import open_ledger
from proxy.ledger.parts_schema import spend_impersonal_months, spend_label_months
from proxy.ledger.recording.retention import delete_some
from proxy.ledger.rollup_schema import label_days as days_state
from proxy.ledger.rollups import label_weeks
from proxy.ledger.rollups.label_days import add_up_a_day
from proxy.ledger.rollups.label_weeks import add_up_a_month, add_up_a_week
from proxy.ledger.rollups.sums import MONTH_US, end_of, start_of
from proxy.reports.spans import Span, answering
from proxy.reports.spend import spend, spend_each
from proxy.reports.totals import Kept
from proxy.times import DAY_US, HOUR_US
from tests.support.bought import bought
from tests.support.examples import examples
from tests.support.made_up import START, fill, made_up

NAMES = ["key", "team", "user", "customer", "model", "provider", "day", "label.plan", "label.a.b-c", "label.none"]
LATER = START + 400 * DAY_US


def first_of(month: int) -> int:
    """Where a month of 2026 begins; 13 is January 2027."""
    return int(datetime(2026 + (month - 1) // 12, (month - 1) % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


NOW = first_of(14) + 40 * DAY_US
SOON = first_of(14) + 20 * DAY_US
moments = st.one_of(
    st.none(),
    st.sampled_from([first_of(month) + off for month in (12, 13, 14, 15) for off in (-1, 0, 1, HOUR_US)]),
    st.integers(-2, 100).map(lambda day: START + day * DAY_US),
    st.integers(-9 * HOUR_US, 2420 * HOUR_US).map(lambda at: START + at),
)


@given(st.integers(-(10**17), 4 * 10**17))
def test_a_month_is_that_of_the_calendar(at: int) -> None:
    """Also where no date has so many years."""
    since, until = start_of(at, MONTH_US), end_of(at, MONTH_US)

    assert since <= at < until
    assert start_of(since, MONTH_US) == since
    assert start_of(until, MONTH_US) == until
    assert until - since in {days * DAY_US for days in (28, 29, 30, 31)}
    if 0 <= at < 250_000_000_000_000_000:
        first = datetime.fromtimestamp(at // 1_000_000, UTC).replace(day=1, hour=0, minute=0, second=0)
        assert since == int(first.timestamp()) * 1_000_000


def add_up(engine: Engine, names: list[str], now_us: int = NOW) -> int:
    """All days, weeks and months that can be; how many months."""
    while add_up_a_day(engine, names, now_us) or add_up_a_week(engine, now_us):
        pass
    count = 0
    while add_up_a_month(engine, now_us):
        count += 1
    return count


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """100 days, added up by one label, then late calls of some days, of which some are added up again by two."""
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/l.db")
    made = made_up(1600, hours=2400)
    random.Random(3).shuffle(made)
    fill(engine, made[:1300])
    assert add_up(engine, ["plan"], LATER) == 5
    late = [entry for entry in made[1300:] if 45 * DAY_US <= entry.row.started_at - START < 50 * DAY_US]
    assert late
    fill(engine, late)
    for _ in range(2):
        assert add_up_a_day(engine, ["plan", "a.b-c"], LATER)
    yield engine
    engine.dispose()


@pytest.mark.long
@examples(25)
@given(
    by=st.lists(st.sampled_from(NAMES), max_size=4, unique=True),
    spans=st.lists(st.builds(Span, moments, moments), min_size=1, max_size=4),
)
def test_the_answer_is_that_of_the_entries(filled: Engine, by: list[str], spans: list[Span]) -> None:
    """Of several spans at once as of each alone."""
    each = spend_each(filled, by, spans, Kept({}, ()))
    assert each == [spend(filled, by, *span) for span in spans]
    assert each == [spend(filled, by, *span, rolled=False) for span in spans]


def test_many_spans_are_more_than_one_question(filled: Engine) -> None:
    spans = [Span(START + day * DAY_US + HOUR_US, START + (day + 40) * DAY_US) for day in range(60)]
    for with_tokens in (True, False):
        each = spend_each(
            filled, ["customer", "label.plan"], spans, Kept({"team": "payments"}, ()), with_tokens=with_tokens
        )
        for span, rows in zip(spans, each, strict=True):
            assert rows == spend(
                filled, ["customer", "label.plan"], *span, only={"team": "payments"}, with_tokens=with_tokens
            )


def calls(at: int, count: int = 1, **given: Any) -> list[Any]:
    return [
        bought(at + number, "0.001", {"input": 10, "image": "1.5"}, labels={"plan": "pro"}) for number in range(count)
    ]


@pytest.fixture(scope="module")
def two_months(shared_database: str) -> str:
    """December and January, every third day with calls, and February, which is not over; added up."""
    engine = open_ledger(shared_database)
    fill(
        engine, [entry for at in range(first_of(12), first_of(14) + 10 * DAY_US, 3 * DAY_US) for entry in calls(at, 2)]
    )
    assert add_up(engine, ["plan"], SOON) == 2
    engine.dispose()
    return shared_database


@pytest.fixture
def ledger(two_months: str, copy_of: Callable[[str], str]) -> Iterator[Engine]:
    engine = open_ledger(copy_of(two_months))
    yield engine
    engine.dispose()


def tables_read(engine: Engine, names: list[str], since: int | None = None, until: int | None = None) -> set[str]:
    with engine.connect() as connection:
        return {part.source.table.name for part in answering(connection, names, Span(since, until))}


def same_as_the_entries(engine: Engine, *by: str) -> bool:
    return spend(engine, by, None, None) == spend(engine, by, None, None, rolled=False)


BY = ["customer", "label.plan"]
TWO = first_of(12), first_of(14)


def test_months_are_read_by_months(ledger: Engine) -> None:
    assert tables_read(ledger, BY, *TWO) == {"spend_label_months"}
    assert tables_read(ledger, ["provider", "user"], *TWO) == {"spend_label_months"}
    assert tables_read(ledger, ["agent", "label.plan"], *TWO) == {"spend_impersonal_months"}
    assert tables_read(ledger, BY, TWO[0] + 2 * DAY_US, TWO[1]) == {"spend_label_months", "spend_label_days"}
    assert tables_read(ledger, [*BY, "day"], *TWO) == {"spend_label_days"}
    assert "spend_label_months" not in tables_read(ledger, BY, TWO[1])  # it is not over
    assert same_as_the_entries(ledger, "label.plan", "provider")


def test_what_comes_late_is_seen(ledger: Engine) -> None:
    fill(ledger, calls(first_of(13) + HOUR_US) + calls(first_of(13) + DAY_US))

    assert same_as_the_entries(ledger, *BY)
    assert not add_up_a_month(ledger, SOON)  # its days are first
    assert tables_read(ledger, BY, *TWO) > {"spend_label_months", "entries"}
    assert add_up(ledger, ["plan"], SOON) == 1
    assert same_as_the_entries(ledger, *BY)
    assert tables_read(ledger, BY, *TWO) == {"spend_label_months"}


def test_who_is_later_does_not_put_the_older_in_place_of_the_newer(
    ledger: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, calls(first_of(12) + HOUR_US))
    assert add_up_a_day(ledger, ["plan"], LATER)
    whole = label_weeks.write

    def meanwhile(*given: Any) -> None:
        monkeypatch.undo()
        fill(ledger, calls(first_of(12) + 2 * HOUR_US))
        assert add_up(ledger, ["plan"], first_of(14)) == 1
        whole(*given)

    monkeypatch.setattr(label_weeks, "write", meanwhile)
    assert add_up_a_month(ledger, first_of(14))

    assert same_as_the_entries(ledger, *BY)
    assert not add_up_a_month(ledger, first_of(14))


def test_a_month_that_is_not_over_waits(ledger: Engine) -> None:
    assert add_up(ledger, ["plan"], first_of(15) - HOUR_US) == 0
    assert add_up(ledger, ["plan"], first_of(15) + HOUR_US) == 1


def test_a_label_more_comes_with_its_days(ledger: Engine) -> None:
    assert add_up(ledger, ["plan", "region"], SOON) == 2
    assert tables_read(ledger, ["label.region", "customer"], *TWO) == {"spend_label_months"}


def test_days_of_an_earlier_version_make_no_month(ledger: Engine) -> None:
    with ledger.begin() as connection:
        connection.execute(sa.update(days_state).where(days_state.c.start_at == TWO[0]).values(whole=None))

    assert "spend_label_months" not in tables_read(ledger, BY, TWO[0], first_of(13))
    assert same_as_the_entries(ledger, *BY)


def test_a_month_with_too_many_groups_is_left_out(ledger: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_weeks, "MOST_GROUPS", 1)
    fill(ledger, [bought(TWO[0] + HOUR_US, "0.001", {"input": 10}, labels={"plan": "free"})])

    assert add_up(ledger, ["plan"], first_of(14)) == 1
    assert add_up(ledger, ["plan"], first_of(14)) == 0
    assert "spend_label_months" not in tables_read(ledger, BY, TWO[0], first_of(13))
    assert same_as_the_entries(ledger, *BY)


def test_months_of_deleted_entries_stay_known(ledger: Engine, tmp_path: Path) -> None:
    before = spend(ledger, BY, *TWO)

    while delete_some(ledger, 5, SOON):
        pass

    assert add_up(ledger, ["plan"], SOON) == 0
    assert tables_read(ledger, BY, *TWO) == {"spend_label_months"}
    assert spend(ledger, BY, *TWO) == before
    assert verify(ledger.url.render_as_string(hide_password=False), tmp_path).difference is None


def test_the_audit_compares_them(ledger: Engine, tmp_path: Path) -> None:
    url = ledger.url.render_as_string(hide_password=False)
    assert verify(url, tmp_path).difference is None
    for table in (spend_impersonal_months, spend_label_months):
        (folder := tmp_path / table.name).mkdir()
        with ledger.begin() as connection:
            connection.execute(sa.update(table).values(output_tokens=1))

        found = verify(url, folder).difference

        assert found is not None
        assert table.name in found.where
