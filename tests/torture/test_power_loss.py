"""The short form of `make torture`'s power losses."""

from __future__ import annotations

from pathlib import Path

import pytest

from .power_loss import cut


@pytest.mark.parametrize("mode", ["write", "fsync"])
def test_whatever_is_left_of_a_spool_is_recorded_once_and_as_it_stands(mode: str, tmp_path: Path) -> None:
    losses = cut(tmp_path, cuts=75, mode=mode)

    assert (losses.missing, losses.double, losses.different, losses.promised_and_lost) == (0, 0, 0, 0)
    assert losses.cuts == 75
    assert losses.attempts > 750
