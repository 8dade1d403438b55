"""The ledger row of one attempt: who and what from its INTENT, how it ended from its end. Pure.

Much of what calls say is the same for many: what calls of a kind have in common is one object in all of their rows, so that a
batch takes little memory and is looked at while it is in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import astuple

from proxy.ledger.entries.amounts import Known
from proxy.ledger.entries.end_checks import ENDS_NOTHING
from proxy.ledger.entries.row import Columns, Row, columns_of, json_text
from proxy.ledger.entries.row_checks import MOST
from proxy.ledger.schema import TOKEN_COLUMNS
from proxy.spool import records
from proxy.spool.plain import (
    Common,
    OfIntent,
    OfSettle,
    common_end_of,
    flags_of,
    lines_texts,
    text_of,
    texts_of,
    usage_of,
)

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
_all_tokens: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[_OnlyTokens])


class Alike:
    """What many rows have in common: values, in the order of `ALIKE`. Rows are told apart by the object, as to compare names
    takes longer; so two may say the same."""

    __slots__ = ("values",)

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values


ALIKE = (
    "kind", "status", "outcome", "http_status", "dialect", "operation", "stream", "upstream", "provider", "model_requested",
    "model", "key", "key_id", "team", "usage_source", "cost_source", "price_version", "client",
)  # fmt: skip
_alikes: dict[tuple[Any, ...], Alike] = {}


class Kind:
    """What the rows of calls have in common: values, in the order of `_OF_KIND`; alike: some of them. flags: of their ends.
    stated: how the last of them said what it adds to the budgets."""

    __slots__ = ("alike", "flags", "stated", "values")

    def __init__(self, values: tuple[Any, ...], flags: Sequence[str]) -> None:
        self.values = values
        self.alike = alike_of(_alike_of_kind(values))
        self.flags = flags
        self.stated: Known | None = None


def alike_of(values: tuple[Any, ...]) -> Alike:
    """values: in the order of `ALIKE`."""
    alike = _alikes.get(values)
    if alike is None:
        alike = Alike(values)
        if sum(len(value) for value in values if isinstance(value, str)) <= _MOST_CHARS:  # a client's names may be long
            if len(_alikes) >= _MOST_KNOWN:
                _alikes.clear()
            _alikes[values] = alike
    return alike


_OF_KIND = (
    "kind", "status", "outcome", "http_status", "dialect", "operation", "stream", "upstream", "provider", "model_requested",
    "model", "service_tier", "key", "key_id", "team", "user", "customer", "labels", "untrusted_labels", "usage_source",
    "cost_source", "flags", "price_version", "client",
)  # fmt: skip
_alike_of_kind = itemgetter(*map(_OF_KIND.index, ALIKE))
_kinds: dict[tuple[Common | None, bytes], Kind] = {}


_OWN, _ENDED = OfIntent.__struct_fields__, OfSettle.__struct_fields__
_MADE = ("usage", "told_usage", "cost_lines", "budgets", "instance", *TOKEN_COLUMNS.values(), "nothing")
_NOTHING = ("corrects_id", "capacity", "capacity_nanousd", "energy_millijoules", "energy_source")


def _places() -> itemgetter[Any]:
    """Where each column of a row stands among those of `plain_columns`."""
    at = {name: number for number, name in enumerate((*_OWN, *_ENDED, *_OF_KIND, *_MADE))}  # what is made, where it is
    return itemgetter(*(at["nothing" if name in _NOTHING else name] for name in Row._fields))


_in_order = _places()
_REQUEST, _SESSION, _ROOT = map(_OWN.index, ("request_id", "session_id", "root_session_id"))
_USAGE, _TOLD = map(_ENDED.index, ("usage", "told_usage"))


def plain_columns(
    intents: Sequence[OfIntent],
    ended: Sequence[Sequence[Any]],
    lines: Sequence[bytes],
    kinds: Sequence[Kind],
    budgets: Sequence[str | None],
    instance: str,
) -> Columns:
    """The columns of ordinary calls' rows, as `any_row` has each. ended: a column for each field of `OfSettle`. lines: of each
    cost. Raises ValueError where a usage is none."""
    count, first = len(intents), kinds[0]
    own = list(zip(*map(astuple, intents), strict=True))
    for at in (_SESSION, _ROOT):  # of a call that is a session of its own: one text for all three
        requests = own[_REQUEST]
        if own[at] == requests:
            own[at] = requests
        else:
            own[at] = tuple(
                [request if name == request else name for name, request in zip(own[at], requests, strict=True)]
            )
    tokens, others = _usages(ended[_USAGE])
    if kinds.count(first) == count:
        of_kind: Columns = [[value] * count for value in first.values]
    else:
        of_kind = columns_of([kind.values for kind in kinds])
    columns = (
        *own, *ended, *of_kind,
        others, texts_of(ended[_TOLD]), lines_texts(lines), budgets, [instance] * count, *tokens, [None] * count,
    )  # fmt: skip
    in_order: Columns = _in_order(columns)
    return in_order


def _usages(raws: Sequence[Raw]) -> tuple[Sequence[Sequence[int]], Sequence[str | None]]:
    """The columns of tokens, and the other units. Raises ValueError."""
    try:
        counts = _all_tokens.decode(b"[%b]" % b",".join(raws))
        if len(counts) == len(raws):
            return list(zip(*map(astuple, counts), strict=True)), [None] * len(raws)
    except ValueError:
        pass
    tokens, others = zip(*[_tokens(usage_of(raw)) for raw in raws], strict=True)
    return list(zip(*tokens, strict=True)), list(map(json_text, others))


def kinds_of(commons: Sequence[Common | None], ends: Sequence[bytes]) -> list[Kind] | None:
    """What the rows have in common of calls that begin and end so; None where one of them is not ordinary."""
    kinds: list[Kind | None] = list(map(_kinds.get, zip(commons, ends, strict=True)))
    if not all(kinds):
        kinds = [kind or _made(common, end) for kind, common, end in zip(kinds, commons, ends, strict=True)]
    return cast("list[Kind]", kinds) if all(kinds) else None


def _made(begun: Common | None, end: bytes) -> Kind | None:
    ended = common_end_of(end)
    if begun is None or ended is None or ended.status in ENDS_NOTHING or ended.outcome == "expired":
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
