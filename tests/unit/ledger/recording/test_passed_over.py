"""Instances without which shared counters are rebuilt: they ship nothing more before they have seen that."""

from __future__ import annotations

import pytest

from proxy.ledger.database import open_ledger
from proxy.ledger.planes import instances
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.passed_over import pass_over
from proxy.ledger.recording.shipping import LedgerMovedError, Positions, Shipper
from tests.support.spooled import Counts


def test_who_is_passed_over_finds_that_the_ledger_moved_and_goes_on_behind_that(database: str) -> None:
    engine = open_ledger(database)
    shippers = {name: Shipper(engine, name, Counts()) for name in ("begun", "new", "heard of", "reported")}
    for name, shipper in shippers.items():
        instances.beat(engine, name, 10 if name == "heard of" else 5)
        shipper.begin_again()
        if name != "new":
            shipper.ship(Batch(), Positions([], []))
    assert pass_over(engine, 10, {"reported"}) == {"begun", "new"}
    assert instances.heard_since(engine, 0) == {"heard of", "reported"}
    assert pass_over(engine, 10, {"reported"}) == set()
    for name, shipper in shippers.items():
        if name in ("begun", "new"):
            with pytest.raises(LedgerMovedError):
                shipper.ship(Batch(), Positions([], []))
            shipper.begin_again()
        shipper.ship(Batch(), Positions([], []))
    engine.dispose()
