"""Moments as a page shows them: in the zone of its range, which the page names once. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo

from proxy.control.pages import view
from proxy.times import with_a_date

_LINK = re.compile(r'(?:(?<= href=")|(?<=method="post" action="))(/(?!page/)[^"#]*)')
_NAMED = re.compile(r"[?&;]tz=")


class Clock(NamedTuple):
    """tz: the zone. now_us: what is of another year says so."""

    tz: str
    now_us: int

    def shown(self, at: int | str) -> str:
        """`Nov 30, 08:15:02`. at: epoch microseconds, or RFC 3339."""
        when, now = self._local(at), self._local(self.now_us)
        year = "" if when.year == now.year else f" {when.year},"
        return f"{when:%b} {when.day},{year} {when.hour:02}:{when.minute:02}:{when.second:02}"

    def utc(self, at: int | str) -> str:
        """For `<time datetime>`."""
        return at if isinstance(at, str) else view.moment(at)

    def on_paper(self, since: int | None, until: int | None, whole: str) -> str:
        """The time that a printed page is of: on paper nobody knows when "24h" was. whole: what it shows without a begin."""
        last = self.now_us if until is None else until
        return f"{whole if since is None else self._dated(since)} to {self._dated(last)}, {self.tz}"

    def printed(self) -> str:
        return f"as of {self._dated(self.now_us)}, {self.tz}"

    def _dated(self, at: int) -> str:
        when = self._local(at)
        return f"{when:%b} {when.day}, {when.year}, {when:%H:%M}"

    def _local(self, at: int | str) -> datetime:
        seconds = datetime.fromisoformat(at).timestamp() if isinstance(at, str) else with_a_date(at) // 1_000_000
        try:
            return datetime.fromtimestamp(seconds, UTC if self.tz == "UTC" else ZoneInfo(self.tz))
        except (OverflowError, ValueError):  # the last hours of the calendar, which are over the edge in the east
            return datetime.fromtimestamp(seconds, UTC)


def kept(html: str, tz: str) -> str:
    """A page whose links to other pages, and forms that change something, lead to the same zone, where they name none."""
    return html if tz == "UTC" else _LINK.sub(lambda match: in_zone(match[1], tz, "&amp;"), html)


def in_zone(link: str, tz: str, and_: str = "&") -> str:
    """A link of ours in this zone, unless it names one."""
    if _NAMED.search(link):
        return link
    path, mark, place = link.partition("#")
    return f"{path}{and_ if '?' in path else '?'}tz={quote(tz, safe='/')}{mark}{place}"
