"""The INTENT of an attempt: which call it belongs to, and what it is charged after a crash. Most of it is the same for all
calls of a connection, and is serialised once."""

from __future__ import annotations

from typing import Any, cast

import orjson

from proxy.exchange.exchange import Exchange
from proxy.exchange.plan import Plan
from proxy.spool import records


def intent_record(
    exchange: Exchange, plan: Plan, reserved_nanousd: int | None, budgets: records.Amounts
) -> records.Intent:
    """The INTENT as the spool has it."""
    record = _of_this_call(exchange, plan, reserved_nanousd, budgets)
    return cast(records.Intent, record | _of_all_like_it(exchange, plan))


def intent_bytes(exchange: Exchange, plan: Plan, reserved_nanousd: int | None, budgets: records.Amounts) -> bytes:
    """The record, written."""
    call, attribution, notes = plan.call, exchange.attribution, exchange.client.notes
    like = (
        exchange.identity, plan.route, exchange.configured.book.version, call.dialect, call.operation, call.stream, call.model,
        attribution.client, attribution.user, attribution.customer, attribution.labels, attribution.untrusted_labels,
    )  # fmt: skip
    written = notes.intent
    if written is None or written[0] != like:
        written = notes.intent = (like, b"," + orjson.dumps(_of_all_like_it(exchange, plan))[1:])
    return orjson.dumps(_of_this_call(exchange, plan, reserved_nanousd, budgets))[:-1] + written[1]


def _of_this_call(
    exchange: Exchange, plan: Plan, reserved_nanousd: int | None, budgets: records.Amounts
) -> dict[str, Any]:
    attribution = exchange.attribution
    record = {
        "t": "intent",
        "id": plan.id,
        "request_id": exchange.request_id,
        "attempt": plan.number,
        "started_at": plan.started_at,
        "deadline_at": plan.deadline_at,
        "session_id": attribution.session_id,
        "session_source": attribution.session_source,
        "root_session_id": attribution.root_session_id,
        "reserved_nanousd": reserved_nanousd,
        "budgets": budgets,
    }
    # Most have none of these, and are no longer for them.
    if attribution.parent_session_id is not None:
        record["parent_session_id"] = attribution.parent_session_id
    if attribution.agent is not None:
        record["agent"] = attribution.agent
    if attribution.parent_agent is not None:
        record["parent_agent"] = attribution.parent_agent
    if attribution.traceparent is not None:
        record["traceparent"] = attribution.traceparent
    return record


def _of_all_like_it(exchange: Exchange, plan: Plan) -> dict[str, Any]:
    """What hangs on nothing but what `intent_bytes` compares."""
    call, route, identity, attribution = plan.call, plan.route, exchange.identity, exchange.attribution
    return {
        "dialect": call.dialect,
        "operation": call.operation,
        "stream": call.stream,
        "upstream": route.upstream,
        "provider": route.provider,
        "model_requested": call.model or route.requested,
        "model": route.model,
        "key": identity.key,
        "key_id": identity.key_id,
        "team": identity.team,
        "user": attribution.user,
        "customer": attribution.customer,
        "labels": attribution.labels,
        "untrusted_labels": attribution.untrusted_labels,
        "client": attribution.client,
        "price_version": exchange.configured.book.version,
    }
