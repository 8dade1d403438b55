"""Entries whose price was wrong or missing: what they should have cost at the prices of their day.

Each is priced again from what the ledger keeps of it: its usage, the model that was served, its service tier, whose it was.
What a call was priced by and the ledger does not keep (a region, a speed, a picture's size) must not make a right price look
wrong: an entry that any of the ordinary conditions explains is left as it is, and so is what depends on more than that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pricing.book import Book
from pricing.cost import Cost
from pricing.units import TOKENS
from pricing.usage import Reading
from proxy.ledger.database import reading
from proxy.ledger.entries.corrections import REPRICED, repricing_of
from proxy.ledger.entries.entry import Entry
from proxy.ledger.rollups.writing import pages
from proxy.ledger.schema import TOKEN_COLUMNS, entries, jobs
from proxy.money import usd_text
from proxy.spool.cost_lines import written

# What may have chosen a price beside what the ledger keeps.
_CONDITIONS: tuple[Mapping[str, str], ...] = (
    {},
    {"processing": "batch"},
    {"service_tier": "priority"},
    {"service_tier": "flex"},
    {"speed": "fast"},
    {"inference_geo": "us"},
    {"geo": "eu"},
    {"geo": "us"},
    {"vertex_location": "europe-west4"},
    {"processing": "provisioned"},
)
_ATTRIBUTES = ("key", "team", "user", "customer", "model", "upstream", "provider", "agent")
_LEFT_ALONE = ("implausible", "unreadable_record", "assumed_price")


class Repriced(NamedTuple):
    """One entry: what it and its corrections come to, and what it should. old: None where it has no price. correction: what
    makes the one the other."""

    id: str
    old: int | None
    new: int
    why: str
    correction: Entry


class Repricing(NamedTuple):
    """left_out: why entries were not looked at -> how many."""

    items: list[Repriced]
    left_out: Mapping[str, int]
    looked_at: int


class _Corrected(NamedTuple):
    cost: int
    repriced: int
    others: int
    lines: str | None


def reprice(engine: Engine, book: Book, since: int, until: int) -> Repricing:
    """book: with the operator's own prices."""
    items: list[Repriced] = []
    left_out: dict[str, int] = defaultdict(int)
    looked_at = 0
    with reading(engine).connect() as connection:
        corrections = _corrections(connection, since, until)
        of_jobs = set(connection.execute(sa.select(jobs.c.id)).scalars())
        for row in _attempts(connection, since, until):
            looked_at += 1
            corrected = corrections.get(row["id"], _Corrected(0, 0, 0, None))
            why_not = _left_out(row, corrected, of_jobs)
            if why_not is not None:
                left_out[why_not] += 1
                continue
            item = _repriced(row, corrected, book)
            if isinstance(item, Repriced):
                items.append(item)
            elif item:
                left_out[item] += 1
    return Repricing(items, dict(left_out), looked_at)


def _attempts(connection: Connection, since: int, until: int) -> Iterator[Mapping[str, Any]]:
    for rows in pages(connection, tuple(entries.columns), since, until):
        for row in rows:
            if row["kind"] == "attempt" and row["status"] not in ("void", "running"):
                yield row


def _corrections(connection: Connection, since: int, until: int) -> dict[str, _Corrected]:
    query = sa.select(entries.c.corrects_id, entries.c.cost_nanousd, entries.c.flags, entries.c.cost_lines).where(
        entries.c.kind == "correction", entries.c.started_at >= since, entries.c.started_at < until
    )
    corrected: dict[str, _Corrected] = {}
    for corrects_id, cost, flags, lines in connection.execute(query.order_by(entries.c.ended_at)):
        before = corrected.get(corrects_id, _Corrected(0, 0, 0, None))
        is_repricing = REPRICED in (flags or "")
        corrected[corrects_id] = _Corrected(
            before.cost + (cost or 0),
            before.repriced + is_repricing,
            before.others + (not is_repricing),
            lines if is_repricing else before.lines,
        )
    return corrected


def _left_out(row: Mapping[str, Any], corrected: _Corrected, of_jobs: set[str]) -> str | None:
    """Why an entry's price is not in question."""
    flags = orjson.loads(row["flags"] or "[]")
    if row["status"] != "settled":
        return "unconfirmed: charged at the ceiling until its usage is known"
    if row["cost_source"] == "provider":
        return "the provider stated its cost"
    if row["id"] in of_jobs or corrected.others:
        return "a job, or corrected by what its provider said"
    if any(flag in _LEFT_ALONE for flag in flags) and row["cost_nanousd"] is not None:
        return "its usage is not what was billed, or its price was an assumption"
    return None


def _repriced(row: Mapping[str, Any], corrected: _Corrected, book: Book) -> Repriced | str | None:
    usage = _usage(row)
    if usage is None or not usage:
        return "nothing is known of what it used" if row["cost_nanousd"] is None else None
    net = _net(row, corrected)
    lines = orjson.loads(corrected.lines or row["cost_lines"] or "[]")
    if net is not None and (any(line.get("model") for line in lines) or any(unit not in TOKENS for unit in usage)):
        return "priced by facts that the ledger does not keep (several models, sizes, tools)"
    cost = _cost(row, usage, book, {})
    if cost.cost_nanousd is None:
        return "without a price still" if net is None else "its model has no price any more"
    if net == cost.cost_nanousd:
        return None
    if net is not None and any(_cost(row, usage, book, more).cost_nanousd == net for more in _CONDITIONS[1:]):
        return None
    columns = {"cost_lines": written(cost.lines) if cost.lines else None, "price_version": cost.price_version}
    correction = repricing_of(row, columns, cost.cost_nanousd, net, corrected.repriced)
    return Repriced(row["id"], net, cost.cost_nanousd, _why(net, lines, cost), correction)


def _net(row: Mapping[str, Any], corrected: _Corrected) -> int | None:
    if row["cost_nanousd"] is None and not corrected.repriced:
        return None
    return int(row["cost_nanousd"] or 0) + corrected.cost


def _usage(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Whole numbers, and decimals; None where they cannot be read."""
    usage: dict[str, Any] = {unit: row[column] for unit, column in TOKEN_COLUMNS.items() if row[column]}
    try:
        for unit, amount in orjson.loads(row["usage"] or "{}").items():
            usage[unit] = amount if type(amount) is int else Decimal(str(amount))
    except (InvalidOperation, ValueError):
        return None
    return usage


def _cost(row: Mapping[str, Any], usage: Mapping[str, Any], book: Book, more: Mapping[str, str]) -> Cost:
    tier = {"service_tier": row["service_tier"]} if row["service_tier"] else {}
    read = Reading(
        usage=usage, source=row["usage_source"] or "provider", model=row["model"], conditions={**tier, **more}
    )
    labels = orjson.loads(row["labels"] or "{}")
    attributes = {name: row[name] for name in _ATTRIBUTES} | {f"label.{name}": value for name, value in labels.items()}
    names = dict.fromkeys((row["model"] or "", row["model_requested"] or ""))  # a price may stand under either
    costs = (
        book.cost(
            read,
            provider=row["provider"] or "",
            model=name,
            at_s=row["ended_at"] // 1_000_000,
            endpoint=row["operation"],
            attributes=attributes,
        )
        for name in names
    )
    first = next(costs)
    return (
        first
        if first.cost_nanousd is not None
        else next((cost for cost in costs if cost.cost_nanousd is not None), first)
    )


def _why(net: int | None, lines: Sequence[Mapping[str, Any]], cost: Cost) -> str:
    if net is None:
        return "it had no price"
    was = {line["unit"]: (str(line["price_usd"]), line["per"]) for line in lines}
    changed = [
        f"{line.unit} was {was[line.unit][0] if line.unit in was else 'not priced'}, is {line.price_usd} USD per {line.per:,}"
        for line in cost.lines
        if line.unit not in was or Decimal(was[line.unit][0]) * line.per != line.price_usd * was[line.unit][1]
    ]
    return "; ".join(changed) or f"its lines come to {usd_text(cost.cost_nanousd or 0)} USD"
