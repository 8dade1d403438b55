"""The ledger row of one attempt: who and what from its INTENT, how it ended from its end. Pure.

Much of what calls say is the same for many: what calls of a kind have in common is one object in all of their rows, so that a
batch takes little memory and is looked at while it is in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import astuple

from proxy.ledger.end_checks import ENDS_NOTHING
from proxy.ledger.row import Row, json_text
from proxy.ledger.row_checks import MOST
from proxy.ledger.schema import TOKEN_COLUMNS
from proxy.spool import records
from proxy.spool.plain import Common, Intent, OfIntent, OfSettle, Settle, common_end_of, flags_of, text_of, usage_of

# What a row has where its records say nothing: every column, every key of both records.
_SILENT: dict[str, Any] = {
    **dict.fromkeys((*records.Intent.__annotations__, *records.Settle.__annotations__, *Row._fields)),
    **dict.fromkeys(TOKEN_COLUMNS.values(), 0),
    "kind": "attempt",
    "usage_source": "none",
    "cost_source": "computed",
}
_COLUMNS = itemgetter(*Row._fields)
_TOKEN_AT = {unit: at for at, unit in enumerate(TOKEN_COLUMNS)}
_NO_TOKENS = (0,) * len(TOKEN_COLUMNS)
_MOST_KNOWN, _MOST_CHARS = 1024, 1000

_Count = Annotated[int, Meta(ge=0, le=MOST)]
_OnlyTokens: Any = msgspec.defstruct(
    "_OnlyTokens", [(unit, _Count, 0) for unit in TOKEN_COLUMNS], forbid_unknown_fields=True, gc=False
)
_only_tokens: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_OnlyTokens)

_new = tuple.__new__


class Kind(NamedTuple):
    """What the rows of calls have in common: values, in the order of `_OF_KIND`. flags: of their ends."""

    values: tuple[Any, ...]
    flags: Sequence[str]


_OF_KIND = (
    "kind", "status", "outcome", "http_status", "dialect", "operation", "stream", "upstream", "provider", "model_requested",
    "model", "service_tier", "key", "key_id", "team", "user", "customer", "labels", "untrusted_labels", "usage_source",
    "cost_source", "flags", "price_version", "client",
)  # fmt: skip
_kinds: dict[tuple[Common, bytes], Kind] = {}


def _places(**instead: str) -> itemgetter[Any]:
    """Where each column of a row stands among the values of `plain_row`. instead: columns that have another's value."""
    own = [name for name in OfIntent.__struct_fields__ if name != "budgets"]
    made = ("usage", "told_usage", "cost_lines", "budgets", "instance", *TOKEN_COLUMNS.values())
    ended = [name for name in OfSettle.__struct_fields__ if name not in ("id", *made)]
    nothing = ("corrects_id", "capacity", "capacity_nanousd", "energy_millijoules", "energy_source")
    at = {
        **{name: OfIntent.__struct_fields__.index(name) for name in own},
        **{name: _ENDED_AT + OfSettle.__struct_fields__.index(name) for name in ended},
        **{name: _KIND_AT + number for number, name in enumerate(_OF_KIND)},
        **{name: _MADE_AT + number for number, name in enumerate((*made, "nothing"))},
    }
    return itemgetter(*(at["nothing" if name in nothing else instead.get(name, name)] for name in Row._fields))


_ENDED_AT = len(OfIntent.__struct_fields__)
_KIND_AT = _ENDED_AT + len(OfSettle.__struct_fields__)
_MADE_AT = _KIND_AT + len(_OF_KIND)
_columns = _places()
# Of a call that is a session of its own: one text for all three.
_columns_alone = _places(session_id="request_id", root_session_id="request_id")


def plain_row(intent: Intent, end: Settle, kind: Kind, instance: str) -> Row:
    """The row of an ordinary call, as `any_row` has it. Raises ValueError where its usage is none."""
    own, ended = intent.own, end.own
    try:
        tokens, others = astuple(_only_tokens.decode(ended.usage)), None
    except ValueError:
        tokens, others = _tokens(usage_of(ended.usage))
    values = (
        *astuple(own), *astuple(ended), *kind.values,
        json_text(others), text_of(ended.told_usage), text_of(ended.cost_lines), text_of(ended.budgets), instance, *tokens,
        None,
    )  # fmt: skip
    is_alone = own.request_id == own.session_id == own.root_session_id
    return _new(Row, _columns_alone(values) if is_alone else _columns(values))


def kind_of(common: Common, end: bytes) -> Kind | None:
    """What the rows have in common of calls that begin and end alike; None where they are not ordinary. Raises ValueError."""
    return _kinds.get((common, end)) or _made(common, end)


def _made(begun: Common, end: bytes) -> Kind | None:
    ended = common_end_of(end)
    if ended is None or ended.status in ENDS_NOTHING or ended.outcome == "expired":
        return None
    said = {name: getattr(begun, name) for name in begun.__struct_fields__}
    said |= {name: getattr(ended, name) for name in ended.__struct_fields__}
    said |= {
        "kind": "attempt",
        "model": ended.model or begun.model,
        "price_version": ended.price_version or begun.price_version,
    }
    values = tuple(text_of(value) if isinstance(value, Raw) else value for value in (said[name] for name in _OF_KIND))
    kind = Kind(values, flags_of(ended.flags))
    if sum(len(value) for value in values if isinstance(value, str)) <= _MOST_CHARS:  # a client's names may be long
        if len(_kinds) >= _MOST_KNOWN:
            _kinds.clear()
        _kinds[begun, end] = kind
    return kind


def any_row(intent: records.Intent, end: records.End, budgets: Any, instance: str) -> Row:
    """The row, whatever the records say or do not say; its values may be none that their columns can hold."""
    row: dict[str, Any] = {**_SILENT, **end, **intent}
    if end["t"] == "void":
        row["status"], row["cost_nanousd"], row["budgets"] = "void", 0, None
    else:
        row["budgets"] = json_text(budgets)
        row["model"] = end.get("model") or row["model"]
        row["price_version"] = end.get("price_version") or row["price_version"]
        for name in ("told_usage", "cost_lines", "flags"):
            if row[name] is not None:
                row[name] = json_text(row[name])
        tokens, others = _tokens(row["usage"]) if row["usage"] else (_NO_TOKENS, None)
        row |= zip(TOKEN_COLUMNS.values(), tokens, strict=True)
        row["usage"] = json_text(others)
    row["labels"], row["untrusted_labels"] = json_text(row["labels"]), json_text(row["untrusted_labels"])
    row["instance"] = instance
    return Row._make(_COLUMNS(row))


def _tokens(usage: Any) -> tuple[tuple[int, ...], dict[str, Any] | None]:
    """What stands in columns of its own, and the other units."""
    tokens, others = [*_NO_TOKENS], None
    for unit, quantity in usage.items():
        at = _TOKEN_AT.get(unit)
        if at is not None and type(quantity) is int and 0 <= quantity <= MOST:
            tokens[at] = quantity
        elif others is None:
            others = {unit: quantity}
        else:
            others[unit] = quantity
    return tuple(tokens), others
