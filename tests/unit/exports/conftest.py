"""A ledger on each database, and a receiver in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from proxy.ledger.database import open_ledger
from tests.support.exported import Told, receiver


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = open_ledger(database)
    yield opened
    opened.dispose()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    """Where the database makes no difference."""
    opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    opened.dispose()


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with receiver(tmp_path_factory.mktemp("receiver")) as made:
        yield made


@pytest.fixture
def told(listening: Told) -> Told:
    """A receiver that has nothing yet and takes everything."""
    listening.forget()
    return listening
