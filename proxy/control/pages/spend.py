"""`/spend`, the explorer: a metric, grouped and grouped again, over time, beside the time before; all leads to the calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

from proxy.control.pages import attributes, view
from proxy.control.pages.address import Address, previous
from proxy.control.pages.api_address import api_address
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.spend_chart import LINES, by_time, chart, has_few_steps
from proxy.control.pages.spend_sums import (
    METRICS,
    NOTHING,
    STEPS_US,
    Choice,
    Key,
    Sums,
    key_of,
    links_of,
    sum_of,
    sums_of,
)
from proxy.control.pages.tables import Column, Row, Table
from proxy.reports.calendar import spend_by, total_of
from proxy.reports.ranking import count_groups, ranking
from proxy.reports.sessions import sessions
from proxy.reports.spans import Span
from proxy.reports.spend import entries_since
from proxy.times import BadQuestion, rfc3339

_CHOICES = ("model", "team", "customer", "key", "user", "agent", "session", "provider")
_TOPS = ("5", "10", "20", "50", "200")


class _Ranked(NamedTuple):
    """The groups that are shown, the first by rank first; how many others there are (None: too many to count), and the sum of
    all. before: of the time before, where that is asked for. by_time: of the groups that are shown, but for sessions."""

    shown: Mapping[Key, Sums]
    others: int | None
    total: Sums
    before: Mapping[Key, Sums] = {}
    total_before: Sums = NOTHING
    by_time: Mapping[tuple[str, Key], Sums] = {}

    @property
    def rest(self) -> Sums:
        return self.total.less(sum_of(self.shown.values()))

    @property
    def rest_before(self) -> Sums:
        return self.total_before.less(sum_of(self.before.get(key, NOTHING) for key in self.shown))


def show(request: PageRequest) -> PageContent:
    """The page. Raises `BadQuestion`."""
    choice = _choice(request)
    ranked = _read(request, choice)
    table = _table(request.address, choice, ranked)
    values = {
        "choice": choice,
        "metrics": METRICS,
        "groups": attributes.GROUPS,
        "choices": _CHOICES,
        "tops": _TOPS,
        "chart": chart(request, choice, list(ranked.shown), ranked.by_time),
        "tiles": _tiles(ranked, choice, request.address.at("/calls")),
        "compare": str(request.address.having(compare="" if choice.compared else "1")),
        "steps": _steps(choice),
    }
    return PageContent("spend", "Spend", values, (table,), api=api_address(request, "/api/spend", by=choice.by))


def _choice(request: PageRequest) -> Choice:
    address = request.address
    by = address.by or ("model",)
    attributes.check_groups(by)
    attributes.check_spend_filters([name for name, _ in address.filters])
    if len(by) > 2:
        raise BadQuestion("by: a group and a subgroup, no more")
    metric, top, sort = address.get("metric", "cost"), address.get("top", "10"), address.get("sort")
    if metric not in METRICS:
        raise BadQuestion(f"metric: {metric[:40]!r} is not one of {', '.join(METRICS)}")
    if top not in _TOPS:
        raise BadQuestion(f"top: {top[:40]!r} is not one of {', '.join(_TOPS)}")
    since, until = request.moments()
    last = request.now_us if until is None else until
    step = address.get("step") or _step(since, last)
    if step not in attributes.PERIODS:
        raise BadQuestion(f"step: {step[:40]!r} is not one of {', '.join(attributes.PERIODS)}")
    return Choice(by, metric, int(top), sort, step, since, last, address.get("compare") == "1", until is None)


def _step(since: int | None, until: int) -> str:
    if since is None:
        return "month"
    return next((name for name, us in STEPS_US.items() if (until - since) // us <= 62), "month")


def _steps(choice: Choice) -> list[str]:
    """The steps of time that a chart can show."""
    if choice.since is None:
        return ["month"]
    length = choice.until - choice.since
    return [name for name, us in STEPS_US.items() if 1 <= length // us <= 400] + ["month"]


def _read(request: PageRequest, choice: Choice) -> _Ranked:
    if _is_of_sessions(request, choice):
        return _sessions(request, choice)
    return _whole(request, choice) if "session" in choice.by else _ranked(request, choice)


def _grouped(
    request: PageRequest, by: Sequence[str], span: Span, among: Sequence[Mapping[str, str]] = ()
) -> dict[Key, Sums]:
    groups: dict[Key, Sums] = defaultdict(lambda: NOTHING)
    for row in spend_by(request.state.engine, by, *span, only=request.address.only, among=among):
        key = key_of(row, by)
        groups[key] = groups[key].plus(sums_of(row))
    return dict(groups)


def _total(request: PageRequest, span: Span) -> Sums:
    return sums_of(total_of(spend_by(request.state.engine, [], *span, only=request.address.only)))


def _before(choice: Choice) -> Span | None:
    return Span(*previous(choice.since, choice.until)) if choice.compared and choice.since is not None else None


def _has_all_entries(request: PageRequest, span: Span) -> bool:
    """Else the parts of a time may be less than the whole: days that are added up cannot be parted into hours any more."""
    kept = entries_since(request.state.engine)
    return kept is None or (span.since is not None and span.since >= kept)


def _ranked(request: PageRequest, choice: Choice) -> _Ranked:
    """The database ranks: of all groups, only those that are shown come here."""
    engine, only, span, before = request.state.engine, request.address.only, choice.span, _before(choice)
    keys, groups = ranking(engine, choice.by, span, only=only, order=choice.ranked_by, most=choice.top)
    among = [{name: value or "" for name, value in zip(choice.by, key, strict=True)} for key in keys]
    is_whole = has_few_steps(choice) and _has_all_entries(request, span)
    in_time = by_time(request, choice, keys if is_whole else keys[:LINES])
    if is_whole:
        sums: dict[Key, Sums] = dict.fromkeys(keys, NOTHING)
        for (_, key), part in in_time.items():
            sums[key] = sums[key].plus(part)
    else:
        grouped = _grouped(request, choice.by, span, among) if keys else {}
        sums = {key: grouped.get(key, NOTHING) for key in keys}
    ranked = _Ranked(sums, groups - len(keys), _total(request, span), by_time=in_time)
    if before is None:
        return ranked
    return ranked._replace(
        others=count_groups(engine, choice.by, (span, before), only=only) - len(keys),
        before=_grouped(request, choice.by, before, among) if keys else {},
        total_before=_total(request, before),
    )


def _whole(request: PageRequest, choice: Choice) -> _Ranked:
    """Sessions with something else, or by something else: only what all of them come to says which are the first."""
    groups, span = _grouped(request, choice.by, choice.span), _before(choice)
    before = {} if span is None else _grouped(request, choice.by, span)
    keys = sorted(groups, key=lambda key: _rank(groups[key], choice))
    shown = {key: groups[key] for key in keys[: choice.top]}
    total, is_whole = _summed(request, choice.span, groups)
    total_before, was_whole = (NOTHING, True) if span is None else _summed(request, span, before)
    others = len((groups.keys() | before.keys()) - shown.keys()) if is_whole and was_whole else None
    return _Ranked(shown, others, total, before, total_before)


def _summed(request: PageRequest, span: Span, groups: Mapping[Key, Sums]) -> tuple[Sums, bool]:
    """What a time comes to, and whether the groups have all of it: deleted entries are in no session, but in the sums."""
    if _has_all_entries(request, span):
        return sum_of(groups.values()), True
    total = _total(request, span)
    return total, total == sum_of(groups.values())


def _is_of_sessions(request: PageRequest, choice: Choice) -> bool:
    """Sessions may be as many as calls: the database ranks them, by what it can."""
    ranked = choice.ranked_by in ("cost", "calls")
    return choice.by == ("session",) and ranked and request.address.only.keys() <= {"team"} and not choice.compared


def _sessions(request: PageRequest, choice: Choice) -> _Ranked:
    engine, span, team = request.state.engine, choice.span, request.address.only.get("team")
    order: Any = choice.ranked_by
    rows = sessions(
        engine, limit=choice.top + 1, order=order, since=span.since, until=span.until, team=team, lone_counts=True
    )
    shown: dict[Key, Sums] = {(row.session,): sums_of(row) for row in rows[: choice.top]}
    total = _total(request, span)
    are_all = len(rows) <= choice.top and (_has_all_entries(request, span) or total == sum_of(shown.values()))
    return _Ranked(shown, 0 if are_all else None, total)


def _rank(sums: Sums, choice: Choice) -> tuple[int, ...]:
    value = sums.of(choice.ranked_by)
    return (-value if value is not None else 1, -sums.calls)


def _table(address: Address, choice: Choice, ranked: _Ranked) -> Table:
    shown, total, before = ranked.shown, ranked.total, ranked.before
    columns = [
        *[Column(name, name.replace(".", " ").capitalize(), "name") for name in choice.by],
        Column("cost", "Cost", "usd", sort=True),
        Column("share", "Share", "percent"),
        Column("calls", "Calls", "count", sort=True),
        Column("input", "Fresh input", "tokens", note="tokens that no cache had"),
        Column("cached", "Cached", "percent", note="share of the input that a cache had"),
        Column("output", "Output", "tokens", note="tokens written, reasoning among them"),
        Column("rate", "$ / M tokens", "rate", sort=True, note="cost per million tokens, cached ones too"),
        Column("unpriced", "Unpriced", "count"),
    ]
    if choice.compared:
        columns[len(choice.by) + 1 : len(choice.by) + 1] = [
            Column("before", "Before", "usd", note="in the stretch of the same length before"),
            Column("change", "Change", "percent", signed=True),
        ]
    most = max((abs(sums.of(choice.metric) or 0) for sums in shown.values()), default=0)
    earlier = _earlier(address, choice)
    rows = [
        Row(
            _cells(choice, key, sums, total, before.get(key, NOTHING)),
            (links := links_of(address, choice, key))
            | ({} if earlier is None else {"before": links_of(earlier, choice, key)["cost"]}),
            to=links["cost"],
            bar=100 * abs(sums.of(choice.metric) or 0) / most if most else 0,
        )
        for key, sums in shown.items()
    ]
    others = ranked.others
    if others is None or others:
        name = "other" if others is None else f"other ({others:,})"
        cells = _cells(choice, (name, *[""] * (len(choice.by) - 1)), ranked.rest, total, ranked.rest_before)
        more = next((size for size in _TOPS if int(size) > choice.top), "")
        link = {choice.by[0]: str(address.having(top=more))} if more and len(shown) == choice.top else {}
        rows.append(Row(cells, link, muted=True, to=link.get(choice.by[0], "")))
    last = Row(
        _cells(choice, ("total", *[""] * (len(choice.by) - 1)), total, total, ranked.total_before),
        {"unpriced": _unpriced(address)} | ({} if earlier is None else {"before": str(earlier.at("/calls"))}),
        to=str(address.at("/calls")),
    )
    return Table("spend", "Spend", columns, rows, last if rows else None)


def _unpriced(address: Address) -> str:
    return str(address.at("/calls").filtered("priced", "no"))


def _earlier(address: Address, choice: Choice) -> Address | None:
    """As `address`, of the time before."""
    span = _before(choice)
    if span is None:
        return None
    return address._replace(since=rfc3339(span.since) or "", until=rfc3339(span.until) or "")


def _cells(choice: Choice, key: Key, sums: Sums, total: Sums, before: Sums) -> dict[str, Any]:
    read = sums.read + sums.cached
    return {
        **{name: attributes.NOBODY if value is None else value for name, value in zip(choice.by, key, strict=True)},
        "cost": sums.of("cost"),
        "before": before.cost,
        "change": view.change_of(sums.cost, before.cost),
        "share": 100 * sums.cost / total.cost if total.cost else None,
        "calls": sums.calls,
        "input": sums.read,
        "cached": 100 * sums.cached / read if read else None,
        "output": sums.written,
        "rate": sums.of("rate"),
        "unpriced": sums.unpriced,
    }


def _tiles(ranked: _Ranked, choice: Choice, at_calls: Address) -> list[dict[str, str]]:
    calls, unpriced = str(at_calls), _unpriced(at_calls)
    total, earlier = ranked.total, ranked.total_before.cost
    read = total.read + total.cached
    percent = view.change_of(total.cost, earlier)
    change = "" if percent is None else f"{view.change(percent)} against the time before"
    if percent == inf:
        change = "nothing in the time before"
    cost = total.of("cost")
    return [
        {
            "title": "Cost",
            "big": view.usd(cost, view.decimals_for([cost])),
            "small": change if choice.compared else "",
            "link": calls,
            "small_link": str(_earlier(at_calls, choice) or ""),
        },
        {
            "title": "Calls",
            "link": calls,
            "small_link": unpriced if total.unpriced else "",
            "big": view.count(total.calls),
            "small": f"{view.count(total.unpriced)} unpriced"
            if total.unpriced
            else "all priced"
            if total.calls
            else "",
        },
        {
            "title": "Tokens",
            "link": calls,
            "small_link": calls,
            "big": view.short(total.tokens),
            "small": f"{100 * total.cached / read:.1f} % of the input from a cache" if read else "",
        },
        {
            "title": "Each call",
            "link": calls,
            "big": view.usd(each, view.decimals_for([each])) if (each := _each(total)) is not None else "–",
            "small": "of those that have a price",
        },
    ]


def _each(total: Sums) -> int | None:
    priced = total.calls - total.unpriced
    return total.cost // priced if priced > 0 else None


PAGE = Page("/spend", "Spend", show, since="7d", for_keys=True, shortcut="s")
