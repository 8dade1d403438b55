"""LiteLLM's limits of one owner (a key, a team, …) as budgets, with what was spent so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from proxy.config.from_litellm.values import Conversion, Row, amount, as_dict, as_list, moment, opened, window

_RATES = (
    ("rpm_limit", "limit_requests", "minute"),
    ("tpm_limit", "limit_tokens", "minute"),
    ("tpd_limit", "limit_tokens", "day"),
)
_LOCAL_DAYS = ("day", "week", "month")
Spent = Mapping[tuple[str, str, str], Row]
"""Rows of `LiteLLM_BudgetWindowSpend` by kind, id and duration."""


class Owner(NamedTuple):
    """label: the name of its budgets. match: the calls that are its own. id: as `LiteLLM_BudgetWindowSpend` names it."""

    label: str
    match: Mapping[str, str]
    id: tuple[str, str] = ("", "")


class _Limit(NamedTuple):
    """One amount of money a window. spent, reset_at: what its window has, and when that window ends."""

    name: str
    usd: Any
    duration: Any
    spent: Any = None
    reset_at: datetime | None = None
    model: str | None = None
    soft: bool = False


def add_budgets(made: Conversion, owner: Owner, row: Row, spent: Spent | None = None) -> None:
    """A budget for each of the owner's limits. row: its own, with those of its budget where it has none."""
    limits = list(_limits(owner, row, spent or {}))
    for limit in limits:
        _add(made, owner, limit)
    for column, measure, length in _RATES:
        if owner.match and row.get(column) and int(row[column]) > 0:
            _put(made, f"{owner.label} {column}", owner.match, {measure: int(row[column]), "window": length})
    for model, rates in as_dict(opened(row.get("model_max_budget"))).items():
        for column, measure, length in _RATES[:2]:
            if as_dict(rates).get(column):
                match = {**owner.match, "model": model}
                rate = {measure: int(rates[column]), "window": length}
                _put(made, f"{owner.label} {model} {column}", match, rate)
    if owner.match and row.get("max_parallel_requests"):
        made.left.append(
            f"{owner.label}: max_parallel_requests {row['max_parallel_requests']} (server.max_calls_per_key)"
        )
    if row.get("temp_budget_increase"):
        made.left.append(f"{owner.label}: temp_budget_increase {row['temp_budget_increase']} (taximeter budgets raise)")


def with_budget(row: Row, budgets: Mapping[Any, Row]) -> Row:
    """A row's own limits; those of its budget where it has none."""
    shared = budgets.get(row.get("budget_id")) if row.get("budget_id") else None
    return row if shared is None else dict(shared) | {name: value for name, value in row.items() if value is not None}


def _limits(owner: Owner, row: Row, spent: Spent) -> Iterator[_Limit]:
    own = row.get("budget_duration"), row.get("spend"), moment(row.get("budget_reset_at"))
    if row.get("max_budget") is not None:
        yield _Limit(owner.label, row["max_budget"], *own)
    if row.get("soft_budget") is not None:
        yield _Limit(f"{owner.label} soft_budget", row["soft_budget"], *own, soft=True)
    for limit in map(as_dict, as_list(opened(row.get("budget_limits")))):
        length = str(limit.get("budget_duration"))
        known = spent.get((*owner.id, length), {})
        reset_at = moment(limit.get("reset_at"))
        if limit.get("max_budget") is not None:
            yield _Limit(f"{owner.label} {length}", limit["max_budget"], length, known.get("spend"), reset_at)
    for model, model_limit in as_dict(opened(row.get("model_max_budget"))).items():
        limit = as_dict(model_limit) if isinstance(model_limit, Mapping) else {"max_budget": model_limit}
        usd = limit.get("budget_limit", limit.get("max_budget"))
        duration = limit.get("time_period", limit.get("budget_duration"))
        if usd is not None:
            yield _Limit(f"{owner.label} {model}", usd, duration, model=model)


def _add(made: Conversion, owner: Owner, limit: _Limit) -> None:
    calendar, same_end = window(limit.duration)
    if calendar is None:
        made.left.append(f"{limit.name}: {amount(limit.usd)} USD for {limit.duration}: there is no such window")
        return
    if not same_end:
        made.left.append(f"{limit.name}: begins anew with the calendar month, not every {limit.duration}")
    match = {**owner.match, **({"model": limit.model} if limit.model else {})}
    budget: dict[str, Any] = {"limit_usd": amount(limit.usd), "window": calendar}
    if limit.soft:
        budget |= {"action": "warn", "alert_at": [1.0]}
    spent = float(limit.spent or 0)
    if spent > 0 and limit.reset_at is not None and limit.reset_at <= made.at:
        made.left.append(f"{limit.name}: {amount(spent)} USD were spent in a window that ended at {limit.reset_at}")
    elif round(spent * 1e9) > 0:
        budget["opening"] = {"usd": amount(spent), "at": made.at.isoformat()}
    _put(made, limit.name, match, budget)


def _put(made: Conversion, name: str, match: Mapping[str, str], budget: Mapping[str, Any]) -> None:
    names = made.budget_names
    free = (
        name if name not in names else next(f"{name} ({n})" for n in range(2, 10_000) if f"{name} ({n})" not in names)
    )
    names.add(free)
    zone = {"timezone": made.timezone} if made.timezone and budget["window"] in _LOCAL_DAYS else {}
    made.config["budgets"].append({"name": free, **({"match": dict(match)} if match else {}), **budget, **zone})
