"""Random bodies in turns, every dialect and provider again and again until the time is over: `make fuzz` (MINUTES=60).

A turn has a house of its own and so many bodies; what it finds ends it with the body that did it. At the end: how many bodies
were tried of each kind, how many were refused, and the four figures that have to be 0.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.attack.random_bills import MODELS, any_bill
from tests.attack.random_bodies import Tally, any_values
from tests.attack.random_dialects import LAWS, any_bill_of
from tests.support.bodies import FULL

Turn = Callable[[Path, int, Tally], None]


@dataclass
class _Kind:
    name: str
    turn: Turn
    tally: Tally
    found: int = 0


def _kinds() -> list[_Kind]:
    wrong = [_Kind(f"values of {name}", partial(any_values, operation=name), Tally()) for name in sorted(FULL)]
    bills = [_Kind(f"bills of {name}", partial(any_bill, provider=name), Tally()) for name in MODELS]
    return wrong + bills + [_Kind(f"bills by {name}", partial(any_bill_of, api=name), Tally()) for name in LAWS]


def _take_turn(kind: _Kind, bodies: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            kind.turn(Path(folder), bodies, kind.tally)
        except Exception:  # a body that was found: said, and the next turn comes all the same
            kind.found += 1
            traceback.print_exc()


def main() -> int:
    """0 where nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--bodies", type=int, default=150, help="of one turn")
    asked = parser.parse_args()
    until = time.monotonic() + 60 * asked.minutes
    kinds = _kinds()
    turns = 0
    while turns < len(kinds) or time.monotonic() < until:  # each kind has one turn at least
        _take_turn(kinds[turns % len(kinds)], asked.bodies)
        turns += 1
    for kind in kinds:
        print(f"{kind.name:28} {kind.tally} found {kind.found}")
    total = sum((kind.tally for kind in kinds), Tally())
    found = sum(kind.found for kind in kinds)
    print(f"{'all':28} {total} found {found} in {turns} turns")
    return 1 if found or total.is_bad else 0


if __name__ == "__main__":
    sys.exit(main())
