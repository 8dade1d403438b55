"""What is counted without an INTENT: nothing is forgotten before it is written, and every refusal is told once."""

from __future__ import annotations

from proxy.spool.tally import Tally


def test_refusals_are_kept_until_they_are_written_and_told_once() -> None:
    tally = Tally()
    tally.refuse("invalid_api_key", None)
    tally.refuse("budget_exceeded", "day", recorded=True)
    tally.would("soft")
    record = tally.record(7)
    tally.refuse("invalid_api_key", None)

    assert tally
    assert record == {
        "t": "tally", "at": 7, "refusals": [["invalid_api_key", None, 1]], "would_refuse": [["soft", 1]],
    }  # fmt: skip
    assert tally.record(8)["refusals"] == [["invalid_api_key", None, 2]]
    assert tally.take_refused() == {("invalid_api_key", None): 2, ("budget_exceeded", "day"): 1}
    assert tally.take_refused() == {}
    tally.clear()
    assert not tally
