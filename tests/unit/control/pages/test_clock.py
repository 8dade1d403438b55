"""Moments in the zone of a page, which says it once and whose links keep it."""

from __future__ import annotations

from datetime import UTC, datetime

from proxy.control.pages.clock import Clock, in_own_zone, kept
from tests.support.rows import each_row

NOW_US = int(datetime(2026, 11, 30, 8, 15, 2, tzinfo=UTC).timestamp()) * 1_000_000


@each_row(
    "tz, at, shown",
    [
        ("UTC", NOW_US, "Nov 30, 08:15:02"),
        ("Asia/Tokyo", NOW_US, "Nov 30, 17:15:02"),
        ("America/New_York", "2026-11-30T03:15:02.500000Z", "Nov 29, 22:15:02"),
        ("UTC", "2025-03-01T00:00:00Z", "Mar 1, 2025, 00:00:00"),
        ("Pacific/Kiritimati", "9999-12-31T23:59:59Z", "Dec 31, 9999, 23:59:59"),
    ],
)
def test_a_moment_is_shown_in_its_zone_with_a_year_that_is_not_this_one(tz: str, at: int | str, shown: str) -> None:
    assert Clock(tz, NOW_US).shown(at) == shown


def test_a_sheet_of_paper_says_when_it_was() -> None:
    clock = Clock("Asia/Tokyo", NOW_US)
    day_us = 86_400_000_000
    assert clock.on_paper(NOW_US - day_us, None, "all") == "Nov 29, 2026, 17:15 to Nov 30, 2026, 17:15, Asia/Tokyo"
    assert clock.on_paper(None, NOW_US - day_us, "all") == "all to Nov 29, 2026, 17:15, Asia/Tokyo"
    assert clock.printed() == "as of Nov 30, 2026, 17:15, Asia/Tokyo"


def test_links_to_other_pages_keep_the_zone_and_nothing_else_changes() -> None:
    html = (
        '<link href="/page/a.css"><a href="/calls/1#lines-1">1</a> <a href="/spend?by=team">2</a> '
        '<a href="/month?tz=UTC">3</a> <a href="#here">4</a> <a href="https://example.com/">5</a>'
    )
    assert kept(html, "UTC") == html
    assert kept(html, "Etc/GMT+5") == (
        '<link href="/page/a.css"><a href="/calls/1?tz=Etc/GMT%2B5#lines-1">1</a> '
        '<a href="/spend?by=team&amp;tz=Etc/GMT%2B5">2</a> '
        '<a href="/month?tz=UTC">3</a> <a href="#here">4</a> <a href="https://example.com/">5</a>'
    )


@each_row(
    "link, named",
    [
        ("/spend", "/spend?tz=UTC"),
        ("/spend?since=7d", "/spend?since=7d&tz=UTC"),
        ("/spend?tz=Asia/Tokyo", "/spend?tz=Asia/Tokyo"),
        ("/spend?since=7d&tz=Asia/Tokyo", "/spend?since=7d&tz=Asia/Tokyo"),
    ],
)
def test_a_link_that_has_a_zone_of_its_own_names_it(link: str, named: str) -> None:
    assert in_own_zone(link) == named
