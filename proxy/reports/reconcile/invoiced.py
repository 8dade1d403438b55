"""`unconfirmed` entries that a provider's invoice settles: what they really cost.

They stand at their ceilings. Where all that an invoice says of their day and model is explained, with nothing left over and
nothing that went past us, what it has more than our other entries is what they cost; several share it by their ceilings.

A correction stays, so what an invoice may lack settles nothing: it may have been filtered by a project, a key or a model, be
written before its last day was booked, or call a model by a name that nobody here knows. What it has nothing of, and what went
through an upstream of which it has no other call, is settled only where a person says that it is whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from pricing.book import Book
from proxy.ledger.database import reading
from proxy.ledger.entries.corrections import invoice_of
from proxy.ledger.entries.entry import Entry
from proxy.ledger.schema import entries, jobs
from proxy.reports.apportion import apportion
from proxy.reports.reconcile.causes import CREDITS, LATE, OTHERS, ROUNDING, TAXES, UNCONFIRMED, ZONE, Cell
from proxy.reports.reconcile.comparison import Reconciliation, day_start
from proxy.reports.reconcile.model_names import namer
from proxy.reports.reconcile.statement import Statement
from proxy.times import DAY_US

_CERTAIN = frozenset({UNCONFIRMED, CREDITS, LATE, ROUNDING, TAXES})
"""Causes that leave what is unconfirmed as it is; of any other, a part could be one as well."""
_BOOKED_WITHIN_US = DAY_US  # what clouds promise of their own bills


class Invoiced(NamedTuple):
    """One entry: its ceiling, and what the invoice leaves for it. correction: what makes the one the other."""

    id: str
    day: str
    model: str | None
    ceiling: int
    cost: int
    correction: Entry


class Settling(NamedTuple):
    """left_out: why entries stay at their ceilings -> how many."""

    items: list[Invoiced]
    left_out: Mapping[str, int]


def settle(
    engine: Engine, book: Book, provider: str, statement: Statement, reconciliation: Reconciliation, span: tuple[int, int],
    zone: ZoneInfo, made_at: int, *, whole: bool,
) -> Settling:  # fmt: skip
    """span, zone: as `reconcile` was asked. made_at: when the file was written. whole: it has all that the provider charged."""
    named = namer(book, provider, span[1])
    cells: dict[tuple[str, str | None], list[Cell]] = defaultdict(list)
    for (day, model, _), cell in reconciliation.cells.items():
        cells[day, model].append(cell)
    waiting: dict[tuple[str, str | None], list[Mapping[str, Any]]] = defaultdict(list)
    for row in _unconfirmed(engine, *span):
        if book.catalog.canonical(row["provider"] or "") == provider:
            model = row["model"] or row["model_requested"]
            day = f"{datetime.fromtimestamp(row['started_at'] // 1_000_000, zone):%Y-%m-%d}"
            waiting[day, named(model) if model and reconciliation.has_models else None].append(row)
    past_us = {day for (day, _, _), cell in reconciliation.cells.items() if OTHERS in cell.causes}
    days = {line.day for line in statement.lines}
    items: list[Invoiced] = []
    left_out: dict[str, int] = defaultdict(int)
    for (day, model), rows in sorted(waiting.items(), key=lambda item: (item[0][0], item[0][1] or "")):
        if statement.of and provider not in statement.of:
            why_not: str | None = f"the file is no bill of {provider}"
        elif statement.is_part:
            why_not = f"the file ({statement.shape}) is an estimate of a part of what is billed"
        elif reconciliation.unvalued:
            why_not = "the file has usage that nothing here has a price for"
        elif statement.repeated and not whole:
            why_not = "rows of the file stand in it more than once (--whole says that they are meant)"
        elif day not in days or _next_day(day, zone) > made_at:
            why_not = "the invoice does not cover their whole day"
        elif _next_day(day, zone) + _BOOKED_WITHIN_US > made_at:
            why_not = "the invoice was written less than a day after their day, and may lack what is booked late"
        else:
            why_not = _why_not(rows, cells[day, model], reconciliation.rounding)
        if why_not is None and (lacking := _may_be_lacking(rows, cells[day, model])) and (day in past_us or not whole):
            why_not = lacking if not whole else "other calls of that day did not come through here: one may be theirs"
        if why_not is not None:
            left_out[why_not] += len(rows)
            continue
        for row, cost in _shared(rows, cells[day, model]):
            if cost != row["cost_nanousd"]:
                items.append(Invoiced(row["id"], day, model, row["cost_nanousd"], cost, invoice_of(row, cost)))
    return Settling(items, dict(left_out))


def _unconfirmed(engine: Engine, since: int, until: int) -> list[Mapping[str, Any]]:
    """Those without a correction; of jobs, the provider is still asked."""
    corrected = sa.select(entries.c.corrects_id).where(
        entries.c.kind == "correction", entries.c.corrects_id.is_not(None)
    )
    of_jobs = sa.select(jobs.c.id)
    query = sa.select(entries).where(
        entries.c.started_at >= since,
        entries.c.started_at < until,
        entries.c.status == "unconfirmed",
        entries.c.kind == "attempt",
        entries.c.cost_nanousd.is_not(None),
        entries.c.id.not_in(corrected.where(entries.c.started_at >= since, entries.c.started_at < until)),
        entries.c.id.not_in(of_jobs),
    )
    with reading(engine).connect() as connection:
        return [dict(row) for row in connection.execute(query.order_by(entries.c.id)).mappings()]


def _next_day(day: str, zone: ZoneInfo) -> int:
    return day_start((datetime.fromisoformat(day).date() + timedelta(days=1)).isoformat(), zone)


def _why_not(rows: Sequence[Mapping[str, Any]], cells: Sequence[Cell], rounding: int) -> str | None:
    """Why what the invoice has of a day and model does not say what its unconfirmed entries cost."""
    causes = {cause for cell in cells for cause in cell.causes}
    if any(cell.left for cell in cells):
        return "their day and model differ by more than is explained"
    if causes & {ZONE, OTHERS}:
        return "calls of their day and model did not come through here, or are on another day"
    if any(cell.has_unpriced for cell in cells):
        return "other calls of their day and model have no price here"
    if others := sorted(causes - _CERTAIN) or (["discount"] if any(cell.discount for cell in cells) else []):
        return f"their day and model differ by other causes, too: {', '.join(others)}"
    if rounding * sum(cell.rows for cell in cells) > sum(row["cost_nanousd"] for row in rows):
        return "the invoice's amounts are rounded by more than their ceilings"
    return None


def _may_be_lacking(rows: Sequence[Mapping[str, Any]], cells: Sequence[Cell]) -> str | None:
    """Why the invoice may have been filtered, for all that it says of a day and model."""
    if not any(cell.rows for cell in cells):
        return "the invoice has nothing of their day and model (it may be filtered: --whole says that it is not)"
    seen = {account for cell in cells for account in cell.accounts}
    waiting = {row["upstream"] for row in rows}
    if not waiting <= seen and len(waiting | seen) > 1:
        return "the invoice shows no other call of their upstream that day (it may be filtered: --whole says that it is not)"
    return None


def _shared(rows: Sequence[Mapping[str, Any]], cells: Sequence[Cell]) -> list[tuple[Mapping[str, Any], int]]:
    """Their ceilings less what the invoice has less, in proportion."""
    ceilings = [row["cost_nanousd"] for row in rows]
    less = sum((cell.causes.get(UNCONFIRMED, Fraction(0)) for cell in cells), Fraction(0))
    cost = min(sum(ceilings), max(0, round(sum(ceilings) + less)))
    return list(zip(rows, apportion(cost, ceilings), strict=True))
