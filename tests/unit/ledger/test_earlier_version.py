"""What an earlier version left behind is taken over whole: its ledger is opened, and what its spool still has is shipped.

`tests/fixtures/earlier_version` was written by commit 819fbf9: a ledger that has the first 40 calls of a run, the run's spool
with all of them and 40 more, one of which was open when the process died; and what that version itself made of it.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from proxy.control.metrics.series import MetricState
from proxy.ledger.database import open_ledger
from proxy.ledger.recording.recorder import Recorder
from proxy.ledger.rollups.label_parts import add_up_a_part
from proxy.times import now_us

LEFT = Path(__file__).parents[2] / "fixtures" / "earlier_version"


def test_an_earlier_versions_ledger_and_spool_are_taken_over(tmp_path: Path) -> None:
    expected = json.loads(gzip.decompress((LEFT / "expected.json.gz").read_bytes()))
    spool = tmp_path / "spool"
    spool.mkdir()
    for packed in LEFT.glob("*.spool.gz"):
        (spool / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    (tmp_path / "ledger.db").write_bytes(gzip.decompress((LEFT / "ledger.db.gz").read_bytes()))
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    recorder = Recorder(engine, spool, instance="i", metrics=MetricState.load(engine, "i"))

    assert add_up_a_part(engine, [], now_us())  # what was there before is known to be there
    while recorder.step() or recorder.has_runs():
        pass

    columns = list(expected["entries"][0])
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT * FROM entries ORDER BY id")).mappings().all()
        spend = connection.execute(
            sa.text('SELECT budget, "group", window_start, measure, amount FROM budget_spend ORDER BY 1, 2, 3, 4')
        ).all()
        metrics = connection.execute(
            sa.text("SELECT name, labels, value FROM metric_state WHERE instance = 'i' ORDER BY 1, 2")
        ).all()
    engine.dispose()

    assert [_without_the_time_of_death({name: row[name] for name in columns}) for row in rows] == expected["entries"]
    assert [list(row) for row in spend] == expected["budget_spend"]
    # Sessions count when they have been quiet for a while, which they have by now.
    own = ("_", "session_")
    assert [list(row) for row in metrics if not row[0].startswith(own)] == [
        row for row in expected["metrics"] if not row[0].startswith(own)
    ]
    assert recorder.unreadable_records == 0


def _without_the_time_of_death(row: dict[str, Any]) -> dict[str, Any]:
    """A crashed call ends when that is found out."""
    return {**row, "ended_at": 0} if row["outcome"] == "crashed" else row
