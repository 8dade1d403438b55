"""The row of one attempt: the quick way to it and the thorough one come to the same, whatever the records say."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pytest

from proxy.ledger.entries import attempt_rows
from proxy.ledger.entries.entry import Entry, entry_of
from proxy.ledger.recording.batch import Batch, CallEnd, Leased, call_ends
from proxy.ledger.recording.pairing import Pairing
from proxy.spool.frames import Position, Records
from proxy.spool.plain import Part, plain_records
from tests.support.spooled import AT, as_read, whole_intent, whole_settle

_GONE = object()
_ODD: tuple[Any, ...] = (
    _GONE, None, True, False, 0, 1, 1.0, 1.5, -1, 2**53, 2**53 + 1, -(2**60), "", "x", [], ["x"], {}, {"x": 1}, {"input": 1},
)  # fmt: skip


_LEASED: dict[str, Any] = {"epoch": "e", "lease": [3, 1], "job": None, "stored": None}


def records_with_odd_values() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each field of each record with each odd value."""
    for number, value in itertools.product(range(2), _ODD):
        for name in (whole_intent(traceparent="00-1"), whole_settle(**_LEASED))[number]:
            pair = [whole_intent(traceparent="00-1"), whole_settle(**_LEASED)]
            if name == "t":
                continue
            pair[number].pop(name)
            if value is not _GONE:
                pair[number][name] = value
            yield pair[0], pair[1]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_rows, "_kinds", {})


def taken(intent: dict[str, Any], end: dict[str, Any]) -> tuple[Pairing, Batch]:
    """What comes of the two records."""
    return taken_as_written([orjson.dumps(intent), orjson.dumps(end)])


def taken_as_written(payloads: Iterable[bytes]) -> tuple[Pairing, Batch]:
    pairing, batch = Pairing("i", Position(0, 0), lately=5), Batch()
    pairing.take(as_read(payloads), batch)
    return pairing, batch


def listed(leased: Iterable[Leased]) -> list[Leased]:
    return [each._replace(budgets=list(each.budgets)) for each in leased]


def plainly(end: CallEnd) -> CallEnd:
    return end._replace(budgets=list(map(tuple, end.budgets)))  # type: ignore[arg-type]


def exactly(entry: Entry) -> list[tuple[type, Any]]:
    """Its row with the types of the values, its amounts, and what the metrics look at beside them."""
    said = entry.end.get("cost_lines") or []
    if entry.parts is not None:
        said = orjson.loads(entry.row.cost_lines or "[]")
        assert list(entry.parts) == [Part(line["unit"], float(line["cost_usd"])) for line in said]
    named = [entry.end.get(name) for name in ("epoch", "stored", "stored_model", "job")]
    named.append((entry.end.get("itl_count") and (entry.end.get("itl_ms_sum"), entry.end.get("itl_count"))) or None)
    flags = entry.end.get("flags") or []
    beside = [list(map(tuple, entry.budgets)), said, list(flags) if isinstance(flags, list | tuple) else flags, *named]
    return [(type(value), value) for value in (*entry.row, *beside)]


def test_a_data_planes_records_take_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    intent, end = whole_intent(), whole_settle()
    expected = entry_of(intent, end, "i")  # type: ignore[arg-type]
    monkeypatch.setattr("proxy.ledger.recording.pairing.entry_of", None)  # not asked

    pairing, batch = taken(intent, end)

    assert [exactly(entry) for entry in batch.entries] == [exactly(expected)]
    assert (pairing.in_flight(), list(pairing.lately)) == ([], call_ends(batch.entries))
    row = batch.entries[0].row
    assert (row.input_tokens, row.output_tokens, row.usage) == (7, 3, '{"web_search":2}')
    assert (row.model, row.price_version) == ("m2", "v2")


@pytest.mark.parametrize(
    "fields",
    [
        {"stored": ["d" * 32], "stored_model": "m", "stored_facts": {"a": 1}},
        {"stored": None, "job": None, "epoch": None},
        {"itl_ms_sum": 7.5, "itl_count": 3, "ttft_ms": 1},
        {"usage": {"input": 3, "cache_read": 2, "cache_write_1h": 4, "output": 5, "reasoning": 6}},
        {"usage": {}, "budgets": []},
        {"budgets": [["b", "", 0, "usd", 400], ["c", "g", 7, "tokens", 9]]},
        {"cost_nanousd": None, "cost_lines": None, "price_version": None, "flags": []},
        {"epoch": "e", "lease": [3, 1]},
        {"epoch": "e", "lease": [3, 1], "stored": ["d" * 32], "stored_model": "m"},
    ],
)
def test_what_else_an_end_may_say_is_not_lost(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> None:
    intent, end = whole_intent(), whole_settle(**fields)
    expected = entry_of(intent, end, "i")  # type: ignore[arg-type]
    monkeypatch.setattr("proxy.ledger.recording.pairing.entry_of", None)

    pairing, batch = taken(intent, end)

    assert [exactly(entry) for entry in batch.entries] == [exactly(expected)]
    assert [(each.id, each.report, each.epoch) for each in pairing.leased] == [("a", 3, "e")] * ("lease" in fields)


def test_both_ways_come_to_the_same_whatever_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    for intent, end in records_with_odd_values():
        with monkeypatch.context() as patched:
            patched.setattr("proxy.ledger.recording.pairing.plain_records", lambda payloads: plain_records([]))
            thorough, expected = taken(intent, end)

        pairing, batch = taken(intent, end)

        assert list(map(exactly, batch.entries)) == list(map(exactly, expected.entries)), (intent, end)
        assert batch.unreadable == expected.unreadable
        assert len(pairing.in_flight()) == len(thorough.in_flight())
        assert listed(pairing.leased) == listed(thorough.leased)
        count += 1
    assert count > 900


@pytest.mark.parametrize(
    "text", [b'"\xff"', b'{"a":"\xff"}', b'[["b","\xed\xa0\x80",0,"usd",400]]', b"", b"[" * 3000 + b"]" * 3000]
)
def test_what_nobody_can_read_is_kept_in_either_way(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """In the place of any field: bytes that are no text, none at all, and JSON that is too deep for a reader."""
    for number, name in [(0, name) for name in whole_intent()] + [(1, name) for name in whole_settle(**_LEASED)]:
        records = [whole_intent(), whole_settle(**_LEASED)]
        records[number][name] = "HERE"
        payloads = [orjson.dumps(record).replace(b'"HERE"', text) for record in records]
        with monkeypatch.context() as patched:
            patched.setattr("proxy.ledger.recording.pairing.plain_records", lambda payloads: plain_records([]))
            thorough, expected = taken_as_written(payloads)

        pairing, batch = taken_as_written(payloads)

        assert batch.unreadable == expected.unreadable != [], name
        assert list(map(exactly, batch.entries)) == list(map(exactly, expected.entries)), name
        assert pairing.in_flight() == thorough.in_flight(), name


def test_records_taken_together_come_to_what_each_comes_to() -> None:
    """Odd ones among ordinary ones, of one read."""
    pairs = [(whole_intent(id=f"w{at}"), whole_settle(id=f"w{at}")) for at in range(3)]
    pairs += [
        ({**intent, "id": f"a{at}"} if "id" in intent else intent, {**end, "id": f"a{at}"} if "id" in end else end)
        for at, (intent, end) in enumerate(itertools.islice(records_with_odd_values(), 0, None, 7))
        if intent.get("id") == end.get("id") == "a"
    ]
    random.Random(7).shuffle(pairs)
    payloads = [orjson.dumps(record) for pair in pairs for record in pair]
    payloads += [payloads[1], b"{", orjson.dumps(whole_settle(id="w1")), orjson.dumps(whole_intent(id="w2"))]  # again
    shipped = as_read(payloads)
    together, singly = Batch(), Batch()
    pairing = Pairing("i", Position(0, 0), lately=5)
    pairing.take(shipped, together)
    one_by_one = Pairing("i", Position(0, 0), lately=5)
    for at, payload in enumerate(shipped.payloads):
        one_by_one.take(Records([payload], 0, shipped.bounds[at : at + 2]), singly)

    assert len(singly.entries) > 100
    assert list(map(exactly, together.entries)) == list(map(exactly, singly.entries))
    assert together.unreadable == singly.unreadable
    assert len(pairing.in_flight()) == len(one_by_one.in_flight())
    assert pairing.resume_at(Position(9, 0)) == one_by_one.resume_at(Position(9, 0))
    assert list(map(plainly, pairing.lately)) == list(map(plainly, one_by_one.lately))


@pytest.mark.parametrize(
    ("name", "text"),
    [("labels", b'{"a":"\\ud800"}'), ("labels", b'{"a":"\xff"}'), ("key", b'"\\ud800"'), ("agent", b'"\xff"')],
)
def test_what_is_no_text_is_no_row(name: str, text: bytes) -> None:
    """A JSON that nobody can read again would stop every report of its day."""
    plain = orjson.dumps(whole_intent() | {name: "HERE"}).replace(b'"HERE"', text)
    pairing, batch = Pairing("i", Position(0, 0)), Batch()
    pairing.take(as_read([plain, orjson.dumps(whole_settle())]), batch)

    assert [record.payload for record in batch.unreadable] == [plain, orjson.dumps(whole_settle())]
    assert batch.entries == []


def test_a_number_that_is_none_costs_no_call_its_entry() -> None:
    """It passes where nobody looks at it, and not where all of the INTENT is read."""
    plain = orjson.dumps(whole_intent() | {"labels": 77}).replace(b"77", b'{"a":1e999}')
    pairing, batch = Pairing("i", Position(0, 0)), Batch()
    pairing.take(as_read([plain]), batch)
    pairing.crashed(batch, AT)
    assert [(entry.row.cost_nanousd, entry.row.key, entry.row.labels) for entry in batch.entries] == [(1000, "k", None)]


def test_an_open_intent_is_whole_where_it_is_asked_for() -> None:
    """Refused, expired, reserved after a wait, crashed: none of them is plain, and each looks at its INTENT."""
    kinds: list[tuple[dict[str, Any], Any]] = [
        (
            {"t": "refused", "id": "a", "at": 1, "reason": "x", "budget": None},
            lambda b: b.refusals[0].session_id == "r",
        ),
        ({"t": "expired", "id": "a", "at": 1, "epoch": "e"}, lambda b: b.entries[0].row.cost_nanousd == 1000),
        ({"t": "void", "id": "a", "ended_at": 1, "outcome": "cut"}, lambda b: b.entries[0].row.status == "void"),
    ]
    for record, holds in kinds:
        assert holds(taken(whole_intent(id="a"), record)[1]), record
    pairing, batch = taken(whole_intent(id="a"), {"t": "reserved", "id": "a", "reserved_nanousd": 7, "budgets": []})
    assert pairing.open_since(["u"]) == AT
    assert pairing.overdue(AT + 10**9) == 1
    pairing.crashed(batch, AT)
    assert [(entry.row.cost_nanousd, entry.row.outcome) for entry in batch.entries] == [(7, "crashed")]


def test_what_calls_have_in_common_is_one_object_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_rows, "_MOST_KNOWN", 3)
    rows = [taken(whole_intent(key=f"k{number % 2}"), whole_settle())[1].entries[0].row for number in range(4)]

    assert rows[0].key is rows[2].key
    assert rows[1].key is rows[3].key
    for number in range(10):
        taken(whole_intent(key=f"k{number}"), whole_settle())
    assert len(attempt_rows._kinds) <= 3


def test_long_names_of_a_clients_making_are_not_kept() -> None:
    intent = whole_intent(model_requested="m" * 100_000)
    assert len(taken(intent, whole_settle())[1].entries[0].row.model_requested or "") == 100_000
    assert not attempt_rows._kinds
