"""A reservation that the budget store made without an answer, and that expired for others to see though its call was refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.ledger.recording.recorder import Recorder
from proxy.spool.writer import SpoolWriter
from tests.support.spooled import AT, Counts, Ledger, append, intent


@pytest.mark.parametrize("first", ["refused", "expired"])
def test_a_call_that_was_refused_without_an_answer_costs_nothing_though_its_reservation_expired(
    ledger: Ledger, tmp_path: Path, first: str
) -> None:
    asked, refused = intent(), {"t": "refused", "at": AT + 1, "reason": "budget_store_unavailable", "budget": None}
    elsewhere = Recorder(ledger.engine, tmp_path / "other", instance="other", metrics=Counts())
    append(SpoolWriter(ledger.folder, "w"), asked, refused | {"id": asked["id"], "unanswered": True})
    expired = {"t": "expired", "id": asked["id"], "at": AT + 2, "intent": asked}
    append(SpoolWriter(tmp_path / "other", "w"), expired)

    def expires() -> None:
        while elsewhere.step():
            pass

    steps: list[Callable[[], None]] = [ledger.ship, expires]
    for step in steps if first == "refused" else reversed(steps):
        step()

    assert ledger.spent() == 0
    assert sum(row["cost_nanousd"] or 0 for row in ledger.rows()) == 0
    assert {row["status"] for row in ledger.rows()} - {"void"} in (set(), {"unconfirmed", "settled"})
    assert ledger.counts.refusals == [("budget_store_unavailable", None)]
    assert len(elsewhere._shipper.refuted) == (first == "refused")


@pytest.mark.parametrize("first", ["unused", "expired"])
@pytest.mark.parametrize("whose", ["own", "other"])
def test_a_reservation_that_no_turn_used_costs_nothing_though_it_expired(
    ledger: Ledger, tmp_path: Path, first: str, whose: str
) -> None:
    asked = intent()
    mine, theirs = SpoolWriter(ledger.folder, "w"), SpoolWriter(tmp_path / "other", "w")
    elsewhere = Recorder(ledger.engine, tmp_path / "other", instance="other", metrics=Counts())
    append(mine, asked)
    unused = {"t": "unused", "id": asked["id"], "at": AT + 1}
    expired = {"t": "expired", "id": asked["id"], "at": AT + 2, "intent": asked}

    def ends() -> None:
        append(mine, unused, unused | {"intent": asked})
        ledger.ship()

    def expires() -> None:
        append(mine if whose == "own" else theirs, expired)
        ledger.ship()
        while elsewhere.step():
            pass

    steps = [ends, expires]
    for step in steps if first == "unused" else reversed(steps):
        step()

    assert ledger.spent() == 0
    assert sum(row["cost_nanousd"] or 0 for row in ledger.rows()) == 0
    assert {row["outcome"] for row in ledger.rows()} <= {"unused", "expired"}


@pytest.mark.parametrize("first", ["killed", "expired"])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_reservation_whose_worker_was_killed_before_it_was_released_costs_nothing(
    ledger: Ledger, tmp_path: Path, first: str, restarts: bool
) -> None:
    """It stands in a shared store, and expires for whoever sweeps."""
    asked = intent()
    mine = SpoolWriter(ledger.folder, "w")
    elsewhere = Recorder(ledger.engine, tmp_path / "other", instance="other", metrics=Counts())
    append(mine, asked, {"t": "unused", "id": asked["id"], "at": AT + 1, "epoch": "e"})
    ledger.ship()
    if restarts:
        ledger.start()
    append(SpoolWriter(tmp_path / "other", "w"), {"t": "expired", "id": asked["id"], "at": AT + 2, "intent": asked})

    def is_over() -> None:
        mine.close()
        ledger.ship()

    def expires() -> None:
        while elsewhere.step():
            pass

    steps = [is_over, expires]
    for step in steps if first == "killed" else reversed(steps):
        step()

    assert ledger.spent() == 0
    assert sum(row["cost_nanousd"] or 0 for row in ledger.rows()) == 0
    assert {row["outcome"] for row in ledger.rows()} <= {"unused", "expired"}
    assert len(elsewhere._shipper.refuted) == (first == "killed")


def test_a_reservation_that_the_shared_store_released_has_no_entry(ledger: Ledger) -> None:
    asked = intent()
    writer = SpoolWriter(ledger.folder, "w")
    unused = {"t": "unused", "id": asked["id"], "at": AT + 1, "epoch": "e"}
    append(writer, asked, unused, unused | {"released": True})
    ledger.ship()
    writer.close()
    ledger.ship()
    assert ledger.rows() == []


def test_a_reservation_that_was_released_has_no_entry(ledger: Ledger) -> None:
    asked = intent()
    append(SpoolWriter(ledger.folder, "w"), asked, {"t": "unused", "id": asked["id"], "at": AT + 1})
    ledger.ship()
    assert ledger.rows() == []


def test_a_call_that_was_refused_with_an_answer_has_no_entry(ledger: Ledger) -> None:
    asked = intent()
    refused = {"t": "refused", "id": asked["id"], "at": AT + 1, "reason": "budget_exceeded", "budget": "b"}
    append(SpoolWriter(ledger.folder, "w"), asked, refused)
    ledger.ship()
    assert ledger.rows() == []
