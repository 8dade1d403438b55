"""Quick reading of the two records that nearly every call has: only the fields that are needed.

`records` says what each field means. Each of the two ends with what many calls have in common: that is read once for all whose
bytes are the same there. Only the recorder reads records in this way: where one is odd (of an earlier version, damaged), or
says what has no field here, it is read whole, as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
import orjson
from msgspec import Meta, Raw, Struct

_R = TypeVar("_R")
_Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Sum = Annotated[int, Meta(ge=-(2**53), le=2**53)]  # what can be added up: `ledger.row_checks.MOST`
_Number = float | _Integer | None
_NULL, _EMPTY_LIST = Raw(b"null"), Raw(b"[]")  # what is raw equals only what is raw
_EMPTY = frozenset(("null", "{}", "[]", '""', "0", "false"))
_LONGEST_EMPTY = 5
_NO_END = b"\0"  # which stands in no JSON

INTENT_BEGINS, SETTLE_BEGINS = b'{"t":"intent",', b'{"t":"settle",'
INTENT_COMMON, SETTLE_COMMON = b',"dialect":', b',"status":'  # where what is common begins
_MOST_KNOWN, _MOST_BYTES = 1024, 2000


class OfIntent(Struct, gc=False, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="intent"):
    """`records.Intent`: what an attempt says of itself."""

    id: str
    request_id: str
    attempt: _Integer
    started_at: _Integer
    deadline_at: _Integer
    session_id: str | None
    session_source: str | None
    root_session_id: str | None
    reserved_nanousd: _Sum | None
    budgets: Raw
    parent_session_id: str | None = None
    agent: str | None = None
    parent_agent: str | None = None
    traceparent: str | None = None


class Common(Struct, gc=False, frozen=True, eq=False, forbid_unknown_fields=True):
    """`records.Intent`: what it says as others do. One object for all of them, and equal to no other."""

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
    client: str | None
    price_version: str | None


class OfSettle(Struct, gc=False, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="settle"):
    """`records.Settle`: what an end says of itself. job, stored: only whether they are there."""

    id: str
    ended_at: _Integer
    usage: Raw
    cost_nanousd: _Sum | None
    budgets: Raw
    duration_ms: _Number
    overhead_ms: _Number
    told_usage: Raw = _NULL
    ttft_ms: _Number = None
    itl_ms_sum: _Number = None
    itl_count: _Integer | None = 0
    upstream_request_id: str | None = None
    cost_lines: Raw = _NULL
    provider_cost_nanousd: _Sum | None = None
    epoch: str | None = None
    lease: Raw = _NULL
    job: Raw = _NULL
    stored: Raw = _NULL
    stored_model: Raw = _NULL
    stored_facts: Raw = _NULL


class CommonEnd(Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    """`records.Settle`: what it says as others do."""

    status: str
    outcome: str
    http_status: _Integer | None
    model: str | None
    service_tier: str | None
    usage_source: str | None
    cost_source: str | None
    flags: Raw
    price_version: str | None = None


class Line(Struct, gc=False, frozen=True):
    """The part of a cost line that the metrics need."""

    unit: str
    cost_usd: str


class Part(Struct, gc=False, frozen=True):
    """As `Line`, with the nearest number to the cost."""

    unit: str
    cost_usd: float


_own = msgspec.json.Decoder(OfIntent | OfSettle)
_all_own = msgspec.json.Decoder(list[OfIntent | OfSettle])
_common = msgspec.json.Decoder(Common)
_common_end = msgspec.json.Decoder(CommonEnd)
_usage = msgspec.json.Decoder(dict[str, _Integer | float | str])
_lines = msgspec.json.Decoder(list[Line])
_all_parts = msgspec.json.Decoder(list[list[Part]], strict=False)
_amounts = msgspec.json.Decoder(list[tuple[str, str, _Integer, str, _Integer]])
_lease = msgspec.json.Decoder(tuple[_Integer | None, _Integer | None])
_flags = msgspec.json.Decoder(list[str])


_known: dict[bytes, Common] = {}


def plain_records(payloads: Sequence[bytes]) -> tuple[Sequence[OfIntent | OfSettle | None], Sequence[Any]]:
    """What the plain INTENT or SETTLE in each of these records says of itself, None where it is another, or has less, or other
    fields, or in another order; and what it has in common with others: of an INTENT a `Common`, of a SETTLE a `CommonEnd` that
    is not read yet, behind `SETTLE_COMMON`. All of them are read at once: a call of the reader for each takes as long as half
    of what it reads."""
    begins: list[bytes] = []  # of each record what it says of itself; empty where it is another
    commons: list[Any] = []
    # What is common of the last of each kind, with its mark: the next may end so, too.
    intent_end = settle_end = _NO_END
    intent_common: Common | None = None
    settle_rest = b""
    for payload in payloads:
        # Where it ends otherwise it is parted from behind, where the shorter part is.
        if payload.startswith(SETTLE_BEGINS):
            begin = payload.removesuffix(settle_end)
            if begin is payload:
                begin, mark, settle_rest = payload.rpartition(SETTLE_COMMON)
                settle_end = mark + settle_rest if mark else _NO_END
            begins.append(begin)
            commons.append(settle_rest)
        elif payload.startswith(INTENT_BEGINS):
            begin = payload.removesuffix(intent_end)
            if begin is payload:
                begin, mark, rest = payload.rpartition(INTENT_COMMON)
                intent_common = (_known.get(rest) or _common_of(rest)) if mark else None
                intent_end = _NO_END if intent_common is None else mark + rest
            begins.append(begin if intent_common is not None else b"")
            commons.append(intent_common if intent_common is not None else b"")
        else:
            begins.append(b"")
            commons.append(b"")
    return _owns(begins), commons


def _owns(begins: Sequence[bytes]) -> Sequence[OfIntent | OfSettle | None]:
    """What these records say of themselves, by their beginnings; None for an empty one."""
    if all(begins):
        owns = _read(_all_own, b"".join((b"[", b"},".join(begins), b"}]"))) if begins else []
        if owns is not None and len(owns) == len(begins):
            return owns
    elif any(begins):
        there = iter(_owns(list(filter(None, begins))))
        return [next(there) if begin else None for begin in begins]
    return [_read(_own, begin + b"}") if begin else None for begin in begins]  # one of them is odd


def _common_of(rest: bytes) -> Common | None:
    common = _read(_common, b"{" + INTENT_COMMON[1:] + rest)
    if common is not None and len(rest) <= _MOST_BYTES:  # a client's names may be long
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[rest] = common
    return common


def common_end_of(rest: bytes) -> CommonEnd | None:
    return _read(_common_end, b"{" + SETTLE_COMMON[1:] + rest)


def said_by(intent: Any, common: Common | None, name: str) -> Any:
    """What an INTENT says, read in either way."""
    if common is None:
        return intent.get(name)
    return getattr(intent if name in OfIntent.__struct_fields__ else common, name)


def whole_of(intent: OfIntent, common: Common, payload: bytes) -> Any:
    """All that an INTENT says, as JSON has it."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:  # a malformed number in its labels
        said = {name: getattr(part, name) for part in (intent, common) for name in part.__struct_fields__}
        return said | {name: None for name, value in said.items() if isinstance(value, Raw)}


NOTHING = _NULL
"""What stands for what is not said at all, and mostly that is it: to ask for it takes no call."""


def is_said(raw: Raw) -> bool:
    return raw is not NOTHING and raw != _NULL


def lines_of(raw: Raw) -> Sequence[Line]:
    """The lines of a cost. Raises ValueError where they are none."""
    return () if raw == _NULL else _lines.decode(raw)


def parts_of(raws: Sequence[Raw]) -> Sequence[Sequence[Part]]:
    """The lines of each cost, of which none says nothing. Raises ValueError where one has none."""
    parts = _all_parts.decode(b"[%b]" % b",".join(raws))
    if len(parts) != len(raws):
        raise ValueError(raws)
    return parts


def usage_of(raw: Raw) -> dict[str, Any]:
    """Raises ValueError where it is none."""
    return _usage.decode(raw)


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
    return texts_of([raw])[0]


def texts_of(raws: Sequence[Raw]) -> list[str | None]:
    """As `text_of`, of each."""
    if raws.count(_NULL) == len(raws):
        return [None] * len(raws)
    texts = [str(raw, "utf-8") for raw in raws]
    return [None if len(text) <= _LONGEST_EMPTY and text in _EMPTY else text for text in texts]


def _read(decoder: msgspec.json.Decoder[_R], payload: bytes) -> _R | None:
    """What is taken as it stands is looked at for text that no other reader takes: half a pair, bytes that are no UTF-8."""
    if b"\\" in payload and b"\\u" in payload:  # one byte is found ten times as fast as two
        return None
    try:
        if not payload.isascii():
            payload.decode()
        return decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError):
        return None
