"""Records that are read into their fields: all that `records` names, and none that is odd. What comes of them, and that it is the
same as what comes of the whole JSON: tests/unit/ledger/test_attempt_rows.py."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.spool import records
from proxy.spool.plain import INTENT_BEGINS, SETTLE_BEGINS, Intent, Settle, intent_of, is_said, settle_of, text_of
from tests.support.spooled import whole_intent, whole_settle


def test_every_key_of_a_record_is_a_field() -> None:
    """A key that a record gets must not be passed over in silence."""
    assert {"t", *Intent.__struct_fields__} == set(records.Intent.__annotations__)
    looked_up = {"stored_model", "stored_facts"}  # with `stored`, in the whole record
    assert {"t", *Settle.__struct_fields__, *looked_up} == set(records.Settle.__annotations__)


def test_what_a_data_plane_writes_is_read() -> None:
    intent, end = orjson.dumps(whole_intent()), orjson.dumps(whole_settle())
    assert intent.startswith(INTENT_BEGINS)
    assert end.startswith(SETTLE_BEGINS)
    begun, ended = intent_of(intent), settle_of(end)
    assert begun is not None
    assert ended is not None
    assert (begun.customer, text_of(begun.labels), text_of(begun.untrusted_labels)) == ("c", '{"plan":"pro"}', None)
    assert (ended.usage, ended.duration_ms, is_said(ended.stored)) == (
        {"input": 7, "web_search": 2, "output": 3},
        5.5,
        False,
    )


@pytest.mark.parametrize(
    "fields", [{"attempt": True}, {"attempt": "1"}, {"attempt": 2**63}, {"team": 7}, {"stream": 1}, {"key": "a\x07b"}]
)
def test_what_is_odd_is_not(fields: dict[str, Any]) -> None:
    assert intent_of(orjson.dumps(whole_intent() | fields)) is None
