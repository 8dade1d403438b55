"""Workers of pytest-xdist compile the tests once, together.

All of them collect all tests, at the same time and in the same order: in a new environment each would compile every file. So each
imports them from another place of the list on, and finds compiled, when it comes there, what the others began with.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def import_in_turn(arguments: Sequence[str]) -> None:
    """Import the tests in these files and folders, beginning where no other worker begins. What fails will fail again."""
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", ""), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers < 2:
        return
    names = [name for argument in arguments for name in _modules(Path(argument))]
    first = int(worker.removeprefix("gw")) % workers * len(names) // workers
    for name in names[first:] + names[:first]:
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(name)


def _modules(path: Path) -> list[str]:
    files = sorted(path.rglob("test_*.py")) if path.is_dir() else []
    return [".".join(file.resolve().relative_to(ROOT).with_suffix("").parts) for file in files]
