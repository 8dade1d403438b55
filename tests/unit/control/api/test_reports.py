"""The named reports by the API: their contract's names, and the same in every form."""

from __future__ import annotations

import csv
import io

import pytest

from tests.unit.control.conftest import Control

NAMES = {
    "focus": {"version", "rows", "billed_usd", "price_usd", "capacity_usd", "about"},
    "margin": {"items", "plans", "projection", "about"},
    "month": {
        "month", "closed", "closed_at", "total_usd", "cost_usd", "items_usd", "adjustments_usd", "mark_up", "items",
        "adjustments", "about",
    },
    "reprice": {"items", "difference_usd", "applied", "left_out", "about"},
    "what-if": {"cost_usd", "what_if_usd", "low_usd", "high_usd", "items", "left_out", "about"},
    "explain": {
        "cost_usd", "previous_usd", "difference_usd", "parts", "movers", "sentence", "previous", "unpriced_requests", "about",
    },
}  # fmt: skip


FIRST = {
    "focus": "BillingAccountId",
    "margin": "customer",
    "explain": "customer",
    "month": "month",
    "reprice": "id",
    "what-if": "model",
}
NEEDED = {"what-if": {"tier": "batch"}}


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_report_answers_in_every_form(control: Control, name: str) -> None:
    asked = {"since": "2026-11-20", "until": "2026-11-30"} | NEEDED.get(name, {})
    shown = control.get(f"/api/reports/{name}", **asked, format="json")
    table = control.client.get(f"/api/reports/{name}", params=asked | {"format": "table"})
    sheet = control.client.get(f"/api/reports/{name}", params=asked | {"format": "csv"})

    assert set(shown) == NAMES[name]
    assert shown["about"]["timezone"] == "UTC"
    assert shown["about"]["sources"]
    assert table.text.split()[0] == next(csv.reader(io.StringIO(sheet.text)))[0] == FIRST[name]
    assert sheet.headers["content-type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("asked", "said"),
    [({"by": "weather"}, "weather"), ({"tz": "Mars"}, "Mars"), ({"since": "soon"}, "soon"), ({"format": "pdf"}, "format"), ({"x": "1"}, "x")],
)  # fmt: skip
def test_what_makes_no_sense_is_a_400(control: Control, name: str, asked: dict[str, str], said: str) -> None:
    if "by" in asked and name in ("focus", "reprice", "what-if"):
        said = "by"  # which they do not take
    answer = control.client.get(f"/api/reports/{name}", params=NEEDED.get(name, {}) | asked)

    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_focus_is_csv_unless_another_form_is_asked_for(control: Control) -> None:
    asked = {"since": "2026-11-20", "until": "2026-11-30", "version": "1.2"}
    sheet = control.client.get("/api/reports/focus", params=asked)
    too_long = control.client.get("/api/reports/focus", params={"since": "2026-01-01", "until": "2026-11-30"})

    assert sheet.headers["content-type"] == "text/csv; charset=utf-8"
    assert "PublisherName" in sheet.text.split("\r\n", 1)[0]
    assert too_long.status_code == 400


def test_reconcile_needs_a_file(control: Control) -> None:
    answer = control.client.get("/api/reports/reconcile")

    assert answer.status_code == 400
    assert "taximeter report reconcile PROVIDER FILE" in answer.json()["error"]["message"]
