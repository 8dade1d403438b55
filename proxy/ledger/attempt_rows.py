"""The ledger row of one attempt: who and what from its INTENT, how it ended from its end. Pure.

Much of what calls say is the same for many: what calls of a kind have in common is one object in all of their rows, so that a
batch takes little memory and is looked at while it is in the processor's caches.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from proxy.ledger.row import Row, json_text
from proxy.ledger.row_checks import MOST
from proxy.ledger.schema import TOKEN_COLUMNS
from proxy.spool import records
from proxy.spool.plain import Intent, Settle, text_of

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
_MOST_KNOWN, _MOST_CHARS = 4096, 1000

_new = tuple.__new__
_kinds: dict[tuple[Any, ...], tuple[Any, ...]] = {}  # what calls have in common, once


def plain_row(intent: Intent, end: Settle, instance: str) -> Row | None:
    """The row of an ordinary call, as `any_row` has it; None where sums cannot hold what it cost."""
    cost, reserved, provider_cost = end.cost_nanousd, intent.reserved_nanousd, end.provider_cost_nanousd
    if not (
        -MOST <= (cost or 0) <= MOST and -MOST <= (reserved or 0) <= MOST and -MOST <= (provider_cost or 0) <= MOST
    ):
        return None
    shared = (
        intent.dialect, intent.operation, intent.upstream, intent.provider, intent.model_requested, end.model or intent.model,
        end.service_tier, intent.key, intent.key_id, intent.team, intent.session_source, intent.client,
        end.price_version or intent.price_version, end.status, end.outcome, end.usage_source, end.cost_source,
    )  # fmt: skip
    kind = _kinds.get(shared)
    if kind is None:
        kind = shared
        if sum(map(len, filter(None, shared))) <= _MOST_CHARS:  # a client's names may be long
            if len(_kinds) >= _MOST_KNOWN:
                _kinds.clear()
            _kinds[shared] = shared
    (
        dialect, operation, upstream, provider, model_requested, model, service_tier, key, key_id, team, session_source,
        client, price_version, status, outcome, usage_source, cost_source,
    ) = kind  # fmt: skip
    request_id, session_id, root_session_id = intent.request_id, intent.session_id, intent.root_session_id
    if session_id == request_id:  # one text for all
        session_id = request_id
    if root_session_id == session_id:
        root_session_id = session_id
    tokens, others = _tokens(end.usage) if end.usage else (_NO_TOKENS, None)
    of_input, read, write_5m, write_30m, write_1h, output, reasoning = tokens
    return _new(
        Row,
        (
            intent.id, "attempt", None, request_id, intent.attempt, intent.started_at, end.ended_at, status, outcome,
            end.http_status, dialect, operation, intent.stream, upstream, provider, model_requested, model, service_tier,
            key, key_id, team, intent.user, intent.customer, text_of(intent.labels), text_of(intent.untrusted_labels),
            session_id, session_source, intent.parent_session_id, root_session_id, intent.agent, intent.parent_agent,
            of_input, read, write_5m, write_30m, write_1h, output, reasoning,
            json_text(others), text_of(end.told_usage), usage_source, cost, cost_source, text_of(end.cost_lines),
            text_of(end.flags), price_version, provider_cost, reserved, text_of(end.budgets), end.ttft_ms, end.duration_ms,
            end.overhead_ms, end.upstream_request_id, client, intent.traceparent, instance, None, None, None, None,
        ),
    )  # fmt: skip


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
