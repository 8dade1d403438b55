"""`/budgets`, and `/budgets/{name}`: what is left, for how long, what happened, and raising it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from fastapi import HTTPException
from pydantic import ValidationError

from proxy.budgets.budget import Budget
from proxy.budgets.memory_standings import IDLE
from proxy.control.api import budgets as api
from proxy.control.api.standings import budgets_as_they_stand
from proxy.control.pages import view
from proxy.control.pages.address import ALL, Address
from proxy.control.pages.page import Action, Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Row, Table
from proxy.money import NANO
from proxy.reports import journal
from proxy.times import BadQuestion, rfc3339

_GROUPS_SHOWN = 100
_NO_LIMIT_S = 10 * 365 * 86_400


def show(request: PageRequest) -> PageContent:
    """Every budget, those nearest to their end first."""
    now_s = request.now_us / 1e6
    budgets = {budget.name: budget for budget in request.state.budgets()}
    rows, counts = request.state.fullest(1)
    items = budgets_as_they_stand(list(budgets.values()), rows, now_s)
    totals = {} if not items else request.state.totals()
    would = _would_refuse(request)
    columns = [
        Column("name", "Budget", "name"),
        Column("used", "Used", "percent", note="of a budget with groups: the fullest group"),
        Column("spent", "Spent", "figure"),
        Column("reserved", "Reserved", "figure", note="by calls in flight"),
        Column("limit", "Limit", "figure"),
        Column("left", "Lasts", "took", note="at the pace of this window so far"),
        Column("ends", "Resets", "moment"),
        Column("groups", "Groups", "count"),
        Column("action", "Then it", "text", note="when it is spent"),
        Column("of", "Counts", "prose"),
        Column(
            "would",
            "Would refuse",
            "count",
            note="of a budget that only warns; since the metrics began",
        ),
        Column("beyond", "Beyond", "figure", note="spent beyond the limit of a budget that only warns, in this window"),
    ]
    lines = [_row(item, budgets[item["name"]], counts, totals, would, now_s) for item in items]
    lines.sort(key=lambda row: -(row.cells["used"] or 0))
    table = Table("budgets", "Budgets", columns, lines, empty="No budget is configured.", edge="spent")
    return PageContent("list", "Budgets", {"order": ""}, (table,), api="/api/budgets")


def _row(
    item: Mapping[str, Any], budget: Budget, counts: Mapping[str, int], totals: Mapping[str, Mapping[str, Any]],
    would: Mapping[str, int], now_s: float,
) -> Row:  # fmt: skip
    unit, groups = budget.measure, item["groups"]
    fullest = groups[0] if budget.per and groups else item
    limit = Decimal(fullest[f"limit_{unit}"])
    spent, reserved = (Decimal(fullest[f"{name}_{unit}"]) for name in ("spent", "reserved"))
    link = f"/budgets/{view.part(budget.name)}"
    used = float(100 * spent / limit) if limit else (100.0 if spent else 0.0)
    cells = {
        "name": budget.name,
        "action": "refuses" if budget.hard else "warns",
        "of": _matched(budget) + _each(budget),
        "used": used,
        "spent": view.amount(spent, unit, limit),
        "reserved": view.amount(reserved, unit, limit) if reserved else "",
        "limit": view.amount(limit, unit, limit),
        "left": _lasts_ms(budget, int(spent * (NANO if unit == "usd" else 1)), fullest, now_s),
        "ends": _ends_us(budget, now_s),
        "groups": counts.get(budget.name, len(groups)) if budget.per else None,
        "would": None if budget.hard else would.get(budget.name, 0),
        "beyond": view.amount(beyond, unit, limit) if (beyond := _beyond(budget, item)) else None,
    }
    group = fullest["group"] if fullest is not item else None
    links = {"spent": _spend_link(budget, now_s, group), "reserved": view.in_flight(budget.name, group)}
    return Row(cells, {"name": link} | links, bar=min(100.0, used), to=link)


def _beyond(budget: Budget, item: Mapping[str, Any]) -> Decimal:
    """What was spent in this window that a hard budget of the same limit would have kept: of the groups that are known here."""
    if budget.hard:
        return Decimal(0)
    amounts = (
        Decimal(one[f"spent_{budget.measure}"]) - Decimal(one[f"limit_{budget.measure}"])
        for one in (item["groups"] if budget.per else [item])
    )
    return sum((amount for amount in amounts if amount > 0), Decimal(0))


def _each(budget: Budget) -> str:
    if budget.keys is not None:
        return ", each with its own" if len(budget.keys) > 1 else ""
    return f", for each {', '.join(budget.per)}" if budget.per else ""


def _matched(budget: Budget) -> str:
    if budget.keys is not None:
        return f"{len(budget.keys):,} key{'' if len(budget.keys) == 1 else 's'} made with it"
    return ", ".join(f"{name} {' or '.join(values)}" for name, values in budget.match) or "every call"


def _ends_us(budget: Budget, now_s: float) -> int | None:
    end = budget.window_now(now_s)[1]
    return None if end is None else int(end * 1e6)


def _lasts_ms(budget: Budget, spent: int, item: Mapping[str, Any], now_s: float) -> float | None:
    """How long what is left lasts at the pace of this window so far; None where there is no pace, or it outlasts its window."""
    start, end = budget.window_now(now_s)
    passed = now_s - start if start else 0
    limit = int(Decimal(item[f"limit_{budget.measure}"]) * (NANO if budget.measure == "usd" else 1))
    if not spent or passed < 60 or not start:
        return None
    left_s = max(0, limit - spent) * passed / spent
    return None if left_s > _NO_LIMIT_S or (end is not None and now_s + left_s > end) else 1000 * left_s


def _would_refuse(request: PageRequest) -> dict[str, int]:
    """Budget -> calls that it would have refused, had it not only warned."""
    with request.state.metrics.lock:
        counters = list(request.state.metrics.counters.items())
    return {labels[0]: value for (name, labels), value in counters if name == "would_refuse_total"}


# One budget


def show_detail(request: PageRequest) -> PageContent:
    """A budget with its groups, `?group=` to find one. Raises 404."""
    budget = _named(request)
    now_s = request.now_us / 1e6
    wanted = request.address.get("group")
    standings = request.state.standings(budget.name)
    (item,) = budgets_as_they_stand([budget], standings, now_s)
    groups = [group for group in item["groups"] if not wanted or wanted.lower() in group["group"].lower()]
    exact = next((group["group"] for group in groups if group["group"] == wanted), None)
    tables = (
        _groups_table(budget, groups[:_GROUPS_SHOWN], len(groups), now_s) if budget.per else _no_groups(),
        _journal_table(budget, journal.of_budget(request.state.engine, budget.name, exact)),
    )
    unit = budget.measure
    limit = Decimal(item[f"limit_{unit}"])
    values = {
        "budget": {
            "name": budget.name,
            "action": "refuses calls" if budget.hard else "warns only",
            "matched": _matched(budget),
            "per": ", ".join(budget.per),
            "window": budget.window,
            "zone": str(budget.zone),
            "ends": _ends_us(budget, now_s),
            "limit": view.amount(limit, unit, limit),
            "unit": {"usd": "USD", "tokens": "tokens", "requests": "calls"}[unit],
            "bar": None if budget.per else view.bar(item, unit, None),
            "left": None if budget.per else view.amount(Decimal(item[f"remaining_{unit}"]), unit, limit),
            "would": None if budget.hard else _would_refuse(request).get(budget.name, 0),
            "beyond": view.amount(beyond, unit, limit) if (beyond := _beyond(budget, item)) else "",
            "path": f"/budgets/{view.part(budget.name)}",
        },
        "wanted": wanted,
        "exact": exact or "",
        "groups": len(groups),
        "problem": request.form.get("problem", ""),
        "spend": _spend_link(budget, now_s),
        "flight": view.in_flight(budget.name, exact),
    }
    api_path = f"/api/budgets/{view.part(budget.name)}"
    return PageContent("budget", f"Budget {budget.name}", values, tables, (("Budgets", "/budgets"),), api_path)


def _spend_link(budget: Budget, now_s: float, group: str | None = None) -> str:
    """What was spent in this window, as far as filters can say what a budget counts; or of one group by one attribute."""
    start = budget.window_now(now_s)[0]
    since = (rfc3339(int(start * 1e6)) or "") if start else ALL
    address = Address("/spend", since, tz=str(budget.zone), by=budget.per or ("model",))
    for name, values in budget.match:
        if len(values) == 1 and not values[0].endswith("*"):
            address = address.filtered(name, values[0])
    if group not in (None, IDLE) and len(budget.per) == 1:
        address = address.filtered(budget.per[0], None if group == "(none)" else group)._replace(by=("model",))
    return str(address.having(metric="" if budget.measure == "usd" else _METRICS[budget.measure]))


_METRICS = {"tokens": "tokens", "requests": "calls"}


def _named(request: PageRequest) -> Budget:
    for budget in request.state.budgets():
        if budget.name == request.path_params["name"]:
            return budget
    raise HTTPException(404, "There is no budget with this name.")


def _no_groups() -> Table:
    return Table("groups", "Groups", (), ())


def _groups_table(budget: Budget, groups: Sequence[Mapping[str, Any]], count: int, now_s: float) -> Table:
    unit = budget.measure
    columns = [
        Column("group", ", ".join(budget.per).capitalize(), "mono"),
        Column("used", "Used", "percent"),
        Column("spent", "Spent", "figure"),
        Column("reserved", "Reserved", "figure"),
        Column("limit", "Limit", "figure"),
    ]
    rows = []
    for group in groups:
        limit, spent, reserved = (Decimal(group[f"{name}_{unit}"]) for name in ("limit", "spent", "reserved"))
        used = float(100 * spent / limit) if limit else 100.0
        cells = {
            "group": group["group"],
            "used": used,
            "spent": view.amount(spent, unit, limit),
            "reserved": view.amount(reserved, unit, limit) if reserved else "",
            "limit": view.amount(limit, unit, limit),
        }
        links = {"group": f"/budgets/{view.part(budget.name)}?group={view.part(group['group'])}"}
        links |= {"reserved": view.in_flight(budget.name, group["group"])}
        links |= {"spent": _spend_link(budget, now_s, group["group"])} if len(budget.per) == 1 else {}
        rows.append(Row(cells, links, bar=min(100.0, used), to=links["group"]))
    title = f"Groups: {count:,}" + (f", the fullest {len(groups)}" if count > len(groups) else "")
    return Table(
        "groups", title, columns, rows, empty="No group of that name has spent anything in this window.", edge="spent"
    )


def _journal_table(budget: Budget, happenings: Sequence[journal.BudgetEvent]) -> Table:
    columns = [
        Column("at", "Time", "moment"),
        Column("kind", "What", "text"),
        Column("group", "Group", "mono"),
        Column("text", "", "prose"),
        Column("until", "Until", "moment"),
    ]
    rows = [
        Row(
            {
                "at": one.at,
                "kind": one.kind,
                "group": one.group or ("all" if one.kind == "raise" else None),
                "text": _description(budget, one),
                "until": one.until_at,
            }
        )
        for one in happenings
    ]
    return Table("journal", "What happened", columns, rows, empty="Nothing yet: no threshold, no refusal, no raise.")


def _description(budget: Budget, happening: journal.BudgetEvent) -> str:
    if happening.amount is None:
        return happening.text
    return f"by {_measured(budget, happening.amount)}" + (f": {happening.text}" if happening.text else "")


def _measured(budget: Budget, amount: int) -> str:
    value = Decimal(amount) / (NANO if budget.measure == "usd" else 1)
    return view.amount(value, budget.measure, value)


# Raising


def _raise(request: PageRequest) -> str | PageContent:
    """Raise a budget by what the form says; then back to it. What is wrong with the form is told on the page."""
    budget = _named(request)
    form = request.form
    group = form.get("group") or None
    back = f"/budgets/{view.part(budget.name)}" + (f"?group={view.part(group)}" if group else "")
    if budget.per and group is None and form.get("all") != "1":
        raise BadQuestion("name a group, or say that every group is meant")
    try:
        by = Decimal(form.get("by", ""))
    except InvalidOperation:
        raise BadQuestion("the amount must be a number, such as 5 or 0.50") from None
    try:
        new = api.NewRaise.model_validate(
            {"by_usd": by, "group": group, "until": form.get("until") or None, "reason": form.get("reason") or None}
        )
    except ValidationError as error:
        raise BadQuestion(f"{error.errors()[0]['msg']}") from None
    api.raise_budget(budget.name, new, request.state)
    return back


PAGE = Page("/budgets", "Budgets", show, ranged=False, shortcut="b")
DETAIL_PAGE = Page("/budgets/{name}", "", show_detail, ranged=False)
ACTIONS = (Action("/budgets/{name}/raise", _raise),)
