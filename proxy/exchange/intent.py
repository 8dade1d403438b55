"""What is known of an attempt before anything is reserved or sent: its INTENT record. Values in, a value out."""

from __future__ import annotations

from proxy.exchange.exchange import Exchange
from proxy.exchange.plan import Plan
from proxy.spool import records
from proxy.types import Call, Route


def intent_record(
    exchange: Exchange, plan: Plan, call: Call, route: Route, reserved_nanousd: int | None, budgets: records.Amounts
) -> records.Intent:
    """The INTENT record, which the recorder joins to the SETTLE. budgets: what it means to reserve, a row a claim."""
    identity, attribution = exchange.identity, exchange.attribution
    record: records.Intent = {
        "t": "intent",
        "id": plan.id,
        "request_id": exchange.request_id,
        "attempt": plan.number,
        "started_at": plan.started_at,
        "deadline_at": plan.deadline_at,
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
        "session_id": attribution.session_id,
        "session_source": attribution.session_source,
        "parent_session_id": attribution.parent_session_id,
        "root_session_id": attribution.root_session_id,
        "agent": attribution.agent,
        "parent_agent": attribution.parent_agent,
        "client": attribution.client,
        "reserved_nanousd": reserved_nanousd,
        "budgets": budgets,
        "price_version": exchange.configured.book.version,
    }
    return records.traced(record, attribution.traceparent)
