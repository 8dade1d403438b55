"""Entries column by column come to the entries themselves, in the order of their ends, however many reads they came in."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import orjson
import pytest

from proxy.ledger.entries.entry import Entry, Shipped, as_shipped, joined
from proxy.ledger.recording.batch import Batch, Lately, call_ends
from proxy.ledger.recording.pairing import Pairing
from tests.support.made_up import made_up
from tests.support.spooled import as_read
from tests.unit.ledger.entries.test_attempt_rows import whole_intent, whole_settle


def named(entries: Sequence[Entry]) -> list[str]:
    return [entry.row.id for entry in entries]


@pytest.fixture
def some() -> list[Entry]:
    return list(made_up(40))[:40]


def test_they_come_back_as_they_went_in(some: list[Entry]) -> None:
    shipped = as_shipped(some)
    assert list(shipped) == some
    assert shipped[3] == some[3]
    assert list(shipped[5:9]) == some[5:9]
    assert shipped.column("id") == tuple(entry.row.id for entry in some)
    assert list(joined([shipped[:7], as_shipped(()), shipped[7:]])) == some
    assert [*joined([])] == [*as_shipped(())] == []


def test_what_they_have_in_common_is_that_of_their_rows(some: list[Entry]) -> None:
    both = joined([as_shipped(some), as_shipped(some)])
    for entry, alike in zip(both, both.alike, strict=True):
        assert (entry.row.kind, entry.row.client) == (alike.values[0], alike.values[-1])


def test_a_batch_keeps_the_order_of_its_ends(some: list[Entry]) -> None:
    batch = Batch(some[:2])
    batch.add_all(as_shipped(some[2:10]))
    batch.add(some[10])
    assert batch.count == len(batch.entries) == 11
    batch.add(some[11])
    batch.add_all(as_shipped(some[12:]))
    assert named(batch.entries) == named(some)
    assert batch.count == len(some)


@pytest.mark.parametrize("most", [0, 1, 5, 39, 40, 100])
def test_the_last_are_the_last(some: list[Entry], most: int) -> None:
    lately = Lately(most)
    for part in (some[:1], some[1:20], some[20:20], some[20:38], some[38:]):
        lately.note(part)
    assert list(lately) == (call_ends(some)[-most:] if most else [])


def test_who_remembers_how_a_call_ended_does_not_hold_its_entry(some: list[Entry]) -> None:
    lately, shipped = Lately(9), as_shipped(some)
    lately.note(shipped)
    entries = weakref.ref(shipped)
    del shipped
    assert entries() is None
    end = list(lately)[-1]
    assert (end.id, end.status, end.budgets) == (some[-1].row.id, some[-1].row.status, some[-1].budgets)


def test_of_ends_that_are_read_again_only_new_ones_count() -> None:
    pairs = [(whole_intent(id=f"a{at}"), whole_settle(id=f"a{at}")) for at in range(4)]
    payloads = [orjson.dumps(record) for pair in pairs for record in pair]
    records = as_read(payloads)
    pairing, batch = Pairing("i", records[3].end_position, lately=9), Batch()
    pairing.take(records, batch)
    assert named(batch.entries) == ["a2", "a3"]
    assert [end.id for end in pairing.lately] == ["a0", "a1", "a2", "a3"]


def test_a_column_can_be_another(some: list[Entry]) -> None:
    shipped: Shipped = as_shipped(some).with_column("capacity", ["c"] * len(some))
    assert list(shipped) == [entry.with_row(entry.row._replace(capacity="c")) for entry in some]
