"""The address of a page: everything chosen is in it, what makes no sense is named, and a link leads to the same again."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.control.pages.address import Address, Range, previous, ranges, read
from proxy.times import BadQuestion

NOW_S = 1_795_916_000.0  # 2026-11-29T01:33:20Z
TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=20)


def again(address: Address) -> Address:
    parts = urlsplit(str(address))
    return read(parts.path, parse_qsl(parts.query, keep_blank_values=True))


@given(
    st.sampled_from(["", "7d", "2026-11-01"]),
    st.lists(st.sampled_from(["team", "model", "label.x"]), unique=True, max_size=2),
    st.dictionaries(TEXT, st.none() | TEXT, max_size=4),
    st.dictionaries(st.sampled_from(["sort", "top", "next"]), TEXT, max_size=3),
)
def test_a_link_leads_to_the_same_page(
    since: str, by: list[str], filters: dict[str, str | None], rest: dict[str, str]
) -> None:
    address = Address("/spend", since, "", "Europe/Berlin", tuple(by), tuple(filters.items()), tuple(rest.items()))
    assert again(address) == address


def test_a_date_is_the_readers_midnight() -> None:
    berlin = read("/spend", [("since", "2026-11-01"), ("until", "2026-11-02"), ("tz", "Europe/Berlin")])
    since, until = berlin.moments(NOW_S)
    assert since == 1_793_487_600_000_000  # 2026-10-31T23:00:00Z
    assert until == since + 24 * 3600 * 1_000_000


def test_the_day_on_which_clocks_change_has_25_hours() -> None:
    day = read("/spend", [("since", "2026-10-25"), ("until", "2026-10-26"), ("tz", "Europe/Berlin")])
    since, until = day.moments(NOW_S)
    assert since is not None
    assert until == since + 25 * 3600 * 1_000_000


def test_an_empty_filter_means_none_and_is_not_lost() -> None:
    address = read("/spend", [("filter.team", "")])
    assert address.filters == (("team", None),)
    assert str(address) == "/spend?filter.team="


def test_filters_replace_each_other_and_end_by_themselves() -> None:
    address = read("/calls", [("filter.team", "a"), ("next", "x")]).filtered("team", "b").filtered("key", "k")
    assert (address.filters, address.get("next")) == ((("team", "b"), ("key", "k")), "")
    assert address.unfiltered("team").filters == (("key", "k"),)


def test_the_default_range_is_only_for_who_says_nothing() -> None:
    assert read("/spend", [], "7d").since == "7d"
    assert read("/spend", [("until", "2026-11-01")], "7d").since == ""
    assert read("/spend", [("since", "1h")], "7d").since == "1h"


def test_all_time_has_a_name_that_survives_a_default() -> None:
    address = read("/calls", [("since", "all")], "24h")
    assert again(address).moments(NOW_S) == address.moments(NOW_S) == (None, None)
    assert "since=all" in str(address.filtered("team", "a").at("/spend"))


@pytest.mark.parametrize(
    ("pairs", "named"),
    [
        ([("tz", "Mars/Olympus")], "tz: 'Mars/Olympus' is not a time zone"),
        ([("tz", "../../etc/passwd")], "tz"),
        ([("filter.team", "x" * 501)], "longer than 500"),
        ([(f"filter.label.n{number}", "x") for number in range(17)], "at most 16 filters"),
    ],
)
def test_what_makes_no_sense_is_named(pairs: list[tuple[str, str]], named: str) -> None:
    with pytest.raises(BadQuestion, match=named):
        read("/spend", pairs)


@pytest.mark.parametrize("since", ["soon", "2026-13-01", "2026-02-30", "0000-01-01", "99999999d"])
def test_a_time_that_is_none_is_named(since: str) -> None:
    with pytest.raises(BadQuestion):
        read("/spend", [("since", since)]).moments(NOW_S)


def test_months_are_named_by_their_dates_so_that_a_shared_link_keeps_its_month() -> None:
    offered = {range_.title: range_ for range_ in ranges(ZoneInfo("UTC"), NOW_S)}
    assert offered["this month"] == Range("this month", "2026-11-01", "")
    assert offered["last month"] == Range("last month", "2026-10-01", "2026-11-01")
    assert offered["today"].since == "2026-11-29"


def test_the_time_before_is_as_long() -> None:
    assert previous(100, 130) == (70, 100)
