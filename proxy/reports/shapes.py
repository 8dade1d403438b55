"""How the ledger's values leave, for the API and the command line alike: money as decimal strings, times as RFC 3339.

Each shape is made from the row that the report gives, and is what the API's schema says. What the ledger keeps as JSON is
shown as it is, whatever it is: a record that came in odd is shown odd, not refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from proxy.money import usd_text
from proxy.reports.one_session import SessionAbout
from proxy.reports.session_tree import Node
from proxy.reports.sessions import SessionRow
from proxy.reports.spend import SpendRow
from proxy.times import rfc3339

Usage = dict[str, Any]
"""Unit -> quantity: a whole number, or a decimal as text."""


class Shown(BaseModel):
    """Frozen; a misspelt field is an error where it is made, not a null in the answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SpendShown(BaseModel):
    """What one group came to. Its own values stand beside the sums, by the names that were asked for (`team`, `label.x`)."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, str | None] = Field(init=False)

    requests: int
    usage: Usage
    cost_usd: str
    capacity_usd: str = Field(
        description="What it had of machines of one's own, beside its cost, as far as that is known."
    )
    unpriced_requests: int

    @model_serializer(mode="wrap")
    def _group_first(self, serialize: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]  # a type would stand in the schema for the fields
        return (self.__pydantic_extra__ or {}) | serialize(self)


class SpendTotal(Shown):
    """What all groups came to."""

    requests: int
    usage: Usage
    cost_usd: str
    capacity_usd: str
    unpriced_requests: int


class EntryShown(Shown):
    """A ledger entry. The cost also in nano-USD, as the ledger has it; null is unpriced, not 0. The key's hash stays inside."""

    id: str
    kind: str
    corrects_id: str | None
    request_id: str
    attempt: int
    started_at: str
    ended_at: str
    status: str
    outcome: str
    http_status: int | None
    dialect: str | None
    operation: str | None
    stream: bool
    upstream: str | None
    provider: str | None
    model_requested: str | None
    model: str | None
    service_tier: str | None
    key: str | None
    team: str | None
    user: str | None
    customer: str | None
    labels: Any
    untrusted_labels: Any
    session_id: str | None
    session_source: str | None
    parent_session_id: str | None
    root_session_id: str | None
    agent: str | None
    parent_agent: str | None
    usage: Usage
    told_usage: Any
    usage_source: str | None
    cost_usd: str | None
    cost_source: str | None
    cost_lines: Any
    flags: Any
    price_version: str | None
    provider_cost_usd: str | None
    reserved_usd: str | None
    budgets: Any = Field(
        description="What it counted in: `{name, group, window_start}` and `usd` (a decimal string), `tokens` or `requests`."
    )
    ttft_ms: float | None
    duration_ms: float | None
    overhead_ms: float | None
    upstream_request_id: str | None
    client: str | None
    traceparent: str | None
    instance: str | None
    capacity: str | None
    capacity_usd: str | None
    energy_millijoules: int | None
    energy_source: str | None
    cost_nanousd: int | None


class RequestShown(EntryShown):
    """One entry, or the first of several of one request, with all of them under `attempts`."""

    attempts: list[EntryShown] = Field(default=[], exclude_if=lambda attempts: not attempts)


class SessionShown(Shown):
    """The totals of one session tree."""

    session: str | None
    team: str | None
    requests: int
    cost_usd: str
    unpriced_requests: int
    started_at: str
    ended_at: str
    usage: Usage
    duration_s: float


class NodeShown(Shown):
    """A session or agent with its own calls and all that is below it; amounts are those of all, `own_…` those of its calls."""

    session: str
    agent: str | None
    requests: int
    usage: Usage
    cost_usd: str
    unpriced_requests: int
    own_requests: int
    own_cost_usd: str
    started_at: str | None
    ended_at: str | None
    duration_s: float | None
    calls: list[EntryShown]
    children: list[NodeShown]


class TreeShown(NodeShown):
    """A session's tree, and whose it is."""

    team: str | None
    key: str | None
    client: str | None
    source: str | None
    root_session: str


def spend_shown(row: SpendRow) -> SpendShown:
    return SpendShown(
        requests=row.requests,
        usage=dict(row.usage),
        cost_usd=usd_text(row.cost_nanousd),
        capacity_usd=usd_text(row.capacity_nanousd),
        unpriced_requests=row.unpriced_requests,
        **row.group,
    )


def total_shown(row: SpendRow) -> SpendTotal:
    return SpendTotal(
        requests=row.requests,
        usage=dict(row.usage),
        cost_usd=usd_text(row.cost_nanousd),
        capacity_usd=usd_text(row.capacity_nanousd),
        unpriced_requests=row.unpriced_requests,
    )


def entry_shown(item: Mapping[str, Any]) -> EntryShown:
    """How an entry leaves, from a row as `reports.calls` gives it."""
    return EntryShown.model_construct(**_entry(item))


def request_shown(items: Sequence[Mapping[str, Any]]) -> RequestShown:
    """How one request leaves, from all of its entries, or from one entry."""
    attempts = [entry_shown(item) for item in items] if len(items) > 1 else []
    return RequestShown.model_construct(**_entry(items[0]), attempts=attempts)


def _entry(item: Mapping[str, Any]) -> dict[str, Any]:
    shown = {(_usd(name) if name.endswith(_NANO) else name): _value(name, value) for name, value in item.items()}
    del shown["key_id"]
    return shown | {"cost_nanousd": item["cost_nanousd"]}


_NANO = "_nanousd"


def _usd(name: str) -> str:
    return f"{name.removesuffix(_NANO)}_usd"


def _value(name: str, value: Any) -> Any:
    if name in ("started_at", "ended_at"):
        return rfc3339(value)
    if name == "budgets":
        return [_counted(one) for one in value] if isinstance(value, list) else value
    if name in ("ttft_ms", "duration_ms", "overhead_ms"):
        return None if value is None else round(value, 3)
    return usd_text(value) if name.endswith(_NANO) and value is not None else value


def _counted(budget: Any) -> Any:
    """What an entry counted in, with names; as it is where it is not of the ledger's shape."""
    match budget:
        case [str(name), str(group), int(start), "usd" | "tokens" | "requests" as measure, int(amount)]:
            shown = usd_text(amount) if measure == "usd" else amount
            began = rfc3339(start * 1_000_000) if start else None  # a window without an end has no beginning either
            return {"name": name, "group": group, "window_start": began, measure: shown}
    return budget


def session_shown(row: SessionRow) -> SessionShown:
    return SessionShown(
        session=row.session,
        team=row.team,
        requests=row.requests,
        cost_usd=usd_text(row.cost_nanousd),
        unpriced_requests=row.unpriced_requests,
        started_at=_at(row.started_at),
        ended_at=_at(row.ended_at),
        usage=dict(row.usage),
        duration_s=(row.ended_at - row.started_at) / 1e6,
    )


def _at(microseconds: int) -> str:
    text = rfc3339(microseconds)
    assert text is not None
    return text


def tree_shown(about: SessionAbout, tree: Node) -> TreeShown:
    """From the leaves up: a tree is as deep as its agents are nested."""
    made: dict[int, NodeShown] = {}
    for _, node in reversed(list(tree.walk())):
        children = [made[id(child)] for child in node.children]
        made[id(node)] = NodeShown.model_construct(**_node(node), children=children)
    root = made[id(tree)]
    return TreeShown.model_construct(**about._asdict(), **_node(tree), children=root.children)


def _node(node: Node) -> dict[str, Any]:
    return {
        "session": node.session,
        "agent": node.agent,
        "requests": node.requests,
        "usage": node.usage,
        "cost_usd": usd_text(node.cost_nanousd),
        "unpriced_requests": node.unpriced_requests,
        "own_requests": node.own_requests,
        "own_cost_usd": usd_text(node.own_cost_nanousd),
        "started_at": rfc3339(node.started_at),
        "ended_at": rfc3339(node.ended_at),
        "duration_s": duration_s(node),
        "calls": [entry_shown(call) for call in node.calls],
    }


def duration_s(node: Node) -> float | None:
    """From the first call's begin to the last one's end."""
    if node.started_at is None or node.ended_at is None:
        return None
    return (node.ended_at - node.started_at) / 1e6
