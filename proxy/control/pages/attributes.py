"""The attributes that pages group and filter by, and the links between them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from proxy.control.pages.address import Address
from proxy.reports.calls import GROUPS as _GROUPS
from proxy.reports.spans import LENGTHS_US
from proxy.times import BadQuestion, moment, rfc3339

_LABEL = re.compile(r"(label|claimed)\.[A-Za-z0-9_.-]{1,100}\Z")

GROUPS = tuple(_GROUPS)
PERIODS = ("hour", "day", "week", "month")

NOBODY = "(none)"
"""How a group is drawn whose calls have no such attribute."""


def check_groups(names: tuple[str, ...]) -> None:
    """Raises `BadQuestion` for what calls cannot be grouped by."""
    for name in names:
        if name not in GROUPS and not _LABEL.match(name):
            raise BadQuestion(f"by: {name[:60]!r} cannot be grouped by; use one of {', '.join(GROUPS)} and label.NAME")


def check_spend_filters(names: list[str]) -> None:
    """Raises `BadQuestion` for a filter that sums are not kept by."""
    for name in names:
        if name not in GROUPS and not _LABEL.match(name):
            raise BadQuestion(f"filter.{name[:60]}: there are {', '.join(GROUPS)} and label.NAME")


def narrowed(address: Address, group: Mapping[str, str | None], now_us: int) -> Address:
    """To the calls of one group. Of an hour or a day that is its time, as far as the address's own reaches into it: calls have
    no such attribute. A group without a time has no calls (what somebody has paid): all that its other names say are meant."""
    for name, value in group.items():
        if name not in LENGTHS_US:
            address = address.filtered(name, value)
            continue
        if value is None:
            continue
        begins = moment(value, now_us / 1e6)
        ends = begins + LENGTHS_US[name]
        since, until = address.moments(now_us / 1e6)
        if (since is None or since < ends) and (until is None or until > begins):
            begins = begins if since is None else max(begins, since)
            ends = ends if until is None else min(ends, until)
        address = address.without("next")._replace(since=rfc3339(begins) or "", until=rfc3339(ends) or "")
    return address


def lasting(by: Sequence[str]) -> tuple[str, ...]:
    """Those of the names that are attributes of calls, and no times."""
    return tuple(name for name in by if name not in LENGTHS_US)
