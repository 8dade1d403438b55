"""The recorder: every intent becomes one entry, once, whatever is killed, repeated, broken or away."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from proxy.control.metrics.series import MetricState
from proxy.ledger.beside.stored import find_stored, forget_stored
from proxy.ledger.entries.corrections import correction_id
from proxy.ledger.recording import outage
from proxy.ledger.recording import recorder as recorder_module
from proxy.ledger.recording.recorder import Recorder
from proxy.ledger.recording.runs import Runs
from proxy.ledger.recording.shipping import Shipper
from proxy.spool import reader as reading
from proxy.spool import writer as writing
from proxy.spool.writer import SpoolWriter
from proxy.times import DAY_US
from tests.support.spooled import AT, Counts, Ledger, append, intent, settle


@pytest.fixture
def writer(ledger: Ledger) -> SpoolWriter:
    return SpoolWriter(ledger.folder, "w")


def test_an_intent_and_its_settlement_become_one_entry(ledger: Ledger, writer: SpoolWriter) -> None:
    one = intent()
    append(writer, one, settle(one))
    ledger.ship()
    (row,) = ledger.rows()
    assert (row["id"], row["kind"], row["status"], row["cost_nanousd"]) == (one["id"], "attempt", "settled", 400)
    assert (row["input_tokens"], row["output_tokens"], orjson.loads(row["usage"])) == (7, 3, {"web_search": 2})
    assert orjson.loads(row["labels"]) == {"plan": "pro"}
    assert ledger.spent() == 400


def test_an_open_intent_has_no_entry_while_its_writer_lives(ledger: Ledger, writer: SpoolWriter) -> None:
    append(writer, intent())
    ledger.ship()
    assert ledger.rows() == []


def test_a_crashed_writers_open_intents_are_charged_at_their_ceiling(ledger: Ledger, writer: SpoolWriter) -> None:
    done, lost = intent(), intent()
    append(writer, done, settle(done), lost)
    ledger.ship()
    writer.close()
    ledger.ship()
    row = next(row for row in ledger.rows() if row["id"] == lost["id"])
    assert (row["status"], row["outcome"], row["cost_nanousd"]) == ("unconfirmed", "crashed", 1000)
    assert ledger.spent() == 1400
    assert list(ledger.folder.iterdir()) == []


def test_a_refused_intent_has_no_entry(ledger: Ledger, writer: SpoolWriter) -> None:
    one = intent()
    append(writer, one, {"t": "refused", "id": one["id"], "at": AT, "reason": "budget_exceeded", "budget": "b"})
    writer.close()
    ledger.ship()
    assert ledger.rows() == []
    assert ledger.counts.refusals == [("budget_exceeded", "b")]


def test_a_void_attempt_costs_nothing_and_counts_in_no_budget(ledger: Ledger, writer: SpoolWriter) -> None:
    one = intent()
    append(
        writer,
        one,
        {"t": "void", "id": one["id"], "ended_at": AT, "outcome": "upstream_unreachable", "http_status": None},
    )
    ledger.ship()
    (row,) = ledger.rows()
    assert (row["status"], row["cost_nanousd"], row["budgets"]) == ("void", 0, None)
    assert ledger.spent() == 0


def test_a_recorder_that_starts_again_repeats_nothing(ledger: Ledger, writer: SpoolWriter) -> None:
    """It has to read again from the earliest open intent, past ends that are in the ledger already."""
    long = intent()
    append(writer, long)
    for _ in range(3):
        for _ in range(5):
            one = intent()
            append(writer, one, settle(one))
        ledger.ship()
        ledger.start()
    append(writer, settle(long))
    ledger.ship()
    assert (len(ledger.rows()), ledger.counts.entries, ledger.spent()) == (16, 16, 6400)


@pytest.mark.parametrize("failing", ["_write_budgets", "_write_metrics", "_write_positions"])
def test_a_batch_is_written_whole_or_not_at_all(
    ledger: Ledger, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """A failure (a killed process) between any two statements leaves nothing behind."""
    one = intent()
    append(writer, one, settle(one))

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Shipper, failing, fail)
        with pytest.raises(KeyboardInterrupt):
            ledger.recorder.step()
    assert (ledger.rows(), ledger.spent()) == ([], 0)
    ledger.start()
    ledger.ship()
    assert (len(ledger.rows()), ledger.spent()) == (1, 400)


def test_an_entry_that_is_there_already_is_not_counted_again(ledger: Ledger, writer: SpoolWriter) -> None:
    """The unique id is the second line of defence, should positions ever be lost."""
    one, two = intent(), intent()
    append(writer, one, settle(one))
    ledger.ship()
    with ledger.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM spool_positions"))
    append(writer, two, settle(two))
    ledger.start()
    ledger.ship()
    assert (len(ledger.rows()), ledger.spent()) == (2, 800)


def test_the_database_away_costs_only_time(
    ledger: Ledger, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = intent()
    append(writer, one, settle(one))
    real, failures = Shipper._write_entries, iter(range(3))

    def fail(self: Shipper, connection: Any, shipped: Any) -> Any:
        if next(failures, None) is not None:
            raise sa.exc.OperationalError("x", {}, Exception("gone"))
        return real(self, connection, shipped)

    monkeypatch.setattr(outage, "_RETRY_S", 0)
    monkeypatch.setattr(Shipper, "_write_entries", fail)
    ledger.ship()
    assert (len(ledger.rows()), ledger.spent(), ledger.counts.entries) == (1, 400, 1)
    assert ledger.recorder.database_down_since is None


def test_a_database_that_answers_again_is_back_though_there_is_nothing_to_ship(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the control port's `/readyz` and the pages would say that it is away, until the next call."""
    real, failures = Runs.begin_again, iter(range(2))

    def fail(self: Runs) -> None:
        if next(failures, None) is not None:
            raise sa.exc.OperationalError("x", {}, Exception("gone"))
        real(self)

    monkeypatch.setattr(outage, "_RETRY_S", 0)
    monkeypatch.setattr(Runs, "begin_again", fail)
    ledger.ship()
    assert next(failures, None) is None
    assert ledger.recorder.database_down_since is None


@pytest.mark.parametrize(
    "odd",
    [
        {"upstream_request_id": "a\x00b"},
        {"cost_nanousd": 2**63 + 5, "budgets": []},
        {"http_status": 2**40},
        {"provider_cost_nanousd": -(2**62)},
        {"model": "\ud7ff\uffff\u2028" * 1000},
        {"usage": {"input": 2**63 - 1, "made_up": "1.5"}},
        {"http_status": None, "flags": None, "cost_lines": None, "usage": None},
    ],
)
def test_an_odd_row_costs_its_neighbours_nothing(ledger: Ledger, writer: SpoolWriter, odd: dict[str, Any]) -> None:
    before, strange, after = intent(), intent(), intent()
    append(writer, before, settle(before), strange, settle(strange, **odd), after, settle(after))
    ledger.ship()
    assert [row["id"] for row in ledger.rows()] == sorted(one["id"] for one in (before, strange, after))


@pytest.mark.parametrize(
    "junk", [b"[]", b"5", b"{}", b'{"t":"intent"}', b'{"t":"settle","id":"nobody"}', b'{"t":"new kind"}']
)
def test_a_record_that_makes_no_sense_is_passed_over(ledger: Ledger, writer: SpoolWriter, junk: bytes) -> None:
    one = intent()
    append(writer, one)
    writer.append(junk)
    append(writer, settle(one))
    ledger.ship()
    assert len(ledger.rows()) == 1


def test_stopping_ships_what_is_there(ledger: Ledger, writer: SpoolWriter) -> None:
    one = intent()
    append(writer, one, settle(one))
    stop = threading.Event()
    stop.set()
    ledger.recorder.run(stop)
    assert len(ledger.rows()) == 1


def test_what_is_stored_at_providers_is_known_for_as_long_as_they_keep_it(ledger: Ledger, writer: SpoolWriter) -> None:
    one, two, three = (f"{n:032x}" for n in range(3))
    attempt, later = intent(), intent(started_at=AT + 40 * DAY_US)
    append(writer, attempt, settle(attempt, stored=[one, two, "not a digest", 5], stored_model="gpt"), later)
    append(writer, settle(later, stored=[two, three], stored_model="gpt"))
    ledger.ship()
    known = find_stored(ledger.engine, [one, two, three, "f" * 32])
    assert {row["digest"]: (row["upstream"], row["model"], row["session_id"]) for row in known} == dict.fromkeys(
        (one, two, three), ("u", "gpt", "s")
    )
    assert forget_stored(ledger.engine, AT + 32 * DAY_US) == 2
    assert [row["digest"] for row in find_stored(ledger.engine, [one, two, three])] == [three]


@pytest.mark.parametrize("facts", [{"shapes": [[2]]}, None])
def test_a_file_that_takes_anothers_name_has_its_own_facts(
    ledger: Ledger, writer: SpoolWriter, facts: dict[str, Any] | None
) -> None:
    name = f"{1:032x}"
    for at, known in ((AT, {"shapes": [[1]]}), (AT + 60_000_000, facts)):
        attempt = intent(started_at=at)
        more = {} if known is None else {"stored_facts": known}
        append(writer, attempt, settle(attempt, stored=[name], stored_model="gpt", **more))
        ledger.ship()
    assert [row["facts"] for row in find_stored(ledger.engine, [name])] == [facts]


def test_the_view_shows_exact_dollars(ledger: Ledger, writer: SpoolWriter) -> None:
    one = intent()
    append(writer, one, settle(one, cost=1_000_000_001))
    ledger.ship()
    with ledger.engine.connect() as connection:
        cost_usd, started = connection.execute(sa.text("SELECT cost_usd, started FROM ledger")).one()
    assert str(cost_usd) == "1.000000001"
    at = started if isinstance(started, datetime) else datetime.fromisoformat(started)
    assert at == datetime(2026, 11, 23, 12, 9, 45, tzinfo=UTC)


def test_a_call_that_only_waited_costs_nothing_after_a_crash(ledger: Ledger, writer: SpoolWriter) -> None:
    """It had reserved nothing and sent nothing; one that got its room after all may have been sent."""
    waiting, served = intent(), intent()
    append(writer, waiting, {"t": "waiting", "id": waiting["id"]}, served, {"t": "waiting", "id": served["id"]})
    smaller = {"t": "reserved", "id": served["id"], "reserved_nanousd": 700, "budgets": [["b", "", 0, "usd", 700]]}
    append(writer, smaller)
    writer.close()
    ledger.ship()
    by_id = {row["id"]: (row["status"], row["cost_nanousd"]) for row in ledger.rows()}
    assert by_id == {waiting["id"]: ("void", 0), served["id"]: ("unconfirmed", 700)}
    assert ledger.spent() == 700


_UNSOUND: list[dict[str, Any]] = [
    {"cost_lines": [{"unit": "input", "cost_usd": "many"}]},
    {"cost_lines": [5]},
    {"cost_nanousd": "400"},
    {"cost_nanousd": True},
    {"http_status": {"a": 1}},
    {"usage": {"input": "1e999999999"}},
    {"budgets": [["b", "", 0, "usd", "400"]]},
    {"budgets": [["b"]]},
    {"budgets": 7},
    {"outcome": None},
    {"ended_at": "now"},
    {"status": 3},
    {"duration_ms": "long"},
    {"itl_ms_sum": "x", "itl_count": "y"},
    {"usage": [1]},
    {"flags": "implausible"},
]


@pytest.mark.parametrize("odd", _UNSOUND, ids=str)
def test_an_unsound_record_is_charged_once_and_stops_nobody(
    ledger: Ledger, writer: SpoolWriter, odd: dict[str, Any]
) -> None:
    """A record that a defect wrote must neither stop the recorder nor cost the bill an attempt, at any later start."""
    ledger.counts = MetricState()  # type: ignore[assignment]  # the real ones
    ledger.start()
    before, strange, after = intent(), intent(), intent()
    append(writer, before, settle(before), strange, settle(strange, **odd), after, settle(after))
    ledger.ship()
    ledger.start()
    ledger.ship()
    rows = {row["id"]: row for row in ledger.rows()}
    assert rows.keys() == {one["id"] for one in (before, strange, after)}
    assert rows[strange["id"]]["cost_nanousd"] in (400, 1000)
    if ledger.engine.dialect.name == "sqlite":  # which would take anything
        with ledger.engine.connect() as connection:
            kinds = connection.execute(
                sa.text("SELECT DISTINCT typeof(cost_nanousd), typeof(ended_at) FROM entries")
            ).all()
        assert kinds == [("integer", "integer")]


@pytest.mark.parametrize("group", ["a\x00b", "s" * 100_000, "\uffff" * 3000], ids=["nul", "long", "wide"])
def test_a_counters_group_that_no_index_takes_stops_nobody(ledger: Ledger, writer: SpoolWriter, group: str) -> None:
    """Groups are what clients say: `per: [model]` counts whatever model they ask for."""
    one, two = intent(model=group), intent(model=group)
    append(writer, one, settle(one, budgets=[["b", group, 0, "usd", 400]]))
    append(writer, two, settle(two, budgets=[["b", group, 0, "usd", 300], ["c", "", 2**60, "usd", 300]], cost=300))
    ledger.ship()
    assert (len(ledger.rows()), ledger.spent()) == (2, 700)
    told = [item for row in ledger.rows() for item in orjson.loads(row["budgets"])]
    assert len({item[1] for item in told}) == 1


def test_a_session_that_no_index_takes_is_shortened(ledger: Ledger, writer: SpoolWriter) -> None:
    name = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(200))
    before, strange, after = intent(), intent(root_session_id=name), intent()
    append(writer, before, settle(before), strange, settle(strange), after, settle(after))
    ledger.ship()
    assert len(ledger.rows()) == 3
    assert ledger.recorder.unreadable_records == 0


def test_counters_that_run_over_stop_nobody(ledger: Ledger, writer: SpoolWriter) -> None:
    ones = [intent() for _ in range(3)]
    for one in ones:
        huge = {"budgets": [["b", "", 0, "usd", 2**62]], "usage": {"input": 2**63 - 1}}
        append(writer, one, settle(one, 2**62, **huge))
    ledger.ship()
    assert len(ledger.rows()) == 3
    with ledger.engine.connect() as connection:
        assert (
            int(connection.execute(sa.text("SELECT SUM(cost_nanousd) + SUM(input_tokens) FROM entries")).scalar_one())
            == 3000
        )


def test_an_end_that_cannot_be_read_is_charged_at_the_ceiling_and_kept(ledger: Ledger, writer: SpoolWriter) -> None:
    one = intent()
    append(writer, one)
    append(writer, {"t": "settle", "id": one["id"], "usage": ["not", "a", "usage"]})
    ledger.ship()
    (row,) = ledger.rows()
    assert (row["status"], row["cost_nanousd"], ledger.spent()) == ("unconfirmed", 1000, 1000)
    assert ledger.recorder.unreadable_records == 1
    (kept,) = ledger.folder.glob("*.unreadable")
    assert kept.stat().st_mode & 0o077 == 0


def test_a_commit_whose_answer_is_lost_counts_once(
    ledger: Ledger, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database has the batch, we do not know it: neither rows nor counters nor metrics may come twice, and logs and alerts
    hear of it, once."""
    told: list[int] = []
    ledger.recorder._on_shipped = lambda new, _: told.append(len(new))
    one = intent()
    refused = intent()
    append(writer, one, settle(one), refused)
    append(writer, {"t": "refused", "id": refused["id"], "at": AT, "reason": "budget_exceeded", "budget": "b"})
    real = sa.engine.Transaction.__exit__
    lost = iter([True])

    def commit_without_answer(self: Any, kind: Any, value: Any, traceback: Any) -> Any:
        done = real(self, kind, value, traceback)
        if kind is None and isinstance(self, sa.engine.RootTransaction) and next(lost, False):
            raise sa.exc.OperationalError("COMMIT", {}, Exception("connection lost"))
        return done

    monkeypatch.setattr(outage, "_RETRY_S", 0)
    monkeypatch.setattr(sa.engine.Transaction, "__exit__", commit_without_answer)
    ledger.ship()
    assert next(lost, None) is None, "the answer was never lost"
    assert (len(ledger.rows()), ledger.spent(), ledger.counts.entries) == (1, 400, 1)
    assert told == [1]


def test_a_settlement_after_the_reservation_expired_is_a_correction(ledger: Ledger, writer: SpoolWriter) -> None:
    """Charged at the ceiling when it expired, whoever restarts in between; then the difference, once."""
    slow = intent()
    append(writer, slow, {"t": "expired", "id": slow["id"], "at": AT + 1})
    ledger.ship()
    assert [(row["status"], row["outcome"], row["cost_nanousd"]) for row in ledger.rows()] == [
        ("unconfirmed", "expired", 1000)
    ]
    ledger.start()
    append(writer, settle(slow))
    ledger.ship()
    ledger.start()
    ledger.ship()
    attempt, correction = sorted(ledger.rows(), key=lambda row: row["kind"])
    assert (attempt["kind"], correction["kind"], correction["corrects_id"]) == ("attempt", "correction", slow["id"])
    assert (correction["id"], correction["cost_nanousd"]) == (correction_id(slow["id"]), -600)
    assert (correction["input_tokens"], correction["started_at"]) == (7, slow["started_at"])
    assert ledger.spent() == 400


def test_an_expired_attempt_of_a_crashed_worker_is_charged_once(ledger: Ledger, writer: SpoolWriter) -> None:
    slow = intent()
    append(writer, slow, {"t": "expired", "id": slow["id"], "at": AT + 1})
    writer.close()
    ledger.ship()
    assert [(row["status"], row["cost_nanousd"]) for row in ledger.rows()] == [("unconfirmed", 1000)]
    assert ledger.spent() == 1000


def test_an_attempt_that_another_instance_charged_is_corrected_here(ledger: Ledger, tmp_path: Path) -> None:
    """It was taken for dead, and its reservation expired elsewhere, under the same id."""
    slow = intent()
    elsewhere = Recorder(ledger.engine, tmp_path / "other", instance="other", metrics=Counts())
    other = SpoolWriter(tmp_path / "other", "w")
    append(other, slow, {"t": "expired", "id": slow["id"], "at": AT + 1})
    while elsewhere.step():
        pass
    back = SpoolWriter(ledger.folder, "back")
    append(back, slow, settle(slow))
    ledger.ship()
    assert sorted((row["kind"], row["cost_nanousd"]) for row in ledger.rows()) == [
        ("attempt", 1000),
        ("correction", -600),
    ]
    assert ledger.spent() == 400


def test_metrics_count_what_is_new_in_the_ledger_and_nothing_else(ledger: Ledger, writer: SpoolWriter) -> None:
    one, two = intent(), intent()
    append(writer, one, settle(one))
    ledger.ship()
    with ledger.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM spool_positions"))
    append(writer, two, settle(two))
    ledger.start()
    ledger.ship()
    assert ledger.counts.entries == 2


def test_under_steady_load_records_are_shipped_by_the_batch(ledger: Ledger, writer: SpoolWriter) -> None:
    """One transaction for each record as it comes would cost ten times as much."""
    batches: list[int] = []
    ledger.recorder = Recorder(
        ledger.engine,
        ledger.folder,
        instance="i",
        metrics=ledger.counts,
        on_shipped=lambda new, _: batches.append(len(new)),
    )
    stop = threading.Event()
    thread = threading.Thread(target=ledger.recorder.run, args=(stop,))
    thread.start()
    until = time.monotonic() + 0.6
    written = 0
    while time.monotonic() < until and written < 1500:
        one = intent()
        append(writer, one, settle(one))
        written += 1
    stop.set()
    thread.join()
    assert sum(batches) == written
    assert len(batches) <= 6 + written // 500


def test_a_worker_that_is_never_done_holds_up_no_other(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is there than one batch takes: the run that had to wait comes first the next time."""
    for name in ("_MAX_ENTRIES", "_MAX_ENTRIES_OF_A_SERVER"):
        monkeypatch.setattr(recorder_module, name, 2)
    monkeypatch.setattr(reading, "_READ_BYTES", 2000)
    batches: list[set[str]] = []
    ledger.recorder = Recorder(
        ledger.engine, ledger.folder, instance="i", metrics=ledger.counts,
        on_shipped=lambda new, _: batches.append({entry.row.upstream or "" for entry in new}),
    )  # fmt: skip
    writers = [SpoolWriter(ledger.folder, name) for name in ("w1", "w2")]
    for number in range(40):
        one = intent(upstream=f"u{number % 2}")
        append(writers[number % 2], one, settle(one))
    ledger.ship()

    assert sum(ledger.recorder.runs_of(name) for name in ("w1", "w2")) == 2
    assert ledger.counts.entries == 40
    assert len(batches) > 10
    assert {name for batch in batches[:2] for name in batch} == {"u0", "u1"}


def test_calls_that_are_refused_fill_a_batch_too(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour in which a budget was used up, none of the spool may have an entry."""
    for name in ("_MAX_ENTRIES", "_MAX_ENTRIES_OF_A_SERVER"):
        monkeypatch.setattr(recorder_module, name, 4)
    monkeypatch.setattr(reading, "_READ_BYTES", 2000)
    batches: list[int] = []
    ledger.recorder = Recorder(
        ledger.engine, ledger.folder, instance="i", metrics=ledger.counts,
        on_shipped=lambda _, refused: batches.append(len(refused)),
    )  # fmt: skip
    writer = SpoolWriter(ledger.folder, "w")
    for _ in range(40):
        one = intent()
        append(writer, one, {"t": "refused", "id": one["id"], "at": AT, "reason": "budget_exceeded", "budget": "b"})
    ledger.ship()
    assert sum(batches) == 40
    assert max(batches) <= 8


def test_at_the_end_of_a_segment_the_next_one_is_not_forgotten(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for all that is there, as a new budget does before it adds up the ledger, must not begin too early."""
    for name in ("_MAX_ENTRIES", "_MAX_ENTRIES_OF_A_SERVER"):
        monkeypatch.setattr(recorder_module, name, 1)
    monkeypatch.setattr(writing, "_SEGMENT_BYTES", 2000)
    monkeypatch.setattr(writing, "_CHECK_SIZE_EVERY_BYTES", 0)
    ledger.start()
    writer = SpoolWriter(ledger.folder, "w")
    for _ in range(6):
        one = intent()
        append(writer, one, settle(one))
    assert len(list(ledger.folder.glob("*.spool"))) > 2

    caught_up = {}
    while ledger.recorder.step():
        caught_up[ledger.counts.entries] = ledger.recorder.caught_up_at > 0

    assert len(caught_up) > 2
    assert [entries for entries, at_end in caught_up.items() if at_end] == [6]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # it is a file that is read
@pytest.mark.parametrize("chars", [600_000, 20_000_000])
def test_a_long_record_is_read_while_its_writer_lives(ledger: Ledger, writer: SpoolWriter, chars: int) -> None:
    long, other = intent(labels={"a": "b" * chars}), intent()
    append(writer, long, settle(long), other, settle(other))
    ledger.ship()
    assert (ledger.counts.entries, ledger.recorder.unreadable_records) == (2, 0)


def test_damage_in_the_middle_is_told_and_costs_no_neighbour(
    ledger: Ledger, writer: SpoolWriter, caplog: pytest.LogCaptureFixture
) -> None:
    """The INTENT whose end was hit is charged at its ceiling once its writer is gone."""
    first, second = intent(), intent()
    append(writer, first, settle(first), second, settle(second))
    writer.close()
    (path,) = ledger.folder.glob("*.spool")
    data = bytearray(path.read_bytes())
    end_of_first = data.index(b'"settle"')
    data[end_of_first : end_of_first + 8] = b"\x00" * 8
    path.write_bytes(data)
    ledger.ship()
    rows = {row["id"]: row for row in ledger.rows()}
    assert (rows[first["id"]]["status"], rows[second["id"]]["status"]) == ("unconfirmed", "settled")
    assert "is damaged" in caplog.text
    assert ledger.recorder.unreadable_records == 1
    assert list(ledger.folder.glob("*.damaged"))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # it is files that cannot be opened
@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize("opened", range(8))
def test_running_out_of_descriptors_puts_off_and_loses_nothing(
    ledger: Ledger, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch, opened: int, lasting: bool
) -> None:
    """Whichever file cannot be opened; the run is over meanwhile, which must not be taken for all of it being read."""
    other = SpoolWriter(ledger.folder, "x")
    first, second = intent(), intent()
    append(writer, first, settle(first))
    append(other, second, settle(second))
    ledger.ship()
    lost = intent()
    append(other, lost)
    writer.close()
    other.close()
    left = opened

    def scarce(real: Any) -> Any:
        def open_file(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1 or (lasting and left < 0):
                raise OSError(errno.EMFILE, "Too many open files")
            return real(*args, **kwargs)

        return open_file

    with monkeypatch.context() as patched:
        patched.setattr("proxy.spool.writer.os.open", scarce(os.open))
        patched.setattr("proxy.spool.writer.Path.open", scarce(Path.open))
        patched.setattr("proxy.spool.writer.Path.glob", scarce(Path.glob))
        ledger.recorder.step()
    ledger.ship()
    assert sorted(row["id"] for row in ledger.rows()) == sorted(one["id"] for one in (first, second, lost))
    assert list(ledger.folder.iterdir()) == []


def test_where_records_are_many_more_of_them_come_together(ledger: Ledger, writer: SpoolWriter) -> None:
    """A batch costs what thirty entries do; but what is rare is seen soon."""

    class Stop(threading.Event):
        """Stands still while the next records come."""

        def __init__(self) -> None:
            super().__init__()
            self.waited: list[float | None] = []
            self.coming = [1, 60, 1]

        def wait(self, timeout: float | None = None) -> bool:
            self.waited.append(timeout)
            for _ in range(self.coming.pop(0)):
                one = intent()
                append(writer, one, settle(one))
            if not self.coming:
                self.set()
            return self.is_set()

    stop = Stop()
    ledger.recorder.run(stop)
    assert stop.waited == [0.2, 0.2, 0.5]
    assert len(ledger.rows()) == 62


def test_catching_up_ends_though_calls_go_on(
    ledger: Ledger, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what crashed workers left open, and not with what comes meanwhile: a start would never end."""
    crashed, lost, steps = SpoolWriter(ledger.folder, "crashed"), intent(), 0
    append(crashed, lost)
    crashed.close()
    step = ledger.recorder.step

    def busy_step() -> int:
        nonlocal steps
        steps += 1
        assert steps < 10
        one = intent()
        append(writer, one, settle(one))
        return step()

    monkeypatch.setattr(ledger.recorder, "step", busy_step)
    ledger.recorder.catch_up()

    assert "crashed" in {row["outcome"] for row in ledger.rows()}
    assert ledger.spent() == 1000 + 400 * steps
