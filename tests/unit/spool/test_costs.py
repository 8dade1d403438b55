"""Which runs may have cost something."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.spool import costs
from proxy.spool.costs import may_have_cost
from proxy.spool.writer import SpoolWriter
from tests.support.spooled import append, intent, settle

_CALL = intent(id="c")
_TALLY = {"t": "tally", "at": 1, "refusals": [["invalid_api_key", None, 1]], "would_refuse": []}
_REFUSED = {"t": "refused", "id": "c", "at": 1, "reason": "budget_store_unavailable", "budget": "b", "unanswered": True}
_VOID = {"t": "void", "id": "c", "ended_at": 1, "outcome": "upstream_unreachable"}


def _wrote(folder: Path, *records: Mapping[str, Any]) -> str:
    writer = SpoolWriter(folder, "data-0")
    append(writer, *records)
    writer.close()
    return writer.run


@pytest.mark.parametrize(
    "records", [(), (_TALLY,), ({"t": "epoch", "epoch": "e"},), (_CALL, _REFUSED, _TALLY), (_CALL, _VOID)]
)
def test_who_refused_every_call_or_sent_none_owes_nothing(
    tmp_path: Path, records: tuple[Mapping[str, Any], ...]
) -> None:
    assert not may_have_cost(tmp_path, _wrote(tmp_path, *records))


@pytest.mark.parametrize(
    "records",
    [
        (_CALL,),
        (_CALL, settle(_CALL)),
        (_CALL, _REFUSED, intent(id="d")),
        ({"t": "correction", "row": {}, "budgets": []},),
        ({"t": "something later"},),
    ],
)
def test_what_may_have_been_sent_or_charged_counts(tmp_path: Path, records: tuple[Mapping[str, Any], ...]) -> None:
    assert may_have_cost(tmp_path, _wrote(tmp_path, *records))


def test_what_cannot_be_read_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _wrote(tmp_path, _TALLY)
    monkeypatch.setattr(costs, "_MOST_BYTES", 100)
    assert may_have_cost(tmp_path, run)
    monkeypatch.undo()
    (segment,) = tmp_path.glob("*.spool")
    segment.write_bytes(segment.read_bytes()[:-1])
    assert may_have_cost(tmp_path, run)


def test_what_is_shipped_meanwhile_owes_nothing(tmp_path: Path) -> None:
    assert not may_have_cost(tmp_path, "data-0-gone")
