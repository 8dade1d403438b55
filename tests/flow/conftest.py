"""Fixtures of the flow tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flow.house import Build, House


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    houses: list[House] = []

    def made(**changes: Any) -> House:
        houses.append(House(tmp_path, **changes))
        return houses[-1]

    yield made
    for house in houses:
        house.plane.spool.close()
