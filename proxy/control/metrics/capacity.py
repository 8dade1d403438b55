"""The metrics of one's own machines: the minutes that this instance has closed (their sum over all instances of a ledger is the
total), and the last hour, which only the instance that keeps the books reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from proxy.control.metrics.exposition import Gauge, decimal
from proxy.control.state import ControlState
from proxy.ledger.capacity.books import Books, read_books
from proxy.ledger.capacity.totals import share_of
from proxy.money import NANO
from proxy.times import HOUR_US

if TYPE_CHECKING:
    from proxy.reports.capacity.shapes import PerMillion

_MJ = 1000


def capacity_gauges(state: ControlState) -> Iterator[Gauge]:
    """The gauges of every configured capacity; none while the ledger does not answer."""
    try:
        read = list(_read(state))
    except SQLAlchemyError:
        return  # what is not known is not 0
    yield from read


def _read(state: ControlState) -> Iterator[Gauge]:
    keeper, rows = state.keeper, state.config().capacity
    if not rows or keeper is None:
        return
    kept = keeper.kept
    with state.engine.connect() as connection:
        for row in rows:
            books = read_books(connection, row.name)
            if books is None:
                continue
            whole = books.totals if row.name in kept else {}
            yield from _sums(row.name, share_of(connection, keeper.instance, row.name, whole))
            if row.name in kept:
                yield from _lately(connection, books)


def _sums(name: str, totals: Mapping[str, Any]) -> Iterator[Gauge]:
    parts = {
        "busy": totals.get("busy", 0) + totals.get("late", 0),
        "idle": totals.get("idle", 0),
        "outside": totals.get("outside", 0),
    }
    for part, nanousd in parts.items():
        yield "capacity_cost_usd_total", {"capacity": name, "part": part}, decimal(nanousd, NANO)
    if "millijoules" in totals:
        yield "capacity_energy_joules_total", {"capacity": name}, decimal(totals["millijoules"], _MJ)
    saved = {"capacity": name, "lever": "prefix_cache"}
    yield "capacity_saved_usd_total", saved, decimal(totals.get("saved", 0), NANO)
    for model, nanousd in sorted(totals.get("elsewhere", {}).items()):
        yield "capacity_compared_usd_total", {"capacity": name, "model": model}, decimal(nanousd, NANO)


def _lately(connection: Connection, books: Books) -> Iterator[Gauge]:
    # Where there is a capacity: with pydantic.
    from proxy.reports.capacity.costs import closed_report  # noqa: PLC0415 - see above
    from proxy.reports.capacity.shapes import capacity_shown  # noqa: PLC0415 - see above

    shown = capacity_shown(closed_report(connection, books.name, books.closed_until - HOUR_US, books.closed_until))
    if shown.busy_ratio is not None:
        yield "capacity_busy_ratio", {"capacity": books.name}, f"{shown.busy_ratio:.6f}"
    for basis in ("use", "whole"):
        prices: PerMillion = getattr(shown.usd_per_million, basis)
        for unit in ("input", "output", "all"):
            price = getattr(prices, unit)
            if price is not None:
                yield "capacity_usd_per_million_tokens", {"capacity": books.name, "basis": basis, "unit": unit}, price
