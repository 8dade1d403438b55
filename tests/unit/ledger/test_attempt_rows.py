"""The row of one attempt: the quick way to it and the thorough one come to the same, whatever the records say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.ledger import attempt_rows
from proxy.ledger.attempt_rows import any_row, attempt_row
from proxy.ledger.row import Row
from proxy.ledger.sound import is_sound
from tests.support.spooled import AT, IDS

_GONE = object()
_ODD: tuple[Any, ...] = (
    _GONE, None, True, False, 0, 1, 1.0, 1.5, -1, 2**53, 2**53 + 1, -(2**60), "", "x", [], ["x"], {}, {"x": 1}, {"input": 1},
)  # fmt: skip


def whole_intent(**fields: Any) -> dict[str, Any]:
    """As a data plane writes it."""
    return {
        "t": "intent", "id": IDS.new(AT), "request_id": "r", "attempt": 1, "started_at": AT, "deadline_at": AT + 60,
        "dialect": "openai.chat", "operation": "chat", "stream": False, "upstream": "u", "provider": "p",
        "model_requested": "m", "model": "m", "key": "k", "key_id": "d1", "team": "t", "user": None, "customer": "c",
        "labels": {"plan": "pro"}, "untrusted_labels": {}, "session_id": "r", "session_source": "none",
        "parent_session_id": None, "root_session_id": "r", "agent": None, "parent_agent": None, "client": "other",
        "reserved_nanousd": 1000, "budgets": [["b", "", 0, "usd", 1000]], "price_version": "v1",
    } | fields  # fmt: skip


def whole_settle(**fields: Any) -> dict[str, Any]:
    return {
        "t": "settle", "id": "a", "ended_at": AT + 5, "status": "settled", "outcome": "ok", "http_status": 200, "model": "m2",
        "service_tier": None, "usage": {"input": 7, "web_search": 2, "output": 3}, "told_usage": None,
        "usage_source": "provider", "cost_nanousd": 400, "cost_source": "computed", "flags": ["partial"],
        "budgets": [["b", "", 0, "usd", 400]], "ttft_ms": None, "duration_ms": 5.5, "overhead_ms": 1.5, "itl_ms_sum": None,
        "itl_count": 0, "upstream_request_id": "up", "cost_lines": [{"unit": "input", "cost_usd": "0.0000004"}],
        "price_version": "v2", "provider_cost_nanousd": 17,
    } | fields  # fmt: skip


def records_with_odd_values() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each field of each record with each odd value."""
    for number, value in itertools.product(range(2), _ODD):
        for name in (whole_intent(traceparent="00-1"), whole_settle())[number]:
            pair = [whole_intent(traceparent="00-1"), whole_settle()]
            if name in ("t", "usage"):  # a kind is chosen by it; what is no mapping raises, as before
                continue
            pair[number].pop(name)
            if value is not _GONE:
                pair[number][name] = value
            yield pair[0], pair[1]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_rows, "_kinds", {})


def exactly(row: Row) -> list[tuple[type, Any]]:
    return [(type(value), value) for value in row]


def test_a_data_planes_records_take_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    intent, end = whole_intent(), whole_settle()
    expected = any_row(intent, end, end["budgets"], "i")
    monkeypatch.setattr(attempt_rows, "any_row", None)  # not asked

    row, fits = attempt_row(intent, end, end["budgets"], "i")

    assert fits
    assert exactly(row) == exactly(expected)
    assert (row.input_tokens, row.output_tokens, row.usage) == (7, 3, '{"web_search":2}')
    assert (row.model, row.price_version) == ("m2", "v2")


def test_both_ways_come_to_the_same_row_whatever_is_said() -> None:
    for seen in (whole_settle(), whole_settle(http_status=1), whole_settle(http_status=None)):  # kinds that are known
        attempt_row(whole_intent(), seen, (), "i")
    count = 0
    for intent, end in records_with_odd_values():
        budgets = end.get("budgets")
        expected = any_row(intent, end, budgets, "i")

        row, fits = attempt_row(intent, end, budgets, "i")

        assert exactly(row) == exactly(expected), (intent, end)
        assert fits is is_sound(expected), (intent, end)
        count += 1
    assert count > 900


def test_what_calls_have_in_common_is_one_object_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_rows, "_MOST_KNOWN", 3)
    rows = [
        attempt_row(whole_intent(key="".join(["k", str(number % 2)])), whole_settle(), (), "i")[0]
        for number in range(4)
    ]

    assert rows[0].key is rows[2].key
    assert rows[1].key is rows[3].key
    for number in range(10):
        attempt_row(whole_intent(key=f"k{number}"), whole_settle(), (), "i")
    assert len(attempt_rows._kinds) <= 3
