"""A run of the spool at its end: whoever dies between two of its steps leaves nothing that counts twice, or lies about for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from proxy.ledger.schema import spool_positions
from proxy.spool import writer as spool_writer
from proxy.spool.kept import Kept
from proxy.spool.reader import runs
from proxy.spool.writer import SpoolWriter
from tests.support.spooled import Ledger, append, intent, settle

CALLS = 12


class KilledError(BaseException):
    """The process is gone."""


@pytest.fixture
def ended(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> SpoolWriter:
    """Some segments of calls, each open into the next one, and of as many refusals; the run is over."""
    monkeypatch.setattr(spool_writer, "_SEGMENT_BYTES", 4000)
    monkeypatch.setattr(spool_writer, "_CHECK_SIZE_EVERY_BYTES", 500)
    writer = SpoolWriter(ledger.folder, "w")
    before = None
    for _ in range(CALLS):
        one, refused = intent(), intent()
        append(writer, one, refused)
        append(writer, {"t": "refused", "id": refused["id"], "at": 1, "reason": "budget_exceeded", "budget": "b"})
        if before is not None:
            append(writer, settle(before))
        before = one
    assert before is not None
    append(writer, settle(before))
    writer.close()
    return writer


@pytest.mark.parametrize("which", [0, 2, -1])
def test_who_dies_when_segments_are_shipped_and_not_deleted_counts_nothing_of_them_twice(
    ledger: Ledger,
    ended: SpoolWriter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    which: int,
) -> None:
    """The last one goes with its run."""
    dies_at = sorted(ledger.folder.glob(f"{ended.run}.*.spool"))[which]
    put = Kept.put

    def killed(kept: Kept, path: Path, now_s: float) -> None:
        if path == dies_at:
            raise KilledError
        put(kept, path, now_s)

    with monkeypatch.context() as dying:
        dying.setattr(Kept, "put", killed)
        with pytest.raises(KilledError):
            ledger.ship()
    ledger.start()
    ledger.ship()

    assert len(ledger.rows()) == ledger.counts.entries == len(ledger.counts.refusals) == CALLS
    assert ledger.spent() == 400 * CALLS
    assert "lacks records" not in caplog.text
    assert list(ledger.folder.iterdir()) == []
    with ledger.engine.connect() as connection:
        assert connection.execute(sa.select(spool_positions)).all() == []


def test_a_segment_that_its_writer_died_in_beginning_goes_with_its_run(ledger: Ledger, ended: SpoolWriter) -> None:
    (ledger.folder / f"{ended.run}.000099.begun").write_bytes(b"x")
    other = ledger.folder / "v-1.000000.begun"  # is being begun
    other.write_bytes(b"x")

    ledger.ship()

    assert list(ledger.folder.iterdir()) == [other]
    assert runs(ledger.folder) == []
