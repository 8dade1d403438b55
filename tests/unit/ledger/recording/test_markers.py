"""A marker says its epoch, or is one more record that cannot be read."""

from __future__ import annotations

import orjson
import pytest

from proxy.ledger.recording.markers import MARKER_BEGINS, epoch_of


def test_it_says_its_epoch() -> None:
    marker = orjson.dumps({"t": "epoch", "epoch": "e1"})
    assert marker.startswith(MARKER_BEGINS)
    assert epoch_of(marker) == "e1"


@pytest.mark.parametrize("rest", ["", "}", ',"epoch":7}', ',"epoch":null}', ',"epoch":"e1"'])
def test_one_that_says_none_holds_nothing(rest: str) -> None:
    assert epoch_of(MARKER_BEGINS + rest.encode()) is None
