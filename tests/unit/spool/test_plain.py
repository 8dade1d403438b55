"""Records that are read into their fields: all that `records` names, and none that is odd. What comes of them, and that it is the
same as what comes of the whole JSON: tests/unit/ledger/entries/test_attempt_rows.py."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.spool import plain, records
from proxy.spool.plain import (
    Common,
    CommonEnd,
    OfIntent,
    OfSettle,
    common_end_of,
    is_said,
    plain_records,
    text_of,
    usage_of,
)
from tests.support.spooled import whole_intent, whole_settle


def read(record: dict[str, Any] | bytes) -> Any:
    found = plain_records([record if isinstance(record, bytes) else orjson.dumps(record)])
    return next((tuple(column[0] for column in some[1:]) for some in found if some.places), None)


def test_every_key_of_a_record_is_a_field() -> None:
    """A key that a record gets must not be passed over in silence."""
    fields = [*OfIntent.__struct_fields__, *Common.__struct_fields__]
    assert sorted(["t", *fields]) == sorted(records.Intent.__annotations__)
    fields = [*OfSettle.__struct_fields__, "cost_lines", *CommonEnd.__struct_fields__]
    assert sorted(["t", *fields]) == sorted(records.Settle.__annotations__)


def test_what_a_data_plane_writes_is_read() -> None:
    intent, end = orjson.dumps(whole_intent()), orjson.dumps(whole_settle())
    begun, ended = plain_records([intent, end])
    assert (begun.places, ended.places) == ([0], [1])
    common, own = begun.common[0], ended.own[0]
    assert (common.customer, text_of(common.labels), text_of(common.untrusted_labels)) == ("c", '{"plan":"pro"}', None)
    assert (usage_of(own.usage), own.duration_ms, is_said(own.stored)) == (
        {"input": 7, "web_search": 2, "output": 3},
        5.5,
        False,
    )
    said = common_end_of(ended.common[0])
    assert said is not None
    assert (said.outcome, said.model, said.price_version) == ("ok", "m2", "v2")


def test_who_says_nothing_of_a_field_is_read_like_who_says_that_it_is_nothing() -> None:
    """As an earlier version did of each."""
    silent = dict.fromkeys(("parent_session_id", "agent", "parent_agent"))
    assert read(whole_intent(**silent)) == read(whole_intent())
    silent = dict.fromkeys(("told_usage", "ttft_ms", "itl_ms_sum"))
    assert read(whole_settle(**silent, itl_count=0)) == read(whole_settle())


def test_what_is_common_is_one_object_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_known", {})
    monkeypatch.setattr(plain, "_MOST_KNOWN", 3)
    begun = [read(whole_intent(id=str(number), key=f"k{number % 2}")) for number in range(4)]
    assert begun[0] is not None
    assert begun[2] is not None
    assert begun[0][0].id != begun[2][0].id
    assert begun[0][1] is begun[2][1]
    for number in range(10):
        read(whole_intent(key=f"k{number}"))
        read(whole_intent(key="k" * 3000 + str(number)))  # names of a client's making
    assert len(plain._known) <= 3
    assert all(len(rest) < 3000 for rest in plain._known)


def test_another_order_is_read_whole() -> None:
    """That of an earlier version, and one in which a label looks like where what is common begins."""
    intent, end = whole_intent(), whole_settle()
    for record in (intent, end):
        turned = {"t": record.pop("t"), **dict(reversed(record.items()))}
        assert read(turned) is None
    tricky = orjson.dumps(whole_intent()).replace(b'"labels":{"plan":"pro"},', b"")
    tricky = tricky.replace(b',"dialect"', b',"labels":{"a":"b","dialect":"c"},"dialect"', 1)
    assert orjson.loads(tricky) == whole_intent(labels={"a": "b", "dialect": "c"})
    assert read(tricky) is None


@pytest.mark.parametrize(
    "fields", [{"attempt": True}, {"attempt": "1"}, {"attempt": 2**63}, {"team": 7}, {"stream": 1}, {"key": "a\x07b"}]
)
def test_what_is_odd_is_not(fields: dict[str, Any]) -> None:
    assert read(whole_intent() | fields) is None
