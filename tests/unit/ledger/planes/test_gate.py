"""Where budgets are shared: what the recorder holds back, and what it has counted because no data plane will."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import Entry
from proxy.ledger.planes import instances
from proxy.ledger.recording.batch import CallEnd, Leased
from proxy.ledger.recording.recorder import Recorder
from proxy.ledger.schema import metric_state
from proxy.spool.writer import SpoolWriter
from tests.support.spooled import AT, Counts, Ledger, append, intent, settle

MARKER = {"t": "epoch", "epoch": "e2"}


class Gate:
    """Notes what it is asked and told; opens when it is told to."""

    def __init__(self) -> None:
        self.passes: set[str] = set()
        self.asked = threading.Event()
        self.told: list[tuple[str, list[str]]] = []

    def may_ship(self) -> bool:
        return True

    def may_pass(self, epoch: str) -> bool:
        self.asked.set()
        return epoch in self.passes

    def _note(self, what: str, ends: Sequence[CallEnd]) -> None:
        self.told.append((what, [f"{end.status} {end.epoch}" for end in ends]))

    def count(self, entries: Sequence[Entry]) -> None:
        self.told.append(("count", [f"{one.row.outcome} {one.end.get('epoch')}" for one in entries]))

    def over(self, run: str, lately: Sequence[CallEnd], leased: Sequence[Leased]) -> None:
        self._note("over", lately)
        self.leased = [end.id for end in leased]

    def gone(self, run: str) -> None:
        self.told.append(("gone", []))

    def moved(self) -> None:
        self.told.append(("moved", []))

    def ended(self, ends: Sequence[CallEnd]) -> None:
        self._note("ended", ends)


class Shared(Ledger):
    def start(self) -> None:
        self.gate = Gate()
        self.recorder = Recorder(self.engine, self.folder, instance="i", metrics=self.counts, gate=self.gate)


@pytest.fixture
def ledger(tmp_path: Path, database: str) -> Iterator[Shared]:
    made = Shared(tmp_path, database)
    yield made
    made.engine.dispose()


@pytest.fixture
def writer(ledger: Shared) -> SpoolWriter:
    return SpoolWriter(ledger.folder, "w")


def test_what_stands_behind_a_marker_waits_for_its_epoch(ledger: Shared, writer: SpoolWriter) -> None:
    before, after = intent(), intent()
    append(writer, before, settle(before), MARKER, after, settle(after))
    ledger.ship()
    assert [row["id"] for row in ledger.rows()] == [before["id"]]
    assert ledger.recorder.held_at("e2") == [writer.run]
    ledger.start()  # a restart finds it where it was
    ledger.ship()
    assert len(ledger.rows()) == 1
    ledger.gate.passes.add("e2")
    ledger.ship()
    assert {row["id"] for row in ledger.rows()} == {before["id"], after["id"]}
    assert ledger.recorder.held_at("e2") is None


def test_it_has_not_reported_while_one_worker_has_not_reached_the_marker(ledger: Shared, writer: SpoolWriter) -> None:
    other = SpoolWriter(ledger.folder, "x")
    append(writer, MARKER)
    ledger.ship()
    assert ledger.recorder.held_at("e2") is None
    append(other, MARKER)
    ledger.ship()
    assert sorted(ledger.recorder.held_at("e2") or []) == sorted([writer.run, other.run])


def test_it_has_not_reported_while_what_stands_before_the_marker_is_being_committed(
    ledger: Shared, writer: SpoolWriter
) -> None:
    """Else the epoch would open with sums that lack the batch: the ledger may well take a minute for it."""
    before = intent()
    append(writer, before, settle(before), MARKER)
    recording = threading.Thread(target=ledger.ship)
    with ledger.engine.connect().execution_options(writes=True) as busy, busy.begin():
        if ledger.engine.dialect.name == "postgresql":
            busy.exec_driver_sql("LOCK TABLE entries IN EXCLUSIVE MODE")
        recording.start()
        assert ledger.gate.asked.wait(10)
        meanwhile = ledger.recorder.held_at("e2")
    recording.join()
    assert meanwhile is None
    assert len(ledger.rows()) == 1
    assert ledger.recorder.held_at("e2") == [writer.run]


def test_a_run_that_is_over_does_not_end_before_its_marker(ledger: Shared, writer: SpoolWriter) -> None:
    """Its crash is counted in the epoch that it had joined, when that is open."""
    append(writer, intent(), MARKER)
    writer.close()
    ledger.ship()
    assert ledger.rows() == []
    ledger.gate.passes.add("e2")
    ledger.ship()
    assert [row["outcome"] for row in ledger.rows()] == ["crashed"]


def test_the_gate_hears_of_every_entry_before_it_is_written(ledger: Shared, writer: SpoolWriter) -> None:
    ended, lost = intent(), intent()
    append(writer, ended, settle(ended, epoch="e1"), lost)
    ledger.ship()
    writer.close()
    ledger.ship()
    assert ledger.gate.told == [
        ("count", ["ok e1"]),
        ("over", ["settled e1"]),
        ("count", ["crashed None"]),
        ("gone", []),
    ]


def test_ends_of_leases_that_may_not_be_told_outlive_a_restart(ledger: Shared, writer: SpoolWriter) -> None:
    """They are in the ledger long since; what a dead plane did not report is charged from its spool all the same."""
    told, untold, last = intent(), intent(), intent()
    append(writer, told, settle(told, epoch="e1", lease=[1, 0]))
    ledger.ship()
    append(writer, untold, settle(untold, epoch="e1", lease=[2, 1]), last, settle(last, epoch="e1", lease=[None, 1]))
    ledger.ship()
    ledger.start()
    writer.close()
    ledger.ship()
    assert ledger.gate.leased == [untold["id"]]
    assert ledger.gate.told[-1] == ("gone", [])
    assert len(ledger.rows()) == 3


def test_an_expired_reservation_that_had_ended_is_told(ledger: Shared, writer: SpoolWriter, tmp_path: Path) -> None:
    """The settlement reached the ledger, but not the store before its process died; another instance wrote the expiry."""
    ended = intent()
    append(writer, ended, settle(ended, epoch="e1"))
    ledger.ship()
    elsewhere = Recorder(ledger.engine, tmp_path / "other", instance="other", metrics=Counts(), gate=(gate := Gate()))
    append(
        SpoolWriter(tmp_path / "other", "w"),
        {"t": "expired", "id": ended["id"], "at": AT, "epoch": "e1", "intent": ended},
    )
    while elsewhere.step():
        pass
    assert gate.told == [("count", ["expired e1"]), ("ended", ["settled None"])]
    assert ledger.spent() == 400


def test_what_another_instance_reserved_is_charged_here_when_it_expires(ledger: Shared, writer: SpoolWriter) -> None:
    foreign: dict[str, Any] = intent(budgets=[["b", "", 0, "usd", 700]], reserved_nanousd=700)
    append(writer, {"t": "expired", "id": foreign["id"], "at": AT, "epoch": "e1", "intent": foreign})
    ledger.ship()
    assert [(row["status"], row["cost_nanousd"]) for row in ledger.rows()] == [("unconfirmed", 700)]
    assert ledger.spent() == 700


def test_metrics_kept_under_the_path_of_the_data_directory_are_taken_over(tmp_path: Path, database: str) -> None:
    """Members of a set have one path on several machines: their metrics and batch numbers must not be one row."""
    engine = open_ledger(database)
    name, path = instances.name_of(tmp_path), str(tmp_path.resolve())
    with engine.begin() as connection:
        for instance, value in ((path, "7"), ("elsewhere", "9")):
            row = {"instance": instance, "name": "requests_total", "labels": "[]", "value": value}
            connection.execute(sa.insert(metric_state).values(row))
    instances.adopt(engine, name, tmp_path)
    with engine.connect() as connection:
        kept = connection.execute(sa.select(metric_state.c.instance, metric_state.c.value)).all()
    assert {tuple(row) for row in kept} == {(name, "7"), ("elsewhere", "9")}
    engine.dispose()


def test_instances_that_live_are_known(tmp_path: Path, database: str) -> None:
    engine = open_ledger(database)
    name = instances.name_of(tmp_path)
    assert instances.name_of(tmp_path) == name
    instances.beat(engine, name, 10)
    instances.beat(engine, name, 20)
    instances.beat(engine, "old", 5)
    assert instances.heard_since(engine, 20) == {name}
    instances.leave(engine, name)
    assert instances.heard_since(engine, 0) == {"old"}
    engine.dispose()
