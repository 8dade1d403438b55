"""`unconfirmed` entries that a provider's invoice settles: what they really cost.

They stand at their ceilings. Where all that an invoice says of their day and model is explained, with nothing left over and
nothing that went past us, what it has more than our other entries is what they cost; several share it by their ceilings. Days
that are not over, or that the invoice has nothing of, settle nothing.
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
from proxy.ledger.corrections import invoice_of
from proxy.ledger.database import reading
from proxy.ledger.entries import Entry
from proxy.ledger.schema import entries, jobs
from proxy.reports.apportion import apportion
from proxy.reports.model_names import namer
from proxy.reports.reconcile import Reconciliation, day_start
from proxy.reports.reconcile_causes import OTHERS, UNCONFIRMED, ZONE, Cell
from proxy.reports.statement import Statement


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
    zone: ZoneInfo, now_us: int,
) -> Settling:  # fmt: skip
    """found, span, zone: as `reconcile` was asked."""
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
    days = {line.day for line in statement.lines}
    items: list[Invoiced] = []
    left_out: dict[str, int] = defaultdict(int)
    for (day, model), rows in sorted(waiting.items(), key=lambda item: (item[0][0], item[0][1] or "")):
        why_not = _why_not(cells[day, model], day, days, zone, now_us)
        if statement.of and provider not in statement.of:
            why_not = f"the file is no bill of {provider}"
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


def _why_not(cells: Sequence[Cell], day: str, days: set[str], zone: ZoneInfo, now_us: int) -> str | None:
    """Why the invoice does not say what the unconfirmed entries of a day and model cost."""
    after = datetime.fromisoformat(day).date() + timedelta(days=1)
    if day not in days or day_start(after.isoformat(), zone) > now_us:
        return "the invoice does not cover their whole day"
    if any(cell.left for cell in cells):
        return "their day and model differ by more than is explained"
    if any(cause in cell.causes for cell in cells for cause in (ZONE, OTHERS)):
        return "calls of their day and model did not come through here, or are on another day"
    return None


def _shared(rows: Sequence[Mapping[str, Any]], cells: Sequence[Cell]) -> list[tuple[Mapping[str, Any], int]]:
    """Their ceilings less what the invoice has less, in proportion."""
    ceilings = [row["cost_nanousd"] for row in rows]
    less = sum((cell.causes.get(UNCONFIRMED, Fraction(0)) for cell in cells), Fraction(0))
    cost = min(sum(ceilings), max(0, round(sum(ceilings) + less)))
    return list(zip(rows, apportion(cost, ceilings), strict=True))
