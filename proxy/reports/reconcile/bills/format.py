"""What a kind of export is: by which columns it is told, and how its rows are read. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from functools import lru_cache
from typing import Any, NamedTuple

from proxy.reports.reconcile.stated import HUMP, Stated, dollars

Row = Mapping[str, Any]
"""A row of a CSV or an item of JSON, under names of one form (`plain`) unless its format wants them as they are."""

_COST_IN = re.compile(r"((?:unrounded )?cost) ?\((.*)\)\Z", re.IGNORECASE)


class Asked(NamedTuple):
    """provider: as the price book has it. zone: whose days the times of lines are dated by."""

    provider: str
    zone: tzinfo


class Format(NamedTuple):
    """of: the providers whose bill it is (none: any's). name: for a person. told_by: columns that a file of it has, every one
    (`a|b`: either), as `plain` writes them. read: its lines. as_written: its rows keep the names of the file. is_part: it is of
    some of what is billed only."""

    of: tuple[str, ...]
    name: str
    told_by: tuple[str, ...]
    read: Callable[[Iterable[Row], Asked], Iterator[Stated]]
    as_written: bool = False
    is_part: bool = False

    def lacks(self, names: set[str]) -> list[str]:
        """What of `told_by` is not among a file's columns."""
        return [column for column in self.told_by if names.isdisjoint(column.split("|"))]


def plain(row: Mapping[str | None, Any]) -> dict[str, Any]:
    """A row under names of one form: those of `lineItem/UsageStartDate`, `service.description` and `Service description` are
    parted by `_`, and `Cost ($)` is a cost. Raises `BadQuestion` where that is in another currency."""
    return {plain_name(name or ""): value for name, value in row.items()}


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    if costs := _COST_IN.match(name.strip()):
        name, currency = costs.groups()
        dollars("USD" if currency in ("$", "US$") else currency)
    return re.sub(r"[^a-z0-9]+", "_", HUMP.sub("_", name).lower()).strip("_")


def flat(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item of JSON as a row: `{"service": {"description": …}}` as `service_description`."""
    row: dict[str, Any] = {}
    for name, value in item.items():
        if isinstance(value, Mapping):
            row |= {f"{name}_{inner}": deeper for inner, deeper in value.items()}
        else:
            row[name] = value
    return row


def first(row: Row, columns: str) -> Any:
    """What the first of the columns (`a|b`) has that has anything; None where none has."""
    return next((row[name] for name in columns.split("|") if row.get(name) not in (None, "")), None)
