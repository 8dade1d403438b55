"""What machines of one's own cost, by the API: the contract's names, any span, any group; what cannot be asked is said."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from proxy.control.pages.capacity import levers_text
from proxy.ledger.capacity.books import open_books
from proxy.ledger.database import writing
from proxy.reports.capacity.shapes import CapacityShown
from proxy.times import now_us
from tests.unit.control.conftest import Control

NAMES = {
    "name", "cost_usd", "busy_usd", "idle_usd", "outside_usd", "unobserved_s", "busy_ratio", "mean_concurrency", "requests",
    "usage", "usd_per_million", "compare", "break_even_ratio", "joules", "joules_per_token", "co2e_g", "levers", "groups",
}  # fmt: skip


@pytest.fixture(autouse=True)
def books(ledger: Engine) -> None:
    """They began two hours ago."""
    with writing(ledger).begin() as connection:
        open_books(connection, "pool", now_us() - 7_200_000_000)


def test_one_is_an_item_of_all_by_the_contracts_names(control: Control) -> None:
    span = {"since": "7d", "until": "2036-01-01", "by": "team,model,customer,session"}
    one = control.get("/api/capacity/pool", **span)
    (item,) = control.get("/api/capacity", **span)["items"]

    assert one.keys() == item.keys() >= NAMES
    assert one["usd_per_million"].keys() == {"use", "whole"}
    assert one["usd_per_million"]["use"].keys() == one["usd_per_million"]["whole"].keys() == {"input", "output", "all"}
    assert one["compare"][0].keys() >= {"model", "usd", "usd_per_million"}
    assert one["levers"].keys() == {"prefix_cache", "speculative_decoding", "batching", "preemptions"}
    assert (one["joules"], one["joules_per_token"], one["co2e_g"]) == (None, None, None)  # unknown, and never 0


def test_idle_machines_cost_their_hours(control: Control) -> None:
    made = control.get("/api/capacity/pool")

    parts = [Decimal(made[f"{part}_usd"]) for part in ("busy", "idle", "outside")]
    assert sum(parts) == Decimal(made["cost_usd"])
    assert Decimal(10) <= Decimal(made["cost_usd"]) < Decimal(11)  # two for $2.50, two hours and what the test takes
    assert made["unobserved_s"] > 7000
    assert (made["busy_ratio"], made["mean_concurrency"], made["requests"]) == (0.0, None, 0)


def test_a_server_that_cannot_be_asked_is_said(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    assert control.get("/api/capacity/pool")["problem"] is None
    problems = {"pool": "it does not answer (503)", "another": "its answer is too long"}
    app: Any = control.client.app
    keeper: Any = SimpleNamespace(problems=lambda: problems)
    monkeypatch.setattr(app.state, "control", dataclasses.replace(app.state.control, keeper=keeper))
    made = control.get("/api/capacity/pool")
    assert made["problem"] == problems["pool"]
    said = levers_text(CapacityShown.model_validate(made))["said"]
    assert said[-1] == "its server cannot be asked: it does not answer (503)"


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/api/capacity/nobody", {}, 404),
        ("/api/capacity/pool", {"by": "nonsense"}, 400),
        ("/api/capacity/pool", {"by": "team,team"}, 400),
        ("/api/capacity", {"since": "last tuesday"}, 400),
        ("/api/capacity/pool", {"colour": "blue"}, 400),
    ],
)
def test_what_cannot_be_answered_is_said(control: Control, path: str, params: dict[str, str], status: int) -> None:
    answer = control.client.get(path, params=params)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
