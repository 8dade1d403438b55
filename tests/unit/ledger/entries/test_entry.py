"""What is known of attempts that have no end yet."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.pairing import Pairing
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


def test_in_flight_is_what_holds_a_reservation_as_it_stands() -> None:
    pairing, budgets = Pairing("i", Position(0, 0)), [["day", "", 0, "usd", 9]]
    held = [record(number, t="intent", id=f"a{number}", reserved_nanousd=9, budgets=budgets) for number in range(1, 6)]
    pairing.take(held, Batch())
    less = {"reserved_nanousd": 4, "budgets": [["day", "", 0, "usd", 4]]}
    told = [
        record(6, t="waiting", id="a1"),
        record(7, t="void", id="a2", ended_at=1, outcome="cut"),
        record(8, t="waiting", id="a3"),
        record(9, t="reserved", id="a3", **less),
        record(10, t="expired", id="a4", at=1),
    ]
    pairing.take(told, Batch())

    assert {intent["id"]: intent["reserved_nanousd"] for intent in pairing.in_flight()} == {"a3": 4, "a5": 9}


def test_what_is_in_flight_is_looked_for_once_however_many_have_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(set[str]):
        joined = 0

        def __or__(self, other: Any) -> Any:
            Counted.joined += 1
            return super().__or__(other)

    pairing = Pairing("i", Position(0, 0))
    pairing.take([record(number, t="intent", id=f"a{number}") for number in range(1, 9)], Batch())
    monkeypatch.setattr(pairing, "_waiting", Counted({"a1"}))
    monkeypatch.setattr(pairing, "_expired", Counted({"a2"}))

    assert len(pairing.in_flight()) == 6
    assert Counted.joined <= 1
