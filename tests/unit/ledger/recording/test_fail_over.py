"""The database is replaced by an older copy of itself, as by a fail-over to a standby that lagged: the spool makes up for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from proxy.ledger.entries.entry import Shipped
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.recorder import Recorder
from proxy.ledger.recording.shipping import Positions, Shipper
from proxy.ledger.schema import spool_positions
from proxy.spool import writer as spool_writer
from proxy.spool.kept import Kept
from proxy.spool.writer import SpoolWriter
from tests.support.postgres import PostgresServer
from tests.support.spooled import Ledger, append, intent, settle


class Gate:
    """Lets everything pass, and counts how often the ledger moved."""

    moves = 0

    def may_ship(self) -> bool:
        return True

    def may_pass(self, _: str) -> bool:
        return True

    def moved(self) -> None:
        self.moves += 1

    def count(self, *_: Any) -> None:
        pass

    over = ended = gone = count


class Copied(Ledger):
    """A ledger of which a copy can be made, and put in its place."""

    def __init__(self, folder: Path, database: str, server: PostgresServer | None) -> None:
        self.url, self.server, self.gate = database, server, Gate()
        self.is_old = False  # the old server is at the address
        super().__init__(folder, database)

    def start(self, keep_s: float = 600) -> None:
        kept = Kept(self.folder, keep_s)
        self.recorder = Recorder(self.engine, self.folder, instance="i", metrics=self.counts, gate=self.gate, kept=kept)

    def copy(self) -> None:
        self.engine.dispose()
        if self.server is not None:
            self.server.copy_database(self.url)
        else:
            shutil.copy(str(self.engine.url.database), f"{self.engine.url.database}.older")

    def fail_over(self) -> None:
        self.engine.dispose()
        if self.server is not None:
            self.server.take_copy(self.url)
        else:
            for ending in ("-wal", "-shm"):
                Path(f"{self.engine.url.database}{ending}").unlink(missing_ok=True)
            shutil.move(f"{self.engine.url.database}.older", str(self.engine.url.database))

    def swap(self) -> None:
        """The copy takes the database's place, and the database the copy's: two that go on by themselves."""
        self.engine.dispose()
        if self.server is not None:
            self.server.swap_copy(self.url)
        else:
            place, older, aside = (Path(f"{self.engine.url.database}{ending}") for ending in ("", ".older", ".aside"))
            place.rename(aside)
            older.rename(place)
            aside.rename(older)

    def runs_known(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.execute(sa.select(spool_positions.c.run)).scalars())


@pytest.fixture
def ledger(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> Iterator[Copied]:
    server = request.getfixturevalue("postgres") if database.startswith("postgres") else None
    made = Copied(tmp_path, database, server)
    yield made
    made.engine.dispose()


def call(writer: SpoolWriter, count: int = 1) -> None:
    """So many calls of 400 nano-USD, and as many refusals."""
    for _ in range(count):
        one, refused = intent(), intent()
        append(writer, one, settle(one), refused)
        append(writer, {"t": "refused", "id": refused["id"], "at": 1, "reason": "budget_exceeded", "budget": "b"})


def check(ledger: Copied, calls: int) -> None:
    assert len(ledger.rows()) == calls
    assert ledger.spent() == 400 * calls
    assert ledger.counts.entries == calls


def test_what_an_older_copy_lacks_is_read_again_from_the_spool(ledger: Copied) -> None:
    writer = SpoolWriter(ledger.folder, "w")
    call(writer, 5)
    ledger.ship()
    ledger.copy()
    call(writer, 5)
    ledger.ship()
    ledger.fail_over()
    call(writer)
    ledger.ship()
    check(ledger, 11)
    assert ledger.gate.moves == 1
    ledger.start()  # and a restart goes on from there
    call(writer)
    ledger.ship()
    check(ledger, 12)


def test_it_is_noticed_without_a_call(ledger: Copied) -> None:
    writer = SpoolWriter(ledger.folder, "w")
    ledger.copy()
    call(writer, 3)
    ledger.ship()
    ledger.fail_over()
    asked_at = ledger.recorder.check_soon()
    while ledger.recorder.checked_at < asked_at:
        ledger.recorder.step()
    check(ledger, 3)


def test_a_restart_finds_what_the_copy_lacks_in_what_is_kept(ledger: Copied) -> None:
    """The process ended, everything was shipped: only kept segments are left."""
    first, second = SpoolWriter(ledger.folder, "w"), SpoolWriter(ledger.folder, "w")
    call(first, 2)
    first.close()
    ledger.ship()
    ledger.copy()
    call(second, 3)
    append(second, intent(reserved_nanousd=400, budgets=[["b", "", 0, "usd", 400]]))  # it crashes
    second.close()
    ledger.ship()
    assert not ledger.recorder.has_runs()
    ledger.fail_over()
    ledger.counts.entries = 2
    ledger.start()
    ledger.ship()
    check(ledger, 6)
    ledger.start()
    ledger.ship()
    check(ledger, 6)


def test_full_segments_are_kept_and_read_again(ledger: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_writer, "_SEGMENT_BYTES", 4000)
    monkeypatch.setattr(spool_writer, "_CHECK_SIZE_EVERY_BYTES", 500)
    writer = SpoolWriter(ledger.folder, "w")
    call(writer, 4)
    ledger.ship()
    ledger.copy()
    for _ in range(5):
        call(writer, 4)
        ledger.ship()
    assert len(list(ledger.folder.glob("*.shipped"))) > 3
    ledger.fail_over()
    call(writer)
    ledger.ship()
    check(ledger, 25)


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_writer, "_SEGMENT_BYTES", 4000)
    monkeypatch.setattr(spool_writer, "_CHECK_SIZE_EVERY_BYTES", 500)


def test_a_segment_that_its_writer_put_back_is_not_replaced_by_what_was_kept_of_it(ledger: Copied) -> None:
    """Without its lock the run was over, and what it had written was kept; then the worker had its files again, and went on."""
    writer = SpoolWriter(ledger.folder, "w")
    call(writer)
    ledger.ship()
    ledger.copy()
    call(writer)
    (ledger.folder / f"{writer.run}.lock").unlink()
    ledger.ship()
    assert writer.keep_named()
    call(writer)
    ledger.fail_over()
    ledger.ship()
    call(writer)
    ledger.ship()
    writer.close()
    ledger.ship()
    check(ledger, 4)


@pytest.mark.usefixtures("small_segments")
def test_a_call_that_was_open_at_the_end_of_its_segment_finds_its_beginning_again(ledger: Copied) -> None:
    """The copy has read on into the next segment, but for that call it needs the one before."""
    writer = SpoolWriter(ledger.folder, "w")
    long = intent()
    append(writer, long)
    call(writer, 6)
    ledger.ship()
    ledger.copy()
    append(writer, settle(long))
    call(writer)
    ledger.ship()
    assert list(ledger.folder.glob("*.000000.shipped"))
    ledger.fail_over()
    call(writer)
    ledger.ship()
    check(ledger, 9)
    assert not list(ledger.folder.glob("*.unreadable"))


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("is_over", [True, False])
def test_a_kept_segment_that_is_gone_hides_none_behind_it(
    ledger: Copied, caplog: pytest.LogCaptureFixture, is_over: bool
) -> None:
    """Of several that give way to a full disk, one went before a process was killed, or another was brought back."""
    writer = SpoolWriter(ledger.folder, "w")
    ledger.copy()
    for _ in range(5):
        call(writer, 4)
        ledger.ship()
    if is_over:
        writer.close()
        ledger.ship()
    segments = sorted(ledger.folder.glob("*.shipped"))
    segments[1].unlink()
    ledger.fail_over()
    ledger.counts.entries = 0
    ledger.start()
    ledger.ship()

    assert 12 <= len(ledger.rows()) < 20
    assert "segments 1 to 1 of the spool" in caplog.text
    if is_over:
        assert not ledger.recorder.has_runs()


def test_a_copy_that_went_on_by_itself_is_noticed_though_it_has_as_many_batches(ledger: Copied) -> None:
    """The old primary, which comes back while the promoted standby is in use."""
    writer = SpoolWriter(ledger.folder, "w")
    call(writer, 2)
    ledger.ship()
    ledger.copy()
    call(writer, 3)
    ledger.ship()
    ledger.swap()
    call(writer, 4)
    ledger.ship()
    check(ledger, 9)
    ledger.swap()
    call(writer)
    ledger.ship()
    check(ledger, 10)
    assert ledger.gate.moves == 2


def test_where_to_read_on_is_asked_of_the_copy_that_is_written(ledger: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old server is back for a moment, just when the recorder asks; both are at one address."""
    writer = SpoolWriter(ledger.folder, "w")
    call(writer, 5)
    ledger.ship()
    ledger.copy()
    call(writer, 5)
    ledger.ship()
    ledger.swap()
    call(writer)
    begin_again, ship = Shipper.begin_again, Shipper.ship
    places = iter(["promoted"])

    def back_behind(shipper: Shipper) -> None:
        begin_again(shipper)
        if next(places, None):
            ledger.swap()
            ledger.is_old = True

    def gone_before(shipper: Shipper, batch: Batch, positions: Positions) -> Shipped:
        if ledger.is_old:
            ledger.swap()
            ledger.is_old = False
        return ship(shipper, batch, positions)

    monkeypatch.setattr(Shipper, "begin_again", back_behind)
    monkeypatch.setattr(Shipper, "ship", gone_before)

    ledger.ship()

    check(ledger, 11)


def test_metrics_that_were_read_of_another_copy_count_no_call_twice(ledger: Copied) -> None:
    """At a start: the address led to the old server first, and to the promoted one when the recorder began."""
    writer = SpoolWriter(ledger.folder, "w")
    call(writer, 5)
    ledger.ship()
    ledger.copy()
    call(writer, 5)
    ledger.ship()
    ledger.swap()
    ledger.start()  # what it counts with is the old one's
    ledger.ship()

    check(ledger, 10)


def test_what_is_kept_goes_with_its_time_and_its_position_with_it(ledger: Copied) -> None:
    writer = SpoolWriter(ledger.folder, "w")
    call(writer)
    writer.close()
    ledger.ship()
    assert ledger.runs_known() == {writer.run}
    ledger.start(keep_s=1e-9)
    ledger.ship()
    ledger.recorder.step()
    assert list(ledger.folder.iterdir()) == []
    ledger.ship()
    assert ledger.runs_known() == set()


def test_nothing_is_kept_where_nothing_is_to_be(ledger: Copied) -> None:
    ledger.start(keep_s=0)
    writer = SpoolWriter(ledger.folder, "w")
    call(writer)
    writer.close()
    ledger.ship()
    assert list(ledger.folder.iterdir()) == []
    assert ledger.runs_known() == set()


def test_what_is_lost_for_good_is_said(ledger: Copied, caplog: pytest.LogCaptureFixture) -> None:
    writer = SpoolWriter(ledger.folder, "w")
    call(writer)
    ledger.ship()
    (segment,) = ledger.folder.glob("*.spool")
    segment.rename(segment.with_name(segment.name.replace(".000000.", ".000002.")))
    ledger.start()
    ledger.ship()
    assert "segments 0 to 1" in caplog.text
    assert len(ledger.rows()) == 1


def test_kept_segments_give_way_to_the_bound_and_to_a_full_disk(tmp_path: Path) -> None:
    for number in range(3):
        path = tmp_path / f"w-1.{number:06d}.spool"
        path.write_bytes(b"x" * 100)
        Kept(tmp_path, 600).put(path, 1000.0 + number)
    (tmp_path / "w-2.000000.spool").write_bytes(b"x" * 100)
    kept = Kept(tmp_path, 600, most_bytes=300)
    assert kept.drop_old(1003.0) == {"w-1"}
    assert kept.segments() == {"w-1": {1: 100, 2: 100}}
    assert kept.drop_old(1601.5) == {"w-1"}
    assert kept.segments() == {"w-1": {2: 100}}
    assert spool_writer.give_way(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["w-2.000000.spool"]
