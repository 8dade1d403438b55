"""A row of `entries`: what the ledger keeps of one attempt, or of a correction. The columns in the table's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson


class Row(NamedTuple):
    """What each column means: proxy/CONTRACT.md#ledger-entry. Times in epoch microseconds, money in nano-USD, JSON as text.

    A column that is not nullable may be None here only until the row is repaired (`sound`).
    """

    id: str
    kind: str
    corrects_id: str | None
    request_id: str
    attempt: int
    started_at: int
    ended_at: int
    status: str
    outcome: str
    http_status: int | None
    dialect: str | None
    operation: str | None
    stream: bool | None
    upstream: str | None
    provider: str | None
    model_requested: str | None
    model: str | None
    service_tier: str | None
    key: str | None
    key_id: str | None
    team: str | None
    user: str | None
    customer: str | None
    labels: str | None
    untrusted_labels: str | None
    session_id: str | None
    session_source: str | None
    parent_session_id: str | None
    root_session_id: str | None
    agent: str | None
    parent_agent: str | None
    input_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_30m_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    reasoning_tokens: int
    usage: str | None
    told_usage: str | None
    usage_source: str | None
    cost_nanousd: int | None
    cost_source: str | None
    cost_lines: str | None
    flags: str | None
    price_version: str | None
    provider_cost_nanousd: int | None
    reserved_nanousd: int | None
    budgets: str | None
    ttft_ms: float | None
    duration_ms: float | None
    overhead_ms: float | None
    upstream_request_id: str | None
    client: str | None
    traceparent: str | None
    instance: str | None
    capacity: str | None
    capacity_nanousd: int | None
    energy_millijoules: int | None
    energy_source: str | None


Columns = Sequence[Sequence[Any]]
"""What rows have in each column of `Row`, in its order; none where there are no rows."""


def columns_of(rows: Iterable[tuple[Any, ...]]) -> Columns:
    return list(zip(*rows, strict=True))


def row_of(values: Mapping[str, Any]) -> Row:
    """The row with these columns; a column that is not named is None."""
    return Row._make([values.get(name) for name in Row._fields])


def json_text(value: Any) -> str | None:
    """A column of JSON: None for what is empty."""
    return orjson.dumps(value).decode() if value else None
