"""Quick reading of the two records that nearly every call has: only the fields that are needed.

`records` says what each field means. Each of the two ends with what many calls have in common: that is read once for all whose
bytes are the same there. Only the recorder reads records in this way: where one is odd (of an earlier version, damaged), or
says what has no field here, it is read whole, as JSON.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import add
from typing import Annotated, Any, NamedTuple, TypeGuard, TypeVar

import msgspec
import orjson
from msgspec import Meta, Raw, Struct
from msgspec.structs import force_setattr

_R = TypeVar("_R")
_Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Sum = Annotated[int, Meta(ge=-(2**53), le=2**53)]  # what can be added up: `ledger.entries.row_checks.MOST`
_Number = float | _Integer | None
_NULL, _EMPTY_LIST = Raw(b"null"), Raw(b"[]")  # what is raw equals only what is raw
_EMPTY = frozenset(("null", "{}", "[]", '""', "0", "false"))
_LONGEST_EMPTY = 5
_NO_END = b"\0"  # which stands in no JSON

_KIND_AT, _INTENT, _SETTLE = 6, b"i"[0], b"s"[0]  # no other kind of a record begins with the letters of these two
INTENT_COMMON, SETTLE_COMMON = b',"dialect":', b',"status":'  # where what is common begins
_NO_LINE = b"null"
COST_LINES = b',"cost_lines":'  # of a SETTLE, what it says of itself ends with them
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
    """`records.Settle`: what an end says of itself, but for its cost's lines. job, stored: only whether they are there."""

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


class Begun(NamedTuple):
    """INTENTs among records that were read: their places, what each says of itself, what it has in common with others."""

    places: list[int]
    own: list[OfIntent]
    common: list[Common]


class Ended(NamedTuple):
    """SETTLEs among them. common: a `CommonEnd` that is not read yet, behind `SETTLE_COMMON`. lines: its cost's, as they stand
    there, and what they say; None where there are none."""

    places: list[int]
    own: list[OfSettle]
    common: list[bytes]
    lines: list[bytes]
    parts: list[list[Part] | None]


_P = TypeVar("_P", Begun, Ended)

_intents = msgspec.json.Decoder(list[OfIntent])
_settles = msgspec.json.Decoder(list[OfSettle])
_parts = msgspec.json.Decoder(list[list[Part] | None], strict=False)
_common = msgspec.json.Decoder(Common)
_common_end = msgspec.json.Decoder(CommonEnd)
_usage = msgspec.json.Decoder(dict[str, _Integer | float | str])
_lines = msgspec.json.Decoder(list[Line])
_amounts = msgspec.json.Decoder(list[tuple[str, str, _Integer, str, _Integer]])
_lease = msgspec.json.Decoder(tuple[_Integer | None, _Integer | None])
_flags = msgspec.json.Decoder(list[str])


_known: dict[bytes, Common] = {}


def plain_records(payloads: Sequence[bytes], places: Sequence[int] | None = None) -> tuple[Begun, Ended]:
    """The plain INTENTs and SETTLEs among these records; not those that have less, or other fields, or in another order. All of
    them are read at once: a call of the reader for each takes as long as half of what it reads.

    places: where each stands, if not behind one another."""
    places = range(len(payloads)) if places is None else places
    intents: list[bytes] = []  # what each says of itself
    intents_at: list[int] = []
    commons: list[Common] = []
    settles: list[bytes] = []
    settles_at: list[int] = []
    rests: list[bytes] = []
    lines: list[bytes] = []
    # What is common of the last of each kind, with its mark: the next may end so, too.
    intent_end = settle_end = _NO_END
    common: Common | None = None
    settle_rest = b""
    for place, payload in zip(places, payloads, strict=True):
        # Where it ends otherwise it is parted from behind, where the shorter part is.
        kind = payload[_KIND_AT] if len(payload) > _KIND_AT else None
        if kind == _SETTLE:
            begin = payload.removesuffix(settle_end)
            if begin is payload:
                begin, mark, settle_rest = payload.rpartition(SETTLE_COMMON)
                settle_end = mark + settle_rest if mark else _NO_END
            own, has_lines, said = begin.partition(COST_LINES)
            settles.append(own)
            settles_at.append(place)
            rests.append(settle_rest)
            lines.append(said if has_lines else _NO_LINE)
        elif kind == _INTENT:
            begin = payload.removesuffix(intent_end)
            if begin is payload:
                begin, mark, rest = payload.rpartition(INTENT_COMMON)
                common = (_known.get(rest) or _common_of(rest)) if mark else None
                intent_end = _NO_END if common is None else mark + rest
            if common is not None:
                intents.append(begin)
                intents_at.append(place)
                commons.append(common)
    begun, ended = _read(_intents, _listed(intents, b"}")), _read(_settles, _listed(settles, b"}"))
    parts = _read(_parts, _listed(lines))
    if _all_there(begun, intents) and _all_there(ended, settles) and _all_there(parts, lines):
        return Begun(intents_at, begun, commons), Ended(settles_at, ended, rests, lines, parts)
    if len(payloads) == 1:
        return Begun([], [], []), Ended([], [], [], [], [])
    # One of them is odd.
    half = len(payloads) // 2
    first, last = plain_records(payloads[:half], places[:half]), plain_records(payloads[half:], places[half:])
    return Begun(*map(add, first[0], last[0])), Ended(*map(add, first[1], last[1]))


def between(some: _P, first: int, last: int) -> _P:
    """Those from one place to before another."""
    begin, end = bisect_left(some.places, first), bisect_left(some.places, last)
    whole = end - begin == len(some.places)
    made: Callable[..., _P] = type(some)
    return some if whole else made(*(column[begin:end] for column in some))


def _listed(texts: Sequence[bytes], end: bytes = b"") -> bytes:
    """As a JSON list; end: of each. Copied once."""
    if not texts:
        return b"[]"
    pieces = [b"[" + texts[0], *texts[1:]]
    pieces[-1] += end + b"]"
    return (end + b",").join(pieces)


def _all_there(said: list[_R] | None, texts: Sequence[bytes]) -> TypeGuard[list[_R]]:
    return said is not None and len(said) == len(texts)


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


def hold_alone(intent: OfIntent) -> None:
    """It is kept for longer than what was read with it, all of which a raw value holds: some 100 KB."""
    force_setattr(intent, "budgets", intent.budgets.copy())


NOTHING = _NULL
"""What stands for what is not said at all, and mostly that is it: to ask for it takes no call."""


def is_said(raw: Raw) -> bool:
    return raw is not NOTHING and raw != _NULL


def lines_of(text: str) -> Sequence[Line]:
    """The lines of a cost. Raises ValueError where they are none."""
    return _lines.decode(text)


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
    return [
        None if len(text) <= _LONGEST_EMPTY and text in _EMPTY else text for text in [str(raw, "utf-8") for raw in raws]
    ]


def lines_texts(lines: Sequence[bytes]) -> list[str | None]:
    """As `text_of`, of each cost's lines."""
    return [None if line in (_NO_LINE, b"[]") else line.decode() for line in lines]


def _read(decoder: msgspec.json.Decoder[_R], payload: bytes) -> _R | None:
    """What is taken as it stands is looked at for text that no other reader takes: half a pair, bytes that are no UTF-8."""
    if b"\\" in payload and b"\\u" in payload:  # one byte is found ten times as fast as two
        return None
    try:
        if not payload.isascii():
            payload.decode()
        return decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
