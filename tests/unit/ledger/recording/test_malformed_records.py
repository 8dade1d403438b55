"""No record stops the recorder, whatever is missing in it or of a wrong type, and none costs another call its entry."""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest

from proxy.ledger.beside.jobs import running_jobs
from proxy.ledger.entries.entry import entry_of
from proxy.ledger.recording.outage import Outage
from proxy.ledger.recording.recorder import Recorder
from proxy.spool.writer import SpoolWriter
from tests.support.spooled import AT, IDS, Ledger, append, intent, settle, whole_intent, whole_settle
from tests.unit.ledger.beside.test_jobs import begun, ended, expired, job_of

# More than an index of PostgreSQL takes, whatever it is packed to.
LONG = random.Random(1).randbytes(6000).hex()
WRONG = (None, -1, 2**63 - 1, 1.5, "", "x", "\x00", LONG, [], [{}], {}, {"a": {"b": 1}})
BOUNDARY = "no-record-has-this"

Case = tuple[str, list[dict[str, Any]], dict[str, Any], list[dict[str, Any]]]


class Open:
    """A gate that lets everything pass."""

    def may_ship(self) -> bool:
        return True

    def may_pass(self, epoch: str) -> bool:
        return isinstance(epoch, str)

    def count(self, *_: Any) -> None: ...

    over = gone = ended = moved = count


def cases() -> Iterator[Case]:
    """A record of each kind that the pairing takes, with what stands before it and behind it."""
    one = intent()
    left = {"stored": ["a" * 32], "stored_model": "m", "stored_facts": {"a": 1}}
    plain = whole_intent(id=one["id"])
    row = entry_of(one, settle(one), "i").row._replace(id=IDS.new(AT), kind="correction", corrects_id=one["id"])  # type: ignore[arg-type]
    yield "intent", [], plain, [whole_settle(id=one["id"], **left)]
    yield "settle", [plain], whole_settle(id=one["id"], epoch="e", lease=[1, 0], **left), []
    yield "void", [one], {"t": "void", "id": one["id"], "ended_at": AT, "outcome": "crashed", "epoch": "e"}, []
    yield "job", [one], begun(one), [ended(one, 5)]
    yield "end of a job", [one, begun(one)], ended(one, 5) | {"job": job_of(one) | {"recheck_s": 1.5}}, []
    yield "end of a job that nobody knows", [], ended(one, 5), []
    yield "change of a job", [one, begun(one), ended(one, 5)], ended(one, 7, revision=1), []
    yield "end behind an expiry", [one, begun(one), expired(one)], ended(one, 7), []
    yield "expired", [one], expired(one), []
    yield "expired job", [one, begun(one)], expired(one), []
    yield "waiting", [one], {"t": "waiting", "id": one["id"]}, [settle(one)]
    yield "reserved", [one], {"t": "reserved", "id": one["id"], "reserved_nanousd": 5, "budgets": [["b", "", 0, "usd", 5]]}, []  # fmt: skip
    yield "refused", [one], {"t": "refused", "id": one["id"], "at": AT, "reason": "r", "budget": "b", "group": "g", "window_start": 0}, []  # fmt: skip
    yield "tally", [], {"t": "tally", "at": AT, "refusals": [["a", "b", 1]], "would_refuse": [["b", 1]]}, []
    yield "epoch", [], {"t": "epoch", "epoch": "e"}, []
    yield "correction", [one, settle(one)], {"t": "correction", "row": row._asdict(), "budgets": [["b", "", 0, "usd", 5]]}, []  # fmt: skip


def malformed(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The record with one of its fields missing, or of a wrong type."""
    for name, value in record.items():
        yield {other: said for other, said in record.items() if other != name}
        yield from ({**record, name: wrong} for wrong in WRONG)
        if name == "job":
            yield from ({**record, name: job} for job in malformed(value))


def apart(records: list[dict[str, Any]], named: str) -> list[dict[str, Any]]:
    """The same records of another call."""
    text = orjson.dumps(records).replace(named.encode(), IDS.new(AT).encode())
    again: list[dict[str, Any]] = orjson.loads(text)
    return again


@pytest.mark.long
@pytest.mark.parametrize("number", range(16))
def test_no_record_stops_the_recorder_or_costs_another_its_entry(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """One that no database takes would be taken for a database that is away, and be tried for ever."""
    name, before, record, after = next(itertools.islice(cases(), number, None))

    def begin(_: Outage, error: Exception) -> None:
        raise AssertionError(f"taken for a database that is away: {error}")

    monkeypatch.setattr(Outage, "_begin", begin)
    writer, sound = SpoolWriter(ledger.folder, "w"), []
    named = next((each["id"] for each in [*before, record, *after] if "id" in each), BOUNDARY)
    for odd in malformed(record):
        neighbour = intent()
        sound.append(neighbour["id"])
        append(writer, *apart([*before, odd, *after], named), neighbour, settle(neighbour))
    writer.close()
    ledger.recorder = Recorder(ledger.engine, ledger.folder, instance="i", metrics=ledger.counts, gate=Open())

    ledger.ship()

    there = {row["id"] for row in ledger.rows() if row["status"] == "settled"}
    assert set(sound) <= there, name
    assert not list(ledger.folder.glob("*.spool"))


def test_an_expiry_that_is_told_by_a_settlement_is_kept_and_charged(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """`expired` is a record of its own; a settlement that says it, of no job, comes from nobody who knows what it means."""
    writer = SpoolWriter(ledger.folder, "w")
    one, two = intent(), whole_intent(id=IDS.new(AT))
    append(writer, one, settle(one, outcome="expired", status="unconfirmed"))
    append(writer, two, whole_settle(id=two["id"], outcome="expired"))
    with caplog.at_level(logging.ERROR):
        ledger.ship()
    rows = {row["id"]: row for row in ledger.rows()}
    assert [(rows[each["id"]]["status"], rows[each["id"]]["cost_nanousd"]) for each in (one, two)] == [
        ("unconfirmed", 1000), ("unconfirmed", 1000),
    ]  # fmt: skip
    assert ledger.recorder.unreadable_records == 2
    kept = sorted(path.name for path in ledger.folder.glob("*.unreadable"))
    assert len(kept) == 2
    assert all(name in caplog.text for name in kept)


def test_a_beginning_or_an_expiry_that_cannot_be_read_leaves_its_call_open(ledger: Ledger) -> None:
    """Who is done with the call before the record is read would charge nothing for it."""
    writer = SpoolWriter(ledger.folder, "w")
    one, two, three = intent(), intent(), intent()
    append(writer, one, begun(one) | {"job": {"digest": 7}})
    append(writer, two, {"t": "expired", "id": two["id"], "epoch": "e"})
    append(writer, three, settle(three, status="running"))
    writer.close()
    ledger.ship()
    assert [(row["status"], row["cost_nanousd"]) for row in ledger.rows()] == [("unconfirmed", 1000)] * 3
    assert running_jobs(ledger.engine) == []
    assert ledger.recorder.unreadable_records == 3


def test_an_end_that_could_not_be_read_is_one_behind_a_restart_too(ledger: Ledger) -> None:
    """The call that it ended would hold its reservation, and its segment, for as long as its data plane lives."""
    writer = SpoolWriter(ledger.folder, "w")
    runs_on, one = intent(), intent()
    append(writer, runs_on, one, settle(one, ended_at="x", status=None, flags=7))
    ledger.ship()
    assert [named["id"] for named in ledger.recorder.in_flight()] == [runs_on["id"]]
    ledger.recorder = Recorder(ledger.engine, ledger.folder, instance="i", metrics=ledger.counts)
    ledger.ship()
    assert [named["id"] for named in ledger.recorder.in_flight()] == [runs_on["id"]]
    assert [row["id"] for row in ledger.rows()] == [one["id"]]
    writer.close()


def test_unreadable_records_at_one_place_of_two_runs_are_both_kept(ledger: Ledger) -> None:
    for worker in ("v", "w"):
        writer = SpoolWriter(ledger.folder, worker)
        append(writer, {"t": f"none-{worker}"})
        writer.close()
    ledger.ship()
    kept = [path.read_bytes() for path in ledger.folder.glob("*.unreadable")]
    assert sorted(kept) == [b'{"t":"none-v"}', b'{"t":"none-w"}']
