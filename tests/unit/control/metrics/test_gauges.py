"""What a scrape says while something that it asks is away: everything else, so that alerts can tell of it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from proxy.budgets.store import StoreUnavailable
from proxy.control.metrics import capacity
from proxy.control.metrics.gauges import gauges
from tests.unit.control.conftest import Control


async def _away() -> list[dict[str, Any]]:
    raise StoreUnavailable("the budget store does not answer")


def _named(control: Control, **changed: Any) -> dict[str, str]:
    return {name: value for name, _, value in gauges(replace(control.state, **changed))}


def test_a_store_that_is_away_is_said_by_the_scrape_and_does_not_end_it(control: Control) -> None:
    assert control.link.answers is not None
    control.link.answers["gauges"]["store_up"] = False

    shown = _named(control, shared=SimpleNamespace(standings=_away))

    assert shown["budget_store_up"] == "0"
    assert "ledger_lag_seconds" in shown
    assert "budget_spent_usd" not in shown  # what is not known is not 0


def test_a_ledger_that_is_away_does_not_end_a_scrape_that_asks_it_for_machines(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(capacity, "read_books", away)

    shown = _named(control, keeper=SimpleNamespace(kept=("pool",), instance="a"))

    assert "ledger_lag_seconds" in shown
    assert not [name for name in shown if name.startswith("capacity_")]
