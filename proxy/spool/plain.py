"""Quick reading of the two records that nearly every call has: only the fields that are needed.

`records` says what each field means. Only the recorder reads records in this way: where one is odd (of an earlier version, or
damaged, or of a job), or says what has no field here, it is read whole, as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

_R = TypeVar("_R", bound=Struct)
_Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Number = float | _Integer | None
_NULL, _EMPTY_LIST = Raw(b"null"), Raw(b"[]")  # what is raw equals only what is raw
_EMPTY = frozenset(("null", "{}", "[]", '""', "0", "false"))
_LONGEST_EMPTY = 5

INTENT_BEGINS, SETTLE_BEGINS = b'{"t":"intent",', b'{"t":"settle",'


class Intent(Struct, gc=False, frozen=True):
    """`records.Intent`, every key that a data plane writes."""

    id: str
    request_id: str
    attempt: _Integer
    started_at: _Integer
    deadline_at: _Integer
    dialect: str | None
    operation: str | None
    stream: bool | None
    upstream: str | None
    provider: str | None
    model_requested: str | None
    model: str | None
    key: str | None
    key_id: str | None
    team: str | None
    user: str | None
    customer: str | None
    labels: Raw
    untrusted_labels: Raw
    session_id: str | None
    session_source: str | None
    parent_session_id: str | None
    root_session_id: str | None
    agent: str | None
    parent_agent: str | None
    client: str | None
    reserved_nanousd: _Integer | None
    budgets: Raw
    price_version: str | None
    traceparent: str | None = None


class Settle(Struct, gc=False, frozen=True):
    """`records.Settle`. job, stored: only whether they are there."""

    id: str
    ended_at: _Integer
    status: str
    outcome: str
    http_status: _Integer | None
    model: str | None
    service_tier: str | None
    usage: dict[str, _Integer | float | str]
    told_usage: Raw
    usage_source: str | None
    cost_nanousd: _Integer | None
    cost_source: str | None
    flags: Raw
    budgets: Raw
    ttft_ms: _Number
    duration_ms: _Number
    overhead_ms: _Number
    itl_ms_sum: _Number
    itl_count: _Integer | None
    upstream_request_id: str | None
    cost_lines: Raw = _NULL
    price_version: str | None = None
    provider_cost_nanousd: _Integer | None = None
    epoch: str | None = None
    lease: Raw = _NULL
    job: Raw = _NULL
    stored: Raw = _NULL


class Line(Struct, gc=False, frozen=True):
    """The part of a cost line that the metrics need."""

    unit: str
    cost_usd: str


_intent = msgspec.json.Decoder(Intent)
_settle = msgspec.json.Decoder(Settle)
_lines = msgspec.json.Decoder(list[Line])
_amounts = msgspec.json.Decoder(list[tuple[str, str, _Integer, str, _Integer]])
_lease = msgspec.json.Decoder(tuple[_Integer | None, _Integer | None])
_flags = msgspec.json.Decoder(list[str])


def intent_of(payload: bytes) -> Intent | None:
    """The plain INTENT in a record; None where the record has less, or other fields."""
    return _read(_intent, payload)


def settle_of(payload: bytes) -> Settle | None:
    return _read(_settle, payload)


def is_said(raw: Raw) -> bool:
    return raw != _NULL


def lines_of(raw: Raw) -> Sequence[Line]:
    """The lines of a cost. Raises ValueError where they are none."""
    return () if raw == _NULL else _lines.decode(raw)


def amounts_of(raw: Raw) -> list[Any]:
    """`records.Amounts`. Raises ValueError where they are none."""
    return _amounts.decode(raw)


def lease_of(raw: Raw) -> tuple[int | None, int | None]:
    """The report that tells of an end, and the last that was heard. Raises ValueError where it is none."""
    return _lease.decode(raw)


def flags_of(raw: Raw) -> Sequence[str]:
    """Raises ValueError where they are none."""
    return () if raw == _EMPTY_LIST else _flags.decode(raw)


def text_of(raw: Raw) -> str | None:
    """What stands there as JSON, as `json_text` has it."""
    text = str(raw, "utf-8")
    return None if len(text) <= _LONGEST_EMPTY and text in _EMPTY else text


def _read(decoder: msgspec.json.Decoder[_R], payload: bytes) -> _R | None:
    """What is taken as it stands is looked at for text that no other reader takes: half a pair, bytes that are no UTF-8."""
    if payload.find(b"\\") >= 0 and payload.find(b"\\u") >= 0:  # one byte is found ten times as fast as two
        return None
    try:
        if not payload.isascii():
            payload.decode()
        return decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError):
        return None
