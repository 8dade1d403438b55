"""`price: capacity`: what a call had of the machines becomes its price. Its cost was reserved and settled by what its model is
listed at; the difference is an entry of its own, as any repricing is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ids import correction_id
from proxy.ledger.entries.corrections import repricing_of
from proxy.ledger.entries.entry import Entry
from proxy.ledger.entries.row import json_text
from proxy.ledger.schema import entries
from proxy.money import usd_text

_NUMBER = 1_000_000  # a call has one, and not among those of `report reprice`
_LOOK_UP = 500


def share_prices(connection: Connection, capacity: str, since: int) -> list[Entry]:
    """The corrections that are not in the ledger yet, of calls that began at `since` or later and whose end is known."""
    e = entries.c
    known_end = sa.or_(e.status == "settled", e.outcome == "expired")
    shared = sa.select(entries).where(
        e.capacity == capacity, e.started_at >= since, e.capacity_nanousd.is_not(None), e.kind == "attempt", known_end
    )
    rows = [
        {str(name): value for name, value in row.items()}
        for row in connection.execute(shared.order_by(e.id)).mappings()
    ]
    corrected = _corrected(connection, [row["id"] for row in rows if row["status"] != "settled"])
    made = []
    for row in rows:
        share, cost = row["capacity_nanousd"], row["cost_nanousd"]
        if row["status"] != "settled":
            if row["id"] not in corrected:
                continue  # nobody knows its end
            share, cost = share + corrected[row["id"]][0], (cost or 0) + corrected[row["id"]][1]
        made.append(_share_price(row, share, cost))
    corrected_ids = _known(connection, [entry.row.id for entry in made])
    return [entry for entry in made if entry.row.id not in corrected_ids]


def _corrected(connection: Connection, ids: list[str]) -> dict[str, tuple[int, int]]:
    """By the ids of calls that outlived their reservations: what their ends had of the machines, and added to their costs."""
    e, shares = entries.c, {}
    for first in range(0, len(ids), _LOOK_UP):
        ends = {correction_id(one): one for one in ids[first : first + _LOOK_UP]}
        query = sa.select(e.id, e.capacity_nanousd, e.cost_nanousd).where(
            e.id.in_(list(ends)), e.capacity_nanousd.is_not(None)
        )
        for end_id, share, more in connection.execute(query):
            shares[ends[end_id]] = int(share), int(more or 0)
    return shares


def _known(connection: Connection, ids: list[str]) -> set[str]:
    corrected: set[str] = set()
    for first in range(0, len(ids), _LOOK_UP):
        query = sa.select(entries.c.id).where(entries.c.id.in_(ids[first : first + _LOOK_UP]))
        corrected.update(connection.execute(query).scalars())
    return corrected


def _share_price(row: Mapping[str, Any], share: int, cost: int | None) -> Entry:
    usd = usd_text(share)
    line = {
        "unit": "request", "quantity": "1", "price_usd": usd, "per": 1, "cost_usd": usd, "model": row["capacity"],
        "source": f"capacity/{row['capacity']}",
    }  # fmt: skip
    priced = {"cost_lines": json_text([line]), "price_version": row["price_version"]}
    return repricing_of(row, priced, share, cost, _NUMBER)


def records_of(corrections: Iterable[Entry]) -> list[dict[str, Any]]:
    """As the spool has them."""
    return [
        {"t": "correction", "row": entry.row._asdict(), "budgets": [list(item) for item in entry.budgets]}
        for entry in corrections
    ]
