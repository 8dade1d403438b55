"""What is known of attempts that have no end yet."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.pairing import Pairing
from proxy.spool.frames import Position, Records
from tests.support.spooled import as_read

DEADLINE = 1_000_000_000
MINUTE = 60_000_000


def read(*said: dict[str, Any]) -> Records:
    return as_read(map(orjson.dumps, said))


def intent(number: int, deadline_at: int) -> dict[str, Any]:
    return {"t": "intent", "id": f"a{number}", "started_at": 0, "deadline_at": deadline_at}


def test_attempts_without_an_end_are_overdue_a_minute_after_their_deadline() -> None:
    pairing, batch = Pairing("i", Position(0, 0)), Batch()
    pairing.take(read(intent(1, DEADLINE), intent(2, DEADLINE + 5), intent(3, DEADLINE + MINUTE)), batch)

    assert pairing.overdue(DEADLINE + MINUTE - 1) == 0
    assert pairing.overdue(DEADLINE + MINUTE) == 1
    assert pairing.overdue(DEADLINE + MINUTE + 5) == 2

    pairing.take(read({"t": "void", "id": "a1", "ended_at": 1, "outcome": "cut"}), batch)

    assert pairing.overdue(DEADLINE + MINUTE + 5) == 1


def test_an_intent_that_says_no_deadline_is_not_overdue() -> None:
    pairing = Pairing("i", Position(0, 0))
    pairing.take(read({"t": "intent", "id": "a1"}), Batch())

    assert pairing.overdue(10**18) == 0


def test_in_flight_is_what_holds_a_reservation_as_it_stands() -> None:
    pairing, budgets = Pairing("i", Position(0, 0)), [["day", "", 0, "usd", 9]]
    held = {"t": "intent", "reserved_nanousd": 9, "budgets": budgets}
    pairing.take(read(*(held | {"id": f"a{number}"} for number in range(1, 6))), Batch())
    less = {"reserved_nanousd": 4, "budgets": [["day", "", 0, "usd", 4]]}
    told: list[dict[str, Any]] = [
        {"t": "waiting", "id": "a1"},
        {"t": "void", "id": "a2", "ended_at": 1, "outcome": "cut"},
        {"t": "waiting", "id": "a3"},
        {"t": "reserved", "id": "a3", **less},
        {"t": "expired", "id": "a4", "at": 1},
    ]
    pairing.take(read(*told), Batch())

    assert {intent["id"]: intent["reserved_nanousd"] for intent in pairing.in_flight()} == {"a3": 4, "a5": 9}


def test_what_is_in_flight_is_looked_for_once_however_many_have_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(set[str]):
        joined = 0

        def __or__(self, other: Any) -> Any:
            Counted.joined += 1
            return super().__or__(other)

    pairing = Pairing("i", Position(0, 0))
    pairing.take(read(*({"t": "intent", "id": f"a{number}"} for number in range(1, 9))), Batch())
    monkeypatch.setattr(pairing, "_waiting", Counted({"a1"}))
    monkeypatch.setattr(pairing, "_expired", Counted({"a2"}))

    assert len(pairing.in_flight()) == 6
    assert Counted.joined <= 1
