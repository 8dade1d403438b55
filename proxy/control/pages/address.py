"""The address of a page: all that is chosen stands in its query string, so that reload, back and a shared link show the same.

`since` and `until` (not included) are `7d`, RFC 3339 or a local date of `tz`, and `since=all` is all time; `by` names groups;
`filter.NAME` keeps to one value, where an empty one stands for "none". What else a page reads is its own (`sort`, `top`,
`next` …). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from proxy.times import BadQuestion, moment, within_calendar

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_FILTER = "filter."
ALL = "all"
MOST_CHARS = 500
_MOST_FILTERS = 16


class Range(NamedTuple):
    """A stretch of time that a link offers."""

    title: str
    since: str
    until: str


class Address(NamedTuple):
    """Where a page stands. `filters`: attribute -> value, None for what has none. `rest`: what the page itself reads."""

    path: str
    since: str = ""
    until: str = ""
    tz: str = "UTC"
    by: tuple[str, ...] = ()
    filters: tuple[tuple[str, str | None], ...] = ()
    rest: tuple[tuple[str, str], ...] = ()

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.tz)

    def get(self, name: str, default: str = "") -> str:
        """A parameter of the page's own."""
        return dict(self.rest).get(name, default)

    @property
    def only(self) -> dict[str, str]:
        """The filters as the sums take them: "" is what has none."""
        return {name: value or "" for name, value in self.filters}

    def moments(self, now_s: float) -> tuple[int | None, int | None]:
        """Epoch microseconds, `until` not included. Raises `BadQuestion`."""
        since = None if self.since == ALL else _moment(self.since, self.zone, now_s)
        until = _moment(self.until, self.zone, now_s)
        if since is not None and until is not None and since >= until:
            raise BadQuestion(f"from {self.since} before {self.until}: the end must be after the start")
        return since, until

    def filtered(self, name: str, value: str | None) -> Address:
        """With one filter more, or another value of it; without a place in a list, which has changed."""
        kept = tuple(pair for pair in self.filters if pair[0] != name)
        return self.without("next")._replace(filters=(*kept, (name, value)))

    def unfiltered(self, name: str) -> Address:
        return self.without("next")._replace(filters=tuple(pair for pair in self.filters if pair[0] != name))

    def having(self, **rest: str) -> Address:
        """With these of the page's own parameters; an empty one goes."""
        return self._replace(rest=tuple((name, value) for name, value in (dict(self.rest) | rest).items() if value))

    def without(self, *names: str) -> Address:
        return self._replace(rest=tuple(pair for pair in self.rest if pair[0] not in names))

    # Templates ask for it.
    def grouped(self, name: str) -> Address:
        """By this alone, from the first row on."""
        return self.without("next", "sort")._replace(by=(name,))

    def within(self, range_: Range) -> Address:
        return self.without("next", "against")._replace(since=range_.since, until=range_.until)

    def at(self, path: str, *, by: tuple[str, ...] = ()) -> Address:
        """The same time, zone and filters on another page."""
        return Address(path, self.since, self.until, self.tz, by, self.filters)

    def __str__(self) -> str:
        """As a link; without filters that are longer than one may be, by names that clients chose."""
        pairs: list[tuple[str, str]] = []
        if self.by:
            pairs.append(("by", ",".join(self.by)))
        pairs += [("since", self.since)] * bool(self.since) + [("until", self.until)] * bool(self.until)
        pairs += [("tz", self.tz)] * (self.tz != "UTC")
        filters = [(name, value or "") for name, value in self.filters]
        pairs += [(f"{_FILTER}{name}", value) for name, value in filters if len(value) <= MOST_CHARS]
        pairs += self.rest
        return self.path + ("?" + urlencode(pairs, quote_via=quote, safe=",:/") if pairs else "")


def read(path: str, pairs: Iterable[tuple[str, str]], since: str = "") -> Address:
    """From a query string's pairs. since: where none is given. Raises `BadQuestion`."""
    given: dict[str, str] = {}
    filters: dict[str, str | None] = {}
    for name, value in pairs:
        if len(name) > MOST_CHARS or len(value) > MOST_CHARS:
            raise BadQuestion(f"{name[:40]}: is longer than {MOST_CHARS} characters")
        if name.startswith(_FILTER):
            filters[name.removeprefix(_FILTER)] = value or None
        else:
            given[name] = value
    if len(filters) > _MOST_FILTERS:
        raise BadQuestion(f"at most {_MOST_FILTERS} filters")
    zone = given.pop("tz", "") or "UTC"
    _check_zone(zone)
    by = tuple(dict.fromkeys(name for name in given.pop("by", "").split(",") if name))
    first, last = given.pop("since", ""), given.pop("until", "")
    rest = tuple((name, value) for name, value in given.items() if value)
    return Address(path, first or ("" if last else since), last, zone, by, tuple(filters.items()), rest)


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # as ZoneInfo refuses a name, according to what is wrong with it
        raise BadQuestion(f"tz: {name[:60]!r} is not a time zone; write one such as Europe/Berlin") from None


def _moment(text: str, zone: ZoneInfo, now_s: float) -> int | None:
    if not text:
        return None
    if _DATE.match(text):
        try:
            day = date.fromisoformat(text)
            at = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        except (ValueError, OverflowError):
            raise BadQuestion(f"{text} is not a date of this calendar") from None
        return within_calendar(int(at.timestamp()) * 1_000_000)
    return moment(text, now_s)


def ranges(zone: ZoneInfo, now_s: float) -> list[Range]:
    """What a reader mostly wants: the last hours and days, and calendar months of his zone, whose links keep their month."""
    today = datetime.fromtimestamp(now_s, zone).date()
    month = today.replace(day=1)
    before = (month - timedelta(days=1)).replace(day=1)
    return [
        Range("1 hour", "1h", ""),
        Range("24 hours", "24h", ""),
        Range("7 days", "7d", ""),
        Range("30 days", "30d", ""),
        Range("today", today.isoformat(), ""),
        Range("this month", month.isoformat(), ""),
        Range("last month", before.isoformat(), month.isoformat()),
        Range("all", ALL, ""),
    ]


def previous(since: int, until: int) -> tuple[int, int]:
    """The stretch of the same length before."""
    return since - (until - since), since
