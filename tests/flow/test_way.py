"""A call goes the way that proxy/README.md says: through the files of its table, in the table's order."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import pytest

from tests.flow.house import Build, whole
from tests.support.native import IS_NATIVE

ROOT = Path(__file__).parents[2]
TABLE = (
    (ROOT / "proxy/README.md").read_text(encoding="utf-8").partition("## A call's way through")[2].partition("\n## ")[0]
)
STEPS = ("identify", "parse", "route", "attribute", "plan", "intend", "guard", "reserve", "forward", "answer", "price")

# Files of the table that other calls go through: another store, a stream, a ceiling that does not fit, a real connection.
OF_OTHER_CALLS = {
    "proxy/budgets/redis/store.py", "proxy/exchange/stream.py", "proxy/exchange/gate.py", "proxy/exchange/tighten.py",
    "proxy/upstream/pool.py", "proxy/upstream/outbox.py",
}  # fmt: skip


def listed() -> Mapping[str, Sequence[str]]:
    """The table's steps, each with its files below the repository's root."""
    rows = [line.split("|") for line in TABLE.splitlines() if line.startswith("| ")]
    steps = {}
    for _, step, files, _ in rows:
        (name,) = [one for one in STEPS if step.strip().startswith(one)] or [""]
        paths = re.findall(r"`([\w/]+\.py)`", files)
        if name:
            steps[name] = [path if path.startswith("pricing/") else f"proxy/{path}" for path in paths]
    return steps


@pytest.mark.skipif(IS_NATIVE, reason="machine code: Python is not told which files a call enters")
async def test_a_call_goes_through_the_listed_files_in_their_order(build: Build) -> None:
    house = build(
        budgets=[{"name": "b", "limit_usd": "1", "window": "day"}],
        guards={"max_requests": 5, "max_usd_per_minute": "1"},
    )
    entered: dict[str, int] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT):
            entered.setdefault(str(path.relative_to(ROOT)), len(entered))

    sys.setprofile(note)
    try:
        told = await house.ask(whole())
    finally:
        sys.setprofile(None)

    assert told.status == 200
    steps = listed()
    assert tuple(steps) == STEPS
    assert [path for paths in steps.values() for path in paths if path not in entered.keys() | OF_OTHER_CALLS] == []
    earlier = {path for path, place in entered.items() if place < entered["proxy/exchange/run.py"]}
    first = []
    for paths in steps.values():
        first.append(next(entered[path] for path in paths if path in entered and path not in earlier))
        earlier.update(paths)
    assert first == sorted(first)
