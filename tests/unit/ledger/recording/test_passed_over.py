"""Instances without which shared counters are rebuilt: they ship nothing more before they have seen that."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy.exc import SQLAlchemyError

from proxy.ledger import database as ledger_database
from proxy.ledger.database import open_ledger
from proxy.ledger.planes import instances
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.passed_over import pass_over
from proxy.ledger.recording.shipping import LedgerMovedError, Positions, Shipper
from tests.support.postgres import PostgresServer
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


@pytest.mark.needs("postgres")
def test_who_stands_still_in_a_transaction_is_waited_for_for_a_while_only(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its locks were held until it went on: nobody's budgets opened again, and no recorder wrote what it had written, too."""
    monkeypatch.setattr(ledger_database, "FROZEN_S", 1)
    goes_on, stands, failed = threading.Event(), threading.Event(), []
    with postgres.emptied_database() as url:
        engine = open_ledger(url)
        shipper = Shipper(engine, "frozen", Counts())
        shipper.begin_again()
        shipper.ship(Batch(), Positions([], []))
        instances.beat(engine, "frozen", 5)

        class Standing(list[str]):
            def __bool__(self) -> bool:
                stands.set()
                return not goes_on.wait(60)

        def ship() -> None:
            try:
                shipper.ship(Batch(), Positions([], Standing()))
            except SQLAlchemyError as error:
                failed.append(error)

        thread = threading.Thread(target=ship)
        thread.start()
        assert stands.wait(30)
        assert pass_over(engine, 10, set()) == {"frozen"}  # and its thread stands still all the while
        goes_on.set()
        thread.join(30)
        assert len(failed) == 1
        with pytest.raises(LedgerMovedError):
            shipper.ship(Batch(), Positions([], []))
        shipper.begin_again()
        shipper.ship(Batch(), Positions([], []))
        engine.dispose()
