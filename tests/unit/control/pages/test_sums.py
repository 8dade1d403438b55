"""A month in which everything happens comes to one sum, to the nano-dollar, wherever it is asked for and however it is grouped."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from proxy.ledger.entries.corrections import invoice_of
from tests.support.bought import bought, with_row
from tests.support.made_up import HOUR_US, START, fill
from tests.unit.control.conftest import Control

from .test_site import rows_of

SPAN = "since=2026-11-01&until=2026-12-01"
GROUPS = (
    "team",
    "model",
    "key",
    "user",
    "customer",
    "provider",
    "upstream",
    "session",
    "agent",
    "label.plan",
    "day",
    "week",
    "month",
)


@pytest.fixture
def month(control: Control) -> Control:
    """What the ledger has, and: a batch, a ceiling that an invoice corrected, a refund, an odd nano-dollar, own machines, a call
    without a price."""
    at = iter(range(START, START + 100 * HOUR_US, HOUR_US))
    unconfirmed = with_row(bought(next(at), "0.333333333", team="ceiling"), status="unconfirmed", cost_lines=None)
    fill(
        control.engine,
        [
            with_row(bought(next(at), "0.123456789", team="batch"), service_tier="batch"),
            unconfirmed,
            invoice_of(unconfirmed.row._asdict(), 111_111_111),
            with_row(bought(next(at), "-0.000000001", team="refund"), cost_lines=None),
            bought(next(at), "0.000000001", team="odd", customer="odd"),
            with_row(
                bought(next(at), "0", team="own", customer="own"), capacity="pool", capacity_nanousd=1_234_567_891
            ),
            bought(next(at), None, team="dark", customer="dark"),
        ],
    )
    return control


def total_of(control: Control) -> dict[str, Any]:
    total: dict[str, Any] = control.get("/api/spend", since="2026-11-01T00:00:00Z", until="2026-12-01T00:00:00Z")[
        "total"
    ]
    return total


def pages(control: Control, **params: str) -> Iterator[dict[str, Any]]:
    following: str | None = ""
    while following is not None:
        more = {"next": following} if following else {}
        answer = control.get("/api/spend", since="2026-11-01T00:00:00Z", until="2026-12-01T00:00:00Z", **params, **more)
        yield from answer["items"]
        following = answer.get("next")


def added(rows: list[dict[str, Any]], column: str) -> Decimal:
    return sum((Decimal(row[column] or 0) for row in rows), Decimal(0))


@pytest.mark.parametrize("by", GROUPS)
def test_groups_add_up_to_the_total(month: Control, by: str) -> None:
    total, items = total_of(month), list(pages(month, by=by))
    for column in ("cost_usd", "capacity_usd", "requests", "unpriced_requests"):
        assert added(items, column) == Decimal(total[column]), column


@pytest.mark.parametrize(
    ("path", "table"),
    [
        *[(f"/spend?by={by}&{SPAN}", "spend") for by in ("team", "model", "customer", "session", "label.plan")],
        *[(f"/customers?by={by}&{SPAN}", "customers") for by in ("customer", "team", "customer,model")],
        *[(f"/month?month=2026-11&by={by}", "month") for by in ("team", "customer", "label.plan")],
        (f"/models?{SPAN}", "models"),
    ],
)  # fmt: skip
def test_tables_of_pages_add_up_to_it(month: Control, path: str, table: str) -> None:
    total = total_of(month)
    rows = rows_of(month, f"{path}&csv={table}")
    assert added(rows, "cost_usd") == Decimal(total["cost_usd"])
    if "calls" in rows[0]:
        assert (added(rows, "calls"), added(rows, "unpriced")) == (total["requests"], total["unpriced_requests"])


def test_reports_come_to_it(month: Control) -> None:
    total = total_of(month)
    cost, own = Decimal(total["cost_usd"]), Decimal(total["capacity_usd"])
    span = {"since": "2026-11-01", "until": "2026-12-01"}
    for by in ("customer", "team,model", "plan"):
        items = month.get("/api/reports/margin", by=by, **span)["items"]
        assert (added(items, "cost_usd"), added(items, "capacity_usd")) == (cost, own), by
    for mark_up in ("0", "0.1", "0.333"):
        shown = month.get("/api/reports/month", month="2026-11", by="team", mark_up=mark_up)
        assert (Decimal(shown["cost_usd"]), added(shown["items"], "cost_usd")) == (cost, cost)
        assert added(shown["items"], "charge_usd") == Decimal(shown["items_usd"])
        assert Decimal(shown["items_usd"]) == round(cost * (1 + Decimal(mark_up)), 2)
    explained = month.get("/api/reports/explain", **span)
    assert Decimal(explained["cost_usd"]) == cost
    assert sum(map(Decimal, explained["parts"].values())) == Decimal(explained["difference_usd"])
    what_if = month.get("/api/reports/what-if", tier="batch", **span)
    left_out = sum(
        Decimal(found[1]) for text in what_if["left_out"] if (found := re.search(r"\((-?[\d.]+) USD\)", text))
    )
    assert Decimal(what_if["cost_usd"]) + left_out == cost
    answer = month.client.get("/api/reports/month", params={"month": "2026-11", "by": "team", "format": "csv"})
    *rows, whole = csv.DictReader(io.StringIO(answer.text))
    assert Decimal(whole["cost_usd"]) == cost == added(rows, "cost_usd")


@pytest.mark.parametrize("version", ["1.4", "1.2"])
def test_focus_rows_come_to_it_with_own_machines(month: Control, version: str) -> None:
    total = total_of(month)
    params = {"since": "2026-11-01", "until": "2026-12-01", "version": version, "format": "csv"}
    answer = month.client.get("/api/reports/focus", params=params)
    assert answer.status_code == 200, answer.text
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    whole = Decimal(total["cost_usd"]) + Decimal(total["capacity_usd"])
    of_machines = added([row for row in rows if "idle" in str(row).lower()], "BilledCost")
    assert added(rows, "BilledCost") - of_machines == whole
