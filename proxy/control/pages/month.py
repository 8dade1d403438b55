"""`/month`: what each group is charged for a month, closing it, and what changed since it was closed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from proxy.control.pages import attributes, view
from proxy.control.pages.address import Address
from proxy.control.pages.api_address import api_address
from proxy.control.pages.page import Action, Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Rest, Row, Table, more_of, nano, top_of
from proxy.reports.month.answer import MonthItem, MonthShown, close_month, month_answer, unknown_in
from proxy.reports.month.charged import MonthQuestion, Values, mark_up_of
from proxy.reports.months import before, month_at, month_named
from proxy.reports.reconcile.reconciled import reconciled

_CHOICES = ("team", "customer", "key", "user", "label.cost_centre", "model")
_MONTHS_OFFERED = 12


def show(request: PageRequest) -> PageContent:
    """`?month=2026-11`, else the running one; `?by=`, `?mark_up=0.10`. Raises `BadQuestion`."""
    question = _question(request, request.address.get("month"), request.address.by, request.address.get("mark_up"))
    month: Any = month_answer(request.state.engine, question, request.now_us).shown
    assert isinstance(month, MonthShown)
    zone = request.address.zone
    running = month_at(request.now_us, zone)
    names = [running.name]
    earlier = running
    for _ in range(_MONTHS_OFFERED):
        earlier = before(earlier, zone)
        names.append(earlier.name)
    previous = before(question.month, zone)
    values = {
        "month": month,
        "by": ",".join(question.names),
        "choices": _CHOICES,
        "months": [(name, str(request.address.having(month=name)), name == month.month) for name in names],
        "is_over": question.month.end <= request.now_us,
        "mark_up": request.address.get("mark_up"),
        "explain": str(_explained(request, question)),
        "previous": previous.name,
        "spend": str(_spend_of(request, question)),
        "unpriced": str(_spend_of(request, question).at("/calls").filtered("priced", "no")),
    }
    unknown = unknown_in(request.state.engine, question, month)
    values |= {
        "total": view.usd(nano(month.total_usd)),
        "cost": view.usd(_cost(question, month.items, unknown)),
        "adjusted": view.usd(nano(month.adjustments_usd)),
    }
    tables = (
        _items(request, question, month, unknown),
        _adjustments(request, question, month),
        _reconciled(request, question),
    )
    api = api_address(
        request,
        "/api/reports/month",
        timed=False,
        by=question.names,
        month=month.month,
        mark_up=request.address.get("mark_up"),
    )
    return PageContent("month", f"Month {month.month}", values, tables, api=api)


def _question(request: PageRequest, month: str, by: tuple[str, ...], mark_up: str) -> MonthQuestion:
    zone = request.address.zone
    return MonthQuestion(
        month=month_named(month, zone) if month else month_at(request.now_us, zone),
        by=by or ("team",),
        mark_up=mark_up_of(mark_up or "0"),
        zone=zone,
        only=request.address.only,
    )


def _items(request: PageRequest, question: MonthQuestion, month: MonthShown, unknown: set[Values]) -> Table:
    names = question.names
    columns = [
        *[Column(name, name.replace(".", " ").capitalize(), "name") for name in names],
        Column("cost", "Cost", "usd"),
        Column(
            "charge",
            "Charged",
            "usd",
            note="in whole cents, with the mark-up; the cents add up to the total",
            cents=True,
        ),
        Column("share", "Share", "percent"),
        Column("change", "Against the month before", "usd", signed=True),
    ]
    top = top_of(request.address)
    shown, others = month.items[:top], month.items[top:]
    rest = None
    if others:
        cells = {
            names[0]: f"other ({len(others):,})",
            "cost": _cost(question, others, unknown),
            "charge": sum(nano(item.charge_usd) or 0 for item in others),
            "share": _share(month, *others),
            "change": _change(question, others, unknown),
        }
        more = more_of(request.address, top)
        link = {names[0]: more} if more else {}
        rest = Rest(
            Row(cells, link, muted=True, to=more),
            lambda: [_item(request, question, month, item, unknown) for item in others],
        )
    total = Row(
        {
            names[0]: "total",
            "cost": _cost(question, month.items, unknown),
            "charge": nano(month.items_usd),
            "share": _share(month, *month.items),
            "change": _change(question, month.items, unknown),
        },
        to=str(_spend_of(request, question)),
    )
    rows = [_item(request, question, month, item, unknown) for item in shown]
    return Table(
        "month", "Charge-back", columns, rows, total if rows else None, rest=rest, empty="No call in this month."
    )


def _cost(question: MonthQuestion, items: Sequence[MonthItem], unknown: set[Values]) -> int | None:
    """None where none of the items' calls has a price."""
    groups = [tuple((item.__pydantic_extra__ or {}).get(name) for name in question.names) for item in items]
    cost = sum(nano(item.cost_usd) or 0 for item in items)
    return None if not cost and groups and unknown.issuperset(groups) else cost


def _change(question: MonthQuestion, items: Sequence[MonthItem], unknown: set[Values]) -> int | None:
    if _cost(question, items, unknown) is None:
        return None
    return sum(nano(item.change_usd) or 0 for item in items)


def _share(month: MonthShown, *items: MonthItem) -> float | None:
    """In percent of what the whole month cost; of nothing nobody has a share."""
    return 100 * float(sum(Decimal(item.share) for item in items)) if nano(month.cost_usd) else None


def _item(
    request: PageRequest, question: MonthQuestion, month: MonthShown, item: MonthItem, unknown: set[Values]
) -> Row:
    """unknown: groups of whose calls none has a price. What they are charged is nothing, what they cost nobody knows."""
    names = question.names
    group = item.__pydantic_extra__ or {}
    cost = _cost(question, [item], unknown)
    values = {name: group.get(name) for name in names}
    calls = attributes.narrowed(_spend_of(request, question), values, request.now_us)
    before_it = request.address.having(month=before(question.month, question.zone).name)
    for name in attributes.lasting(names):  # another month has other days
        before_it = before_it.filtered(name, group.get(name))
    cells = {name: group.get(name) or "(none)" for name in names} | {
        "cost": cost,
        "charge": nano(item.charge_usd),
        "share": None if cost is None else _share(month, item),
        "change": _change(question, [item], unknown),
    }
    return Row(cells, {names[0]: str(calls), "change": str(before_it)}, to=str(calls))


def _spend_of(request: PageRequest, question: MonthQuestion) -> Address:
    """What the month's cost is made of."""
    spend = request.address.at("/spend", by=("model",))
    return spend._replace(since=f"{question.month.name}-01", until=f"{_after(question)}-01")


def _explained(request: PageRequest, question: MonthQuestion) -> Address:
    """Why the month, so far or whole, came to something else than the whole one before, as its table says: of all calls,
    whatever is filtered for."""
    is_over = question.month.end <= request.now_us
    there = request.address.at("/explain", by=question.names)._replace(filters=())
    first = f"{question.month.name}-01"
    there = there._replace(since=first, until=f"{_after(question)}-01" if is_over else "")
    return there.having(against=f"{before(question.month, question.zone).name}-01..{first}")


def _after(question: MonthQuestion) -> str:
    return month_at(question.month.end, question.zone).name


def _adjustments(request: PageRequest, question: MonthQuestion, month: MonthShown) -> Table:
    columns = [
        Column("month", "Of", "text"),
        *[Column(name, name.replace(".", " ").capitalize(), "name") for name in question.names],
        Column("cost", "Cost", "usd"),
        Column("charge", "Charged", "usd", cents=True),
    ]
    rows = [
        Row(
            {name: (item.__pydantic_extra__ or {}).get(name) or "(none)" for name in question.names}
            | {"month": item.month, "cost": nano(item.cost_usd), "charge": nano(item.charge_usd)},
            {"month": str(request.address.having(month=item.month))},
            to=str(request.address.having(month=item.month)),
        )
        for item in month.adjustments
    ]
    empty = "None is charged in this month: what changes of a month once it is closed stands in the next that is open."
    return Table("adjustments", "Adjustments of closed months", columns, rows, empty=empty)


def _reconciled(request: PageRequest, question: MonthQuestion) -> Table:
    """How far the month was compared with what providers say, and what came of it."""
    start, end = question.month.start, question.month.end
    columns = [
        Column("provider", "Provider", "name"),
        Column("cost", "Ours, of the month", "usd"),
        Column("ran", "Last compared", "moment"),
        Column("file", "With", "name"),
        Column("days", "Of", "text"),
        Column("difference", "They say more", "usd", signed=True, note="theirs less ours, of what was compared"),
        Column("unexplained", "Unexplained", "usd"),
        Column("missing", "Days not compared", "prose"),
    ]
    rows = []
    for provider in reconciled(request.state.engine, start, end, question.zone):
        run = provider.last
        spend = _spend_of(request, question).filtered("provider", provider.provider)
        cells = {
            "provider": provider.provider,
            "cost": provider.cost_nanousd,
            "ran": run.ran_at if run else None,
            "file": run.file if run else "never",
            "days": _days(run.since_at, run.until_at, question) if run else None,
            "difference": run.theirs_nanousd - run.ours_nanousd if run and provider.cost_nanousd is not None else None,
            "unexplained": run.unexplained_nanousd if run else None,
            "missing": ", ".join(first if first == last else f"{first} to {last}" for first, last in provider.missing)
            or "none",
        }
        link = str(spend)
        rows.append(Row(cells, {"provider": link}, to=link, bad=("missing",) if provider.missing else ()))
    empty = "No provider charged anything in this month."
    return Table("reconciled", "Compared with what providers say", columns, rows, empty=empty)


def _days(since: int, until: int, question: MonthQuestion) -> str:
    first, last = (f"{datetime.fromtimestamp(at / 1e6, question.zone):%Y-%m-%d}" for at in (since, until - 1))
    return first if first == last else f"{first} to {last}"


def _close(request: PageRequest) -> str:
    """Keep a month that is over as it is now; what comes later is an adjustment in the next."""
    by = tuple(name for name in request.form.get("by", "").split(",") if name)
    month, mark_up = request.path_params["month"], request.form.get("mark_up", "")
    zoned = request._replace(address=request.address._replace(tz=request.form.get("tz") or "UTC"))
    question = _question(zoned, month, by, mark_up)
    close_month(request.state.engine, question, request.now_us)
    address = zoned.address._replace(path="/month", by=by)
    return str(address.having(month=month, mark_up=mark_up))


PAGE = Page("/month", "Month", show, ranged=False, shortcut="n")
ACTIONS = (Action("/month/{month}/close", _close),)
