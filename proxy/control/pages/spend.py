"""`/spend`, the explorer: a metric, grouped and grouped again, over time, beside the time before; all leads to the calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from proxy.control.pages import attributes, view
from proxy.control.pages.address import Address, previous
from proxy.control.pages.page import Asked, Page, Shown
from proxy.control.pages.tables import Column, Row, Table
from proxy.money import NANO
from proxy.reports.calendar import spend_by
from proxy.reports.spend import SpendRow
from proxy.times import BadQuestion

METRICS = {"cost": "Cost", "calls": "Calls", "tokens": "Tokens", "rate": "$ per million tokens"}
_TOPS = ("5", "10", "20", "50", "200")
_STEPS_US = {"hour": 3_600_000_000, "day": 86_400_000_000, "week": 7 * 86_400_000_000}
_MOST_STEPS = 100

Key = tuple[str | None, ...]


class _Sums(NamedTuple):
    cost: int
    calls: int
    unpriced: int
    read: int
    cached: int
    written: int

    def plus(self, other: _Sums) -> _Sums:
        return _Sums(*(mine + more for mine, more in zip(self, other, strict=True)))

    @property
    def tokens(self) -> int:
        return self.read + self.cached + self.written

    def of(self, metric: str) -> int | None:
        """The metric's value; None where there is none."""
        match metric:
            case "cost":
                return self.cost if self.calls > self.unpriced or self.cost else (None if self.unpriced else 0)
            case "calls":
                return self.calls
            case "tokens":
                return self.tokens
            case _:
                return self.cost * 1_000_000 // self.tokens if self.tokens and self.of("cost") is not None else None


_NOTHING = _Sums(0, 0, 0, 0, 0, 0)


def _sums(row: SpendRow) -> _Sums:
    def tokens(*units: str) -> int:
        return sum(int(row.usage.get(unit, 0)) for unit in units)

    cached = tokens("cache_read")
    return _Sums(
        row.cost_nanousd,
        row.requests,
        row.unpriced_requests,
        tokens(*view.INPUT) - cached,
        cached,
        tokens(*view.OUTPUT),
    )


class _Choice(NamedTuple):
    """What the address asks for, checked."""

    by: tuple[str, ...]
    metric: str
    top: int
    sort: str
    step: str
    since: int | None
    until: int
    compared: bool


def show(asked: Asked) -> Shown:
    """The page. Raises `BadQuestion`."""
    choice = _choice(asked)
    groups = _grouped(asked, choice.by, choice.since, choice.until)
    ranked = sorted(groups, key=lambda key: _rank(groups[key], choice))
    shown, rest = ranked[: choice.top], ranked[choice.top :]
    before: Mapping[Key, _Sums] = {}
    if choice.compared and choice.since is not None:
        before = _grouped(asked, choice.by, *previous(choice.since, choice.until))
    total = _NOTHING
    for sums in groups.values():
        total = total.plus(sums)
    table = _table(asked.address, choice, groups, shown, rest, before, total)
    values = {
        "choice": choice,
        "metrics": METRICS,
        "groups": attributes.GROUPS,
        "tops": _TOPS,
        "chart": _chart(asked, choice, shown),
        "tiles": _tiles(total, before, choice),
        "compare": str(asked.address.having(compare="" if choice.compared else "1")),
        "steps": _steps(choice),
        "links": {
            "metric": {name: str(asked.address.without("sort").having(metric=name)) for name in METRICS},
            "step": {name: str(asked.address.having(step=name)) for name in attributes.PERIODS},
        },
    }
    return Shown("spend", "Spend", values, (table,), api="/api/spend")


def _choice(asked: Asked) -> _Choice:
    address = asked.address
    by = address.by or ("model",)
    attributes.check_groups(by)
    attributes.check_spend_filters([name for name, _ in address.filters])
    if len(by) > 2:
        raise BadQuestion("by: a group and a subgroup, no more")
    metric, top, sort = address.get("metric", "cost"), address.get("top", "10"), address.get("sort")
    if metric not in METRICS:
        raise BadQuestion(f"metric: {metric[:40]!r} is none of {', '.join(METRICS)}")
    if top not in _TOPS:
        raise BadQuestion(f"top: {top[:40]!r} is none of {', '.join(_TOPS)}")
    since, until = asked.moments()
    last = asked.now_us if until is None else until
    step = address.get("step") or _step(since, last)
    if step not in attributes.PERIODS:
        raise BadQuestion(f"step: {step[:40]!r} is none of {', '.join(attributes.PERIODS)}")
    return _Choice(by, metric, int(top), sort, step, since, last, address.get("compare") == "1")


def _step(since: int | None, until: int) -> str:
    if since is None:
        return "month"
    return next((name for name, us in _STEPS_US.items() if (until - since) // us <= 62), "month")


def _steps(choice: _Choice) -> list[str]:
    """The steps of time that a chart can show."""
    if choice.since is None:
        return ["month"]
    length = choice.until - choice.since
    return [name for name, us in _STEPS_US.items() if 1 <= length // us <= 400] + ["month"]


def _grouped(asked: Asked, by: Sequence[str], since: int | None, until: int | None) -> dict[Key, _Sums]:
    groups: dict[Key, _Sums] = defaultdict(lambda: _NOTHING)
    for row in spend_by(asked.state.engine, by, since, until, only=asked.address.only):
        key = _key(row, by)
        groups[key] = groups[key].plus(_sums(row))
    return dict(groups)


def _key(row: SpendRow, by: Sequence[str]) -> Key:
    """What is empty counts as none."""
    return tuple(row.group[name] or None for name in by)


def _rank(sums: _Sums, choice: _Choice) -> tuple[int, ...]:
    names = {"cost", "calls", "tokens", "rate"}
    by = choice.sort if choice.sort in names else choice.metric
    value = sums.of(by)
    return (-value if value is not None else 1, -sums.calls)


def _table(
    address: Address, choice: _Choice, groups: Mapping[Key, _Sums], shown: Sequence[Key], rest: Sequence[Key],
    before: Mapping[Key, _Sums], total: _Sums,
) -> Table:  # fmt: skip
    columns = [
        *[Column(name, name.replace(".", " "), "name") for name in choice.by],
        Column("cost", "Cost", "usd", sort=True),
        Column("share", "Share", "percent"),
        Column("calls", "Calls", "count", sort=True),
        Column("input", "Input", "tokens", note="tokens that no cache had"),
        Column("cached", "Cached", "percent", note="share of the input that a cache had"),
        Column("output", "Output", "tokens", note="tokens written, reasoning among them"),
        Column("rate", "$ / M tokens", "rate", sort=True, note="cost per million tokens, cached ones too"),
        Column("unpriced", "Unpriced", "count"),
    ]
    if choice.compared:
        columns[len(choice.by) + 1 : len(choice.by) + 1] = [
            Column("before", "Before", "usd", note="in the stretch of the same length before"),
            Column("change", "Change", "percent"),
        ]
    most = max((abs(groups[key].of(choice.metric) or 0) for key in shown), default=0)
    rows = [
        Row(
            _cells(choice, key, groups[key], total, before.get(key, _NOTHING)),
            _links(address, choice, key),
            bar=100 * abs(groups[key].of(choice.metric) or 0) / most if most else 0,
        )
        for key in shown
    ]
    gone = [key for key in before if key not in groups]
    if rest or gone:
        other, other_before = _NOTHING, _NOTHING
        for key in rest:
            other = other.plus(groups[key])
        for key in [*rest, *gone]:
            other_before = other_before.plus(before.get(key, _NOTHING))
        name = f"other ({len(rest) + len(gone):,})"
        cells = _cells(choice, (name, *[""] * (len(choice.by) - 1)), other, total, other_before)
        more = next((size for size in _TOPS if int(size) > choice.top), "")
        link = {choice.by[0]: str(address.having(top=more))} if more and rest else {}
        rows.append(Row(cells, link, muted=True))
    all_before = _NOTHING
    for sums in before.values():
        all_before = all_before.plus(sums)
    last = Row(
        _cells(choice, ("total", *[""] * (len(choice.by) - 1)), total, total, all_before),
        {"cost": str(address.at("/calls")), "calls": str(address.at("/calls"))},
    )
    return Table("spend", "Spend", columns, rows, last if rows else None)


def _cells(choice: _Choice, key: Key, sums: _Sums, total: _Sums, before: _Sums) -> dict[str, Any]:
    read = sums.read + sums.cached
    return {
        **{name: attributes.NOBODY if value is None else value for name, value in zip(choice.by, key, strict=True)},
        "cost": sums.of("cost"),
        "before": before.cost,
        "change": 100 * (sums.cost - before.cost) / before.cost if before.cost else None,
        "share": 100 * sums.cost / total.cost if total.cost else None,
        "calls": sums.calls,
        "input": sums.read,
        "cached": 100 * sums.cached / read if read else None,
        "output": sums.written,
        "rate": sums.of("rate"),
        "unpriced": sums.unpriced,
    }


def _links(address: Address, choice: _Choice, key: Key) -> dict[str, str]:
    """A name asks on within itself; cost and calls lead to the calls."""
    links: dict[str, str] = {}
    narrowed = address
    for name, value in zip(choice.by, key, strict=True):
        narrowed = narrowed.filtered(name, value)
        links[name] = _deeper(narrowed, name, value)
    rows = str(narrowed.at("/calls"))
    return links | {"cost": rows, "calls": rows} | ({"unpriced": rows} if key else {})


_DEEPER = {
    "model": "key",
    "team": "key",
    "provider": "model",
    "upstream": "model",
    "customer": "user",
    "agent": "session",
}


def _deeper(narrowed: Address, name: str, value: str | None) -> str:
    if name == "session" and value is not None:
        return f"/sessions/{view.part(value)}"
    return str(narrowed.without("sort", "top")._replace(by=(_DEEPER.get(name, "model"),)))


def _tiles(total: _Sums, before: Mapping[Key, _Sums], choice: _Choice) -> list[dict[str, str]]:
    earlier = sum(sums.cost for sums in before.values())
    read = total.read + total.cached
    change = f"{100 * (total.cost - earlier) / earlier:+.1f} % against the time before" if earlier else ""
    cost = total.of("cost")
    return [
        {"title": "Cost", "big": view.usd(cost, view.decimals_for([cost])), "small": change if choice.compared else ""},
        {
            "title": "Calls",
            "big": view.count(total.calls),
            "small": f"{view.count(total.unpriced)} unpriced"
            if total.unpriced
            else "all priced"
            if total.calls
            else "",
        },
        {
            "title": "Tokens",
            "big": view.short(total.tokens),
            "small": f"{100 * total.cached / read:.1f} % of the input from a cache" if read else "",
        },
        {
            "title": "Each call",
            "big": view.usd(each, view.decimals_for([each])) if (each := _each(total)) is not None else "–",
            "small": "of those that have a price",
        },
    ]


def _each(total: _Sums) -> int | None:
    priced = total.calls - total.unpriced
    return total.cost // priced if priced > 0 else None


# Over time


def _chart(asked: Asked, choice: _Choice, shown: Sequence[Key]) -> dict[str, Any]:
    """Series for the chart, each a group, the rest together: floats will do where nobody adds up."""
    address, zone = asked.address, asked.address.zone
    names = [choice.step, *choice.by]
    rows = spend_by(asked.state.engine, names, choice.since, choice.until, only=address.only, zone=zone)
    keys = list(shown[:8])
    sums: dict[tuple[str, Key | None], _Sums] = defaultdict(lambda: _NOTHING)
    for row in rows:
        key: Key | None = _key(row, choice.by)
        place = (row.group[choice.step] or "", key if key in keys else None)
        sums[place] = sums[place].plus(_sums(row))
    times = sorted({time for time, _ in sums})[-400:]
    series = [*keys, *([None] if any(key is None for _, key in sums) else [])]
    return {
        "metric": METRICS[choice.metric],
        "money": choice.metric in ("cost", "rate"),
        "stacked": choice.metric != "rate",
        "step": choice.step,
        "from": None if choice.since is None else choice.since // 1_000_000,
        "to": choice.until // 1_000_000,
        "at": [_at(time, address) for time in times],
        "ends": [_end(time, choice.step, address) for time in times],
        "labels": [time[:16].replace("T", " ") for time in times],
        "series": [
            {
                "name": "other" if key is None else " · ".join(view.clip(value or attributes.NOBODY) for value in key),
                "link": "" if key is None else _links(address._replace(since="", until=""), choice, key)["cost"],
                "values": [_number(sums[time, key].of(choice.metric), choice.metric) for time in times],
            }
            for key in series
        ],
        "about": f"{METRICS[choice.metric]} by {' and '.join(choice.by)}, by {choice.step}",
    }


def _number(value: int | None, metric: str) -> float | None:
    if value is None:
        return None
    return value / NANO if metric in ("cost", "rate") else float(value)


def _at(time: str, address: Address) -> int:
    """Epoch seconds of a period's begin, as `spend_by` names it."""
    text = f"{time}-01" if len(time) == 7 else time
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=address.zone)).timestamp())


def _end(time: str, step: str, address: Address) -> int:
    """Epoch seconds of the next period's begin, by the calendar of the reader's zone."""
    begin = datetime.fromtimestamp(_at(time, address), address.zone)
    if step == "hour":
        return int(begin.timestamp()) + 3600
    if step == "month":
        following = (begin + timedelta(days=32)).replace(day=1)
    else:
        following = begin + timedelta(days=7 if step == "week" else 1)
    return int(following.timestamp())


PAGE = Page("/spend", "Spend", show, since="7d", for_keys=True, jump="s")
