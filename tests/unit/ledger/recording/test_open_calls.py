"""What the recorder holds of a call that runs on is that call's alone, whatever was read with it."""

from __future__ import annotations

import gc
import tracemalloc

import orjson
import pytest

from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.pairing import Pairing
from proxy.spool.frames import Position
from tests.support.spooled import as_read
from tests.unit.ledger.entries.test_attempt_rows import whole_intent, whole_settle

MANY = 300


def payloads(reads: int) -> list[list[bytes]]:
    """Many calls, all of which end but for one, in one read or in two."""
    names = [f"a{number}" for number in range(MANY)]
    begun = [orjson.dumps(whole_intent(id=name)) for name in names]
    ended = [orjson.dumps(whole_settle(id=name)) for name in names if name != "a7"]
    return [begun + ended] if reads == 1 else [begun, ended]


def take(pairing: Pairing, reads: int) -> int:
    """How many bytes were read of what began."""
    said = payloads(reads)
    for each in said:
        pairing.take(as_read(each), Batch())
    return sum(map(len, said[0][:MANY]))


@pytest.mark.parametrize("reads", [1, 2])
def test_an_open_call_holds_nothing_of_those_it_was_read_with(reads: int) -> None:
    take(Pairing("i", Position(0, 0)), reads)  # what is remembered once
    tracemalloc.start()
    try:
        pairing = Pairing("i", Position(0, 0))
        size = take(pairing, reads)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert [intent["id"] for intent in pairing.in_flight()] == ["a7"]
    assert held < size / 10
