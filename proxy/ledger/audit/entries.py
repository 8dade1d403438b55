"""What must hold of every ledger entry by itself. Pure: a row in, what is wrong with it out.

It believes nothing that it can work out again: a cost is recomputed from its own lines, each line from its own price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import orjson

from pricing.money import to_nanousd
from proxy.jobs.machine import RUNNING
from proxy.ledger.entries.corrections import CHANGED, REPRICED
from proxy.ledger.entries.row_checks import UNREADABLE, is_amount
from proxy.ledger.schema import NOT_COUNTED, TOKEN_COLUMNS

_KINDS = ("attempt", "correction")
_STATUSES = ("settled", "unconfirmed", "void", RUNNING)
_EXACT = Context(prec=80)
_CLOSE = Decimal("1e-18")  # USD: a price per 7 things has no last digit

Row = Mapping[str, Any]


def problem_of(row: Row) -> str | None:
    """The first thing that is wrong with an entry, or None. (What a correction makes of its attempt: `correction_problem`.)"""
    if row["kind"] not in _KINDS:
        return f"its kind is {row['kind']!r}"
    if row["status"] not in _STATUSES:
        return f"its status is {row['status']!r}"
    if row["attempt"] < 1:
        return f"its attempt is number {row['attempt']}"
    for column in TOKEN_COLUMNS.values():
        if row[column] < 0:
            return f"{column} is {row[column]}"
    flags, lines, budgets = (_opened(row[name]) for name in ("flags", "cost_lines", "budgets"))
    if not _are_flags(flags):
        return "its flags are not a list of names"
    if not all(isinstance(value, list) for value in (lines, budgets)):
        return "its cost_lines or budgets are not a list"
    return (
        _cost_problem(row, lines, UNREADABLE in flags)
        or _budget_problem(row, budgets)
        or (_implausible_problem(row) if "implausible" in flags else None)
    )


def _opened(text: str | None) -> Any:
    try:
        return orjson.loads(text) if text else []
    except orjson.JSONDecodeError:
        return None


def _are_flags(flags: Any) -> bool:
    return (
        isinstance(flags, list)
        and all(isinstance(flag, str) and flag.isidentifier() for flag in flags)
        and len(set(flags)) == len(flags)
    )


def _cost_problem(row: Row, lines: Sequence[Any], repaired: bool) -> str | None:
    cost, kind, status = row["cost_nanousd"], row["kind"], row["status"]
    if kind == "attempt" and row["corrects_id"] is not None:
        return "it is an attempt, and says that it corrects one"
    if kind == "attempt" and cost is not None and cost < 0:
        return f"its cost is below 0: {cost} nano-USD"
    if status == "void":
        return f"it is void, and costs {cost} nano-USD" if cost != 0 or lines else None
    if status == RUNNING:
        return f"it still runs, and costs {cost} nano-USD" if cost is not None or lines else None
    if status == "unconfirmed":
        if cost != row["reserved_nanousd"]:
            return f"it is unconfirmed, and costs {cost}, not the {row['reserved_nanousd']} nano-USD reserved for it"
        return None
    if repaired:
        return None  # its lines were what could not be read
    try:
        lines_sum = sum_of_lines(lines)
    except (LookupError, TypeError, ValueError, InvalidOperation):
        return "its cost lines cannot be read"
    if isinstance(lines_sum, str):
        return lines_sum
    if kind == "attempt" and cost is not None and cost != lines_sum:
        return f"it costs {cost} nano-USD, and its lines add up to {lines_sum}"
    return None


def sum_of_lines(lines: Sequence[Mapping[str, Any]]) -> int | str:
    """What the lines add up to, rounded once, in nano-USD; or which of them does not follow from its own price."""
    total = Decimal()
    for number, line in enumerate(lines, 1):
        quantity, price, cost = (Decimal(line[name]) for name in ("quantity", "price_usd", "cost_usd"))
        exact = _EXACT.divide(_EXACT.multiply(quantity, price), Decimal(line["per"]))
        if not abs(_EXACT.subtract(exact, cost)) <= _CLOSE:
            return f"cost line {number}: {quantity} at {price} per {line['per']} is {exact.normalize():f}, not {cost:f} USD"
        total = _EXACT.add(total, cost)
    return to_nanousd(total)


def _budget_problem(row: Row, budgets: Sequence[Any]) -> str | None:
    if row["status"] in NOT_COUNTED and budgets:
        return f"it is {row['status']}, and counted in a budget"
    for item in budgets:
        if not is_amount(item):
            return "one of its budgets cannot be read"
        name, _, _, measure, amount = item
        if measure == "usd" and amount != (row["cost_nanousd"] or 0):
            return f"it costs {row['cost_nanousd']} nano-USD, and counted as {amount} in budget {name!r}"
        if row["kind"] == "attempt" and amount < 0:
            return f"it counted as {amount} in budget {name!r}"
    counted = [tuple(item[:4]) for item in budgets]
    return "it counted twice in one budget" if len(set(counted)) < len(counted) else None


def _implausible_problem(row: Row) -> str | None:
    if row["kind"] == "attempt" and row["status"] != "unconfirmed":
        return "its usage is implausible, and its cost is not the ceiling"
    return None


def correction_problem(correction: Row, attempt: Row | None) -> str | None:
    """What is wrong with a correction, given the entry that it points at."""
    if attempt is None:
        return f"it corrects {correction['corrects_id']!r}, which is not in the ledger"
    flags = _opened(correction["flags"]) or ()
    changed = CHANGED in flags or REPRICED in flags  # a job's, by its provider, after its end; or at another price
    if attempt["kind"] != "attempt" or attempt["status"] not in (
        ("settled", "unconfirmed") if changed else ("unconfirmed",)
    ):
        return f"it corrects {attempt['id']}, which is not an unconfirmed attempt"
    if (correction["request_id"], correction["started_at"]) != (attempt["request_id"], attempt["started_at"]):
        return f"it corrects {attempt['id']}, which is of another call"
    if changed:
        return None  # one of several, perhaps: what a job's come to stands in `jobs`
    total = (attempt["cost_nanousd"] or 0) + (correction["cost_nanousd"] or 0)
    if total < 0:
        return f"with it, {attempt['id']} costs {total} nano-USD"
    lines_sum = sum_of_lines(_opened(correction["cost_lines"]) or [])
    if correction["status"] == "settled" and total and total != lines_sum:
        return f"with it, {attempt['id']} costs {total} nano-USD, and its lines add up to {lines_sum}"
    return None
