"""Links to the calls of one group: each leads to filters that calls have."""

from __future__ import annotations

from proxy.control.pages.address import Address
from proxy.control.pages.attributes import narrowed

NOW_US = 1_796_083_200_000_000  # 2026-12-01T00:00Z
HERE = Address("/customers", since="2026-12-01")


def test_a_group_of_an_hour_is_narrowed_to_its_time() -> None:
    link = narrowed(HERE, {"customer": "acme", "hour": "2026-12-01T05:00:00Z"}, NOW_US)
    assert link.filters == (("customer", "acme"),)
    assert (link.since[:16], link.until[:16]) == ("2026-12-01T05:00", "2026-12-01T06:00")


def test_a_group_without_a_time_keeps_to_its_other_names() -> None:
    """Somebody who has paid, and has not called."""
    link = narrowed(HERE, {"customer": "acme", "day": None}, NOW_US)
    assert link == HERE.filtered("customer", "acme")


def test_a_group_without_a_name_is_those_that_have_none() -> None:
    assert narrowed(HERE, {"customer": None}, NOW_US).only == {"customer": ""}
