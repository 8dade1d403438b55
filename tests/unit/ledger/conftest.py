"""What the tests of the ledger share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.spooled import Ledger


@pytest.fixture
def ledger(tmp_path: Path, database: str) -> Iterator[Ledger]:
    made = Ledger(tmp_path, database)
    yield made
    made.engine.dispose()
