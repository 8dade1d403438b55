"""The explorer's chart: its groups over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from proxy.control.pages import attributes, view
from proxy.control.pages.page import PageRequest
from proxy.control.pages.spend_sums import METRICS, NOTHING, STEPS_US, Choice, Key, Sums, key_of, links_of, sums_of
from proxy.money import NANO
from proxy.reports.calendar import UTC, spend_by
from proxy.reports.spend import SpendRow

LINES = 8
_MOST_STEPS = 400
_MOST_HOURS = 72


class _Series(NamedTuple):
    """What a chart shows: groups (None: all that are not among them) by times, in a zone."""

    keys: list[Key | None]
    times: list[str]
    sums: Mapping[tuple[str, Key | None], Sums]
    zone: ZoneInfo


ByTime = Mapping[tuple[str, Key], Sums]
"""What groups came to in each period, by its name and the group."""


def by_time(request: PageRequest, choice: Choice, keys: Sequence[Key]) -> ByTime:
    """Of these groups, whose sums over all times are what they came to."""
    sums: dict[tuple[str, Key], Sums] = defaultdict(lambda: NOTHING)
    named = [{name: value or "" for name, value in zip(choice.by, key, strict=True)} for key in keys]
    for row in _read(request, choice, choice.by, named) if named else []:
        at = row.group[choice.step] or "", key_of(row, choice.by)
        sums[at] = sums[at].plus(sums_of(row))
    return sums


def has_few_steps(choice: Choice) -> bool:
    """Whether a chart shows all steps of the time; with a finer one, groups by time may be as many as calls."""
    if choice.step == "month":
        return True
    return choice.since is not None and (choice.until - choice.since) // STEPS_US[choice.step] <= _MOST_STEPS


def _read(
    request: PageRequest, choice: Choice, names: Sequence[str], among: Sequence[Mapping[str, str]] = ()
) -> list[SpendRow]:
    by = [choice.step, *names]
    return spend_by(
        request.state.engine, by, *choice.span, only=request.address.only, among=among, zone=_zone(request, choice)
    )


def _zone(request: PageRequest, choice: Choice) -> ZoneInfo:
    return UTC if _only_by_days(choice) else request.address.zone


def _series(request: PageRequest, choice: Choice, shown: Sequence[Key], of_shown: ByTime) -> _Series:
    """The dearest groups by time, the rest together. Sessions have no times of their own: there it is all together."""
    keys = [] if "session" in choice.by else list(shown[:LINES])
    sums: dict[tuple[str, Key | None], Sums] = defaultdict(lambda: NOTHING)
    for row in _read(request, choice, []):
        sums[row.group[choice.step] or "", None] = sums_of(row)
    drawn = set(keys)
    for (time, key), part in of_shown.items():
        if key in drawn:
            sums[time, key] = part
            sums[time, None] = sums[time, None].less(part)
    times = sorted({time for time, _ in sums})[-_MOST_STEPS:]
    has_rest = any(sums[time, None] != NOTHING for time in times)
    return _Series([*keys, *([None] if has_rest else [])], times, sums, _zone(request, choice))


def _only_by_days(choice: Choice) -> bool:
    """Users and customers are rolled up by days of UTC: hours of a long time would have to be read call by call."""
    long = choice.since is None or choice.until - choice.since > _MOST_HOURS * STEPS_US["hour"]
    return long and choice.step != "hour" and bool({"user", "customer"} & set(choice.by))


def chart(request: PageRequest, choice: Choice, shown: Sequence[Key], of_shown: ByTime) -> dict[str, Any]:
    """Series for the chart, each a group, the rest together: floats will do where nobody adds up."""
    address = request.address
    keys, times, sums, zone = _series(request, choice, shown, of_shown)
    grouped = f" by {' and '.join(choice.by)}," if keys != [None] else ""
    in_days = f", days of {zone.key}" if zone.key != address.zone.key else ""
    return {
        "metric": METRICS[choice.metric],
        "money": choice.metric in ("cost", "rate"),
        "stacked": choice.metric != "rate",
        "step": choice.step,
        "zone": "" if zone.key == address.zone.key else zone.key,
        "from": None if choice.since is None else choice.since // 1_000_000,
        "to": choice.until // 1_000_000,
        "at": [_at(time, zone) for time in times],
        "ends": [_end(time, choice.step, zone) for time in times],
        "labels": [time[:16].replace("T", " ") for time in times],
        "series": [
            {
                "name": ("other" if len(keys) > 1 else "all")
                if key is None
                else " · ".join(view.clip(value or attributes.NOBODY) for value in key),
                "link": "" if key is None else links_of(address._replace(since="", until=""), choice, key)["cost"],
                "values": [_number(sums[time, key].of(choice.metric), choice.metric) for time in times],
            }
            for key in keys
        ],
        "about": f"{METRICS[choice.metric]}{grouped} by {choice.step}{in_days}",
    }


def _number(value: int | None, metric: str) -> float | None:
    if value is None:
        return None
    return value / NANO if metric in ("cost", "rate") else float(value)


def _at(time: str, zone: ZoneInfo) -> int:
    """Epoch seconds of a period's begin, as `spend_by` names it."""
    text = f"{time}-01" if len(time) == 7 else time
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())


def _end(time: str, step: str, zone: ZoneInfo) -> int:
    """Epoch seconds of the next period's begin, by the calendar of the zone."""
    begin = datetime.fromtimestamp(_at(time, zone), zone)
    if step == "hour":
        return int(begin.timestamp()) + 3600
    if step == "month":
        following = (begin + timedelta(days=32)).replace(day=1)
    else:
        following = begin + timedelta(days=7 if step == "week" else 1)
    return int(following.timestamp())
