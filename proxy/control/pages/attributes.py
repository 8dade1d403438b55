"""The attributes that pages group and filter by, and the links between them. Pure."""

from __future__ import annotations

import re

from proxy.reports.calls import GROUPS as _GROUPS
from proxy.times import BadQuestion

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
