"""The ledger row of one attempt: who and what from its INTENT, how it ended from its end. Pure.

Nearly every record says all that it may, and much of that is the same for many calls: what calls of a kind have in common is
one object in all of their rows, so that a batch takes little memory and is looked at while it is in the processor's caches.
A record that says less (of an earlier version, or damaged) takes a way of its own, ten times as long.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from proxy.ledger.row import Row, json_text
from proxy.ledger.schema import TOKEN_COLUMNS
from proxy.ledger.sound import MOST, is_sound, types_of
from proxy.spool import records

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

# Text that few calls have for themselves, the numbers that are as common, and what each call has of its own.
_INTENT_KIND = (
    "dialect", "operation", "upstream", "provider", "model_requested", "model", "key", "key_id", "team", "session_source",
    "client", "price_version", "attempt", "stream",
)  # fmt: skip
_END_KIND = (
    "status",
    "outcome",
    "service_tier",
    "usage_source",
    "cost_source",
    "model",
    "price_version",
    "http_status",
)
_INTENT_OWN = (
    "id", "request_id", "started_at", "user", "customer", "session_id", "parent_session_id", "root_session_id", "agent",
    "parent_agent", "reserved_nanousd",
)  # fmt: skip
_END_OWN = ("ended_at", "cost_nanousd", "ttft_ms", "duration_ms", "overhead_ms", "upstream_request_id")

_intent_kind, _end_kind = itemgetter(*_INTENT_KIND), itemgetter(*_END_KIND)
_intent_own, _end_own = itemgetter(*_INTENT_OWN), itemgetter(*_END_OWN)
_json_of_intent = itemgetter("labels", "untrusted_labels")
_json_of_end = itemgetter("usage", "told_usage", "flags")
_KIND_TYPES = tuple(types_of(name) for name in (*_INTENT_KIND, *_END_KIND))
_OWN_TYPES = tuple(types_of(name) for name in (*_INTENT_OWN, *_END_OWN))
_MOST_KNOWN = 4096

_new = tuple.__new__
_kinds: dict[tuple[Any, ...], tuple[Any, ...]] = {}  # what calls have in common, once; every value fits its column
_own_signatures: set[tuple[type, ...]] = set()  # the types of what is a call's own; there are only some


def attempt_row(intent: records.Intent, end: records.End, budgets: Any, instance: str) -> tuple[Row, bool]:
    """The row, and whether its columns can hold all that the records say, and sums of it."""
    try:
        row = _whole_row(intent, end, budgets, instance)
    except (KeyError, TypeError):  # something is not said, or is no value
        row = None
    if row is not None:
        return row, True
    row = any_row(intent, end, budgets, instance)
    return row, is_sound(row)


def _whole_row(intent: Any, end: Any, budgets: Any, instance: str) -> Row | None:
    """None where a value is not what its column holds. Raises KeyError, TypeError."""
    if end["t"] != "settle":
        return None
    kind = _known_kind(_intent_kind(intent) + _end_kind(end))
    of_intent, of_end = _intent_own(intent), _end_own(end)
    if kind is None or not _fits(of_intent + of_end):
        return None
    (
        dialect, operation, upstream, provider, model_requested, model, key, key_id, team, session_source,
        client, price_version, attempt, stream,
        status, outcome, service_tier, usage_source, cost_source, answered, settled_version, http_status,
    ) = kind  # fmt: skip
    (
        attempt_id, request_id, started_at, user, customer, session_id, parent_session_id, root_session_id, agent,
        parent_agent, reserved_nanousd,
    ) = of_intent  # fmt: skip
    ended_at, cost_nanousd, ttft_ms, duration_ms, overhead_ms, upstream_request_id = of_end
    provider_cost = end.get("provider_cost_nanousd")
    traceparent = intent.get("traceparent")
    if provider_cost is not None or traceparent is not None:
        if type(provider_cost) not in _MAYBE_INTEGER or not -MOST <= (provider_cost or 0) <= MOST:
            return None
        if type(traceparent) not in _MAYBE_TEXT:
            return None
    if not -MOST <= (cost_nanousd or 0) <= MOST or not -MOST <= (reserved_nanousd or 0) <= MOST:
        return None
    if session_id == request_id:  # one text for all
        session_id = request_id
    if root_session_id == session_id:
        root_session_id = session_id
    labels, untrusted_labels = _json_of_intent(intent)
    usage, told_usage, flags = _json_of_end(end)
    tokens, others = _tokens(usage) if usage else (_NO_TOKENS, None)
    cost_lines = end.get("cost_lines")
    return _new(
        Row,
        (
            attempt_id, "attempt", None, request_id, attempt, started_at, ended_at, status, outcome, http_status,
            dialect, operation, stream, upstream, provider, model_requested, answered or model, service_tier,
            key, key_id, team, user, customer, json_text(labels), json_text(untrusted_labels),
            session_id, session_source, parent_session_id, root_session_id, agent, parent_agent,
            *tokens,
            json_text(others), None if told_usage is None else json_text(told_usage), usage_source,
            cost_nanousd, cost_source, json_text(cost_lines), json_text(flags), settled_version or price_version,
            provider_cost, reserved_nanousd, json_text(budgets), ttft_ms, duration_ms, overhead_ms,
            upstream_request_id, client, traceparent, instance, None, None, None, None,
        ),
    )  # fmt: skip


_MAYBE_INTEGER, _MAYBE_TEXT = frozenset((int, type(None))), frozenset((str, type(None)))


def _known_kind(said: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The same values, one object for all calls that say so; None where a column cannot hold one."""
    known = _kinds.get(said)
    if known is None:
        if not _all_fit(map(type, said), _KIND_TYPES):
            return None
        if len(_kinds) >= _MOST_KNOWN:
            _kinds.clear()
        known = _kinds[said] = said
    # 1, True and 1.0 are the same key, but not the same value.
    elif type(said[12]) is not int or type(said[13]) is not type(known[13]) or type(said[-1]) is not type(known[-1]):
        return None
    return known


def _fits(own: tuple[Any, ...]) -> bool:
    signature = tuple(map(type, own))
    if signature in _own_signatures:
        return True
    if not _all_fit(signature, _OWN_TYPES):
        return False
    _own_signatures.add(signature)
    return True


def _all_fit(kinds: Any, allowed: tuple[frozenset[type], ...]) -> bool:
    return all(kind in types for kind, types in zip(kinds, allowed, strict=True))


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
