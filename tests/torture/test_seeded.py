"""The short form of `python -m tests.torture.seeded`: every bug can still be planted, and some are, and are caught."""

from __future__ import annotations

import pytest

from . import seeded

SOME = (
    "what is reserved does not count",
    "open intents of a crash are forgotten",
)


@pytest.mark.parametrize("bug", seeded.BUGS, ids=lambda bug: bug.name)
def test_a_bug_still_has_its_place(bug: seeded.Bug) -> None:
    assert (seeded.ROOT / bug.file).read_text().count(bug.old) == 1
    assert all((seeded.ROOT / test.partition("::")[0]).exists() for test in bug.tests)


def test_there_are_enough_of_them_and_each_is_another() -> None:
    assert len({bug.name for bug in seeded.BUGS}) == len(seeded.BUGS) >= 25


@pytest.mark.timeout(600)
def test_some_bugs_are_caught() -> None:
    """One after the other in one copy of the tree, whose tests pass without them, once for all."""
    some = [bug for bug in seeded.BUGS if bug.name in SOME]
    assert len(some) == len(SOME)
    assert seeded.run(some) == []


def test_a_bug_without_a_place_is_an_error() -> None:
    with pytest.raises(seeded.SeedError, match="stands 0 times"):
        seeded.plant(seeded.Bug("none", "proxy/exchange/drain.py", "no such text", "", ()), seeded.ROOT)
