"""What is known of attempts that have no end yet."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.ledger.entries import Batch, Pairing
from proxy.spool.frames import Position, Record

DEADLINE = 1_000_000_000
MINUTE = 60_000_000


def record(number: int, **value: Any) -> Record:
    return Record(orjson.dumps(value), 0, number * 100, number * 100 + 99)


def intent(number: int, deadline_at: int) -> Record:
    return record(number, t="intent", id=f"a{number}", started_at=0, deadline_at=deadline_at)


def test_attempts_without_an_end_are_overdue_a_minute_after_their_deadline() -> None:
    pairing, batch = Pairing("i", Position(0, 0)), Batch()
    pairing.take([intent(1, DEADLINE), intent(2, DEADLINE + 5), intent(3, DEADLINE + MINUTE)], batch)

    assert pairing.overdue(DEADLINE + MINUTE - 1) == 0
    assert pairing.overdue(DEADLINE + MINUTE) == 1
    assert pairing.overdue(DEADLINE + MINUTE + 5) == 2

    pairing.take([record(4, t="void", id="a1", ended_at=1, outcome="cut")], batch)

    assert pairing.overdue(DEADLINE + MINUTE + 5) == 1


def test_an_intent_that_says_no_deadline_is_not_overdue() -> None:
    pairing = Pairing("i", Position(0, 0))
    pairing.take([record(1, t="intent", id="a1")], Batch())

    assert pairing.overdue(10**18) == 0
