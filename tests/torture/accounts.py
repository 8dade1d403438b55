"""Whether budgets, their store and the metrics say what the invoice and the ledger do. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from .evidence import NANO, Entry, Evidence, Metrics, Standing, nano
from .figures import Verdict


def window_start(window: str, at_us: int) -> int:
    """The start of the UTC calendar window at a time, in epoch seconds; 0 for `total`."""
    if window == "total":
        return 0
    at = datetime.fromtimestamp(at_us // 1_000_000, UTC).replace(second=0)
    if window != "minute":
        at = at.replace(minute=0)
    if window not in ("minute", "hour"):
        at = at.replace(hour=0)
    if window == "week":
        at -= timedelta(days=at.weekday())
    if window == "month":
        at = at.replace(day=1)
    return int(at.timestamp())


def _attributes(row: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        "key": row["caller"],
        "team": row.get("team"),
        "user": row.get("user"),
        "model": row["model"],
        "session": row.get("session") or f"(own){row['nonce']}",
    }


def _counts_in(budget: Mapping[str, Any], attributes: Mapping[str, str | None]) -> str | None:
    """The group that a call counts in, None where the budget does not match. Other attributes never match here."""
    for name, wanted in (budget.get("match") or {}).items():
        value = attributes.get(name)
        patterns = [wanted] if isinstance(wanted, str) else wanted
        if value is None or not any(value.startswith(p[:-1]) if p.endswith("*") else value == p for p in patterns):
            return None
    return "|".join(attributes.get(name) or "(none)" for name in budget.get("per") or ())


def _usd_budgets(evidence: Evidence) -> list[dict[str, Any]]:
    return [budget for budget in evidence.budgets if budget.get("limit_usd") is not None]


def judge_overshoot(verdict: Verdict, evidence: Evidence, client: Mapping[str, Mapping[str, Any]]) -> None:
    """Every hard budget's running total of invoiced money, by the nonce's caller: the most that it passed its limit."""
    verdict.start("overshoot_nano")
    lines = sorted(evidence.invoice, key=lambda line: line.at_us)
    for budget in _usd_budgets(evidence):
        spent: Counter[tuple[str, int]] = Counter()
        for line in lines:
            row = client.get(line.nonce)
            group = _counts_in(budget, _attributes(row)) if row else None
            if group is not None:
                spent[group, window_start(budget["window"], line.at_us)] += line.billed_nano
        overrides = budget.get("overrides") or {}
        over = {
            key: total - nano(str(overrides.get(key[0], budget["limit_usd"]))) for key, total in spent.items() if total
        }
        most = max(spent.values(), default=0)
        verdict.budgets[budget["name"]] = {"limit_nano": nano(str(budget["limit_usd"])), "most_nano": most}
        for (group, _), passed in over.items():
            if passed > 0 and budget.get("action", "block") == "block":
                verdict.add("overshoot_nano", f"{budget['name']} {group}: {passed} n$", passed)


def judge_budgets_of(
    verdict: Verdict, evidence: Evidence, pairs: Mapping[str, Entry], client: Mapping[str, Mapping[str, Any]]
) -> None:
    """Whether each entry names the budgets that its caller's attributes say."""
    if not evidence.budgets or evidence.client is None:
        return
    verdict.start("uncounted")
    for line in evidence.invoice:
        row, entry = client.get(line.nonce), pairs.get(line.line)
        if row is None or entry is None:
            continue
        expected = {b["name"] for b in evidence.budgets if _counts_in(b, _attributes(row)) is not None}
        if expected != {name for name, _, _ in entry.budgets}:
            verdict.add("uncounted", f"{entry.id}: counts in {entry.budgets}, belongs in {sorted(expected)}")


def judge_stuck(verdict: Verdict, standings: list[Standing]) -> None:
    verdict.start("stuck", "stuck_nano")
    for standing in standings:
        held = {group: reserved for group, (_, reserved) in standing.groups.items() if reserved}
        if not held and standing.reserved_nano:
            held = {"": standing.reserved_nano}
        for group, reserved in held.items():
            verdict.add("stuck", f"{standing.name} {group}: {reserved} n$")
            verdict.add("stuck_nano", standing.name, abs(reserved))


def judge_limits(verdict: Verdict, standings: list[Standing], budgets: list[dict[str, Any]]) -> None:
    """Counters above their limit, by the store's own word. A crash charges ceilings, so it may pass one; nothing else."""
    verdict.start("charged_above_limit_nano")
    hard = {b["name"]: b for b in budgets if b.get("limit_usd") is not None and b.get("action", "block") == "block"}
    for standing in standings:
        budget = hard.get(standing.name)
        if budget is None:
            continue
        overrides = budget.get("overrides") or {}
        for group, (spent, reserved) in (
            standing.groups or {"": (standing.spent_nano, standing.reserved_nano)}
        ).items():
            over = spent + reserved - nano(str(overrides.get(group, budget["limit_usd"])))
            if over > 0:
                verdict.add("charged_above_limit_nano", f"{standing.name} {group}: {over} n$", over)


def judge_store(verdict: Verdict, standings: list[Standing], entries: list[Entry]) -> None:
    verdict.start("store_difference", "store_difference_nano")
    sums: Counter[tuple[str, str, int]] = Counter()
    budgets_of = {entry.id: entry.budgets for entry in entries}
    for entry in entries:
        for name, group, start in entry.budgets or budgets_of.get(entry.corrects_id or "", []):
            sums[name, group, start] += entry.cost_nano or 0
    for standing in standings:
        here = {
            key[1]: total for key, total in sums.items() if (key[0], key[2]) == (standing.name, standing.window_start)
        }
        store = {group: spent for group, (spent, _) in standing.groups.items()} or {"": standing.spent_nano}
        if set(store) == {""}:
            here = {"": sum(here.values())}
        for group in sorted(set(store) | set(here)):
            difference = store.get(group, 0) - here.get(group, 0)
            if difference:
                verdict.add("store_difference", f"{standing.name} {group}: store has {difference} n$ more")
                verdict.add("store_difference_nano", standing.name, abs(difference))


def judge_metrics(verdict: Verdict, metrics: Metrics, entries: list[Entry]) -> None:
    attempts = [entry for entry in entries if entry.kind == "attempt"]
    verdict.start("metric_cost_difference_nano", "metric_tokens_difference", "metric_requests_difference", "dropped")
    cost = _total(metrics, "taximeter_cost_usd_total") * NANO - sum(entry.cost_nano or 0 for entry in attempts)
    if cost:
        verdict.add("metric_cost_difference_nano", f"cost_usd_total is {cost} n$ more", abs(_whole(cost)))
    corrections = sum(entry.cost_nano or 0 for entry in entries if entry.kind == "correction")
    if (over := _total(metrics, "taximeter_cost_corrections_usd") * NANO - corrections) != 0:
        verdict.add("metric_cost_difference_nano", f"cost_corrections_usd is {over} n$ more", abs(_whole(over)))
    used: dict[str, Decimal] = defaultdict(Decimal)
    for entry in attempts:
        for unit, quantity in entry.usage.items():
            used[unit] += quantity
    for labels, value in metrics.get("taximeter_tokens_total", ()):
        used[labels.get("unit", "")] -= value
    for unit, difference in used.items():
        if difference:
            verdict.add(
                "metric_tokens_difference", f"tokens_total {unit}: {-difference} more", math.ceil(abs(difference))
            )
    sent = sum(entry.status != "void" for entry in attempts)
    requests = _whole(_total(metrics, "taximeter_requests_total")) - sent
    if requests:
        verdict.add("metric_requests_difference", f"requests_total is {requests} more", abs(requests))
    dropped = _whole(_total(metrics, "taximeter_ledger_dropped_total"))
    if dropped:
        verdict.add("dropped", "ledger_dropped_total", dropped)


def _total(metrics: Metrics, name: str) -> Decimal:
    return sum((value for _, value in metrics.get(name, ())), Decimal(0))


def _whole(value: Decimal) -> int:
    return int(value.to_integral_value(rounding="ROUND_UP"))
