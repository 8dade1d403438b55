"""Months begin where their zone says."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from proxy.reports.months import after, before, month_at, month_named, months
from proxy.times import BadQuestion

UTC_ZONE, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")


def us(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type]


def test_a_month_and_its_neighbours() -> None:
    december = month_named("2026-12", UTC_ZONE)
    assert december == ("2026-12", us(2026, 12, 1), us(2027, 1, 1))
    assert after(december, UTC_ZONE).name == "2027-01"
    assert before(december, UTC_ZONE).name == "2026-11"
    assert [month.name for month in months(us(2026, 11, 30), us(2027, 1, 1) + 1, UTC_ZONE)] == [
        "2026-11",
        "2026-12",
        "2027-01",
    ]


def test_a_zones_month_begins_at_its_midnight() -> None:
    assert month_named("2026-07", BERLIN).start == us(2026, 6, 30, 22)
    assert month_at(us(2026, 6, 30, 22), BERLIN).name == "2026-07"
    assert month_at(us(2026, 6, 30, 22) - 1, BERLIN).name == "2026-06"


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-00", "26-01", "2026-1", "0001-01", "2026-11-01"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(BadQuestion):
        month_named(text, UTC_ZONE)


def test_endless_periods_are_refused() -> None:
    with pytest.raises(BadQuestion):
        list(months(0, us(2026, 1, 1), UTC_ZONE))
