"""How the ledger's values leave: money as decimal strings, times as RFC 3339. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.money import usd_text
from proxy.reports.session_tree import Node
from proxy.times import rfc3339


def with_usd(item: Mapping[str, Any]) -> dict[str, Any]:
    """Every `*_nanousd` as `*_usd`, a decimal string (null stays null: unpriced is not 0)."""
    return {
        (f"{name[:-8]}_usd" if name.endswith("_nanousd") else name): (
            usd_text(value) if name.endswith("_nanousd") and value is not None else value
        )
        for name, value in item.items()
    }


def with_times(item: Mapping[str, Any]) -> dict[str, Any]:
    return dict(item) | {name: rfc3339(item[name]) for name in ("started_at", "ended_at")}


def entry_shown(item: Mapping[str, Any]) -> dict[str, Any]:
    """A ledger entry for the API: money also in nano-USD, as the ledger has it; the key's hash stays inside."""
    shown = with_usd(with_times(item)) | {"cost_nanousd": item["cost_nanousd"]}
    shown.pop("key_id", None)
    return shown


def session_shown(item: Mapping[str, Any]) -> dict[str, Any]:
    """A tree's totals, as a list shows it."""
    return with_usd(with_times(item)) | {"duration_s": (item["ended_at"] - item["started_at"]) / 1e6}


def node_shown(node: Node) -> dict[str, Any]:
    """A session or agent with its own calls and all that is below it; amounts are those of all."""
    made: dict[int, dict[str, Any]] = {}
    for _, one in node.walk():
        made[id(one)] = {
            "session": one.session,
            "agent": one.agent,
            "requests": one.requests,
            "usage": one.usage,
            "cost_usd": usd_text(one.cost_nanousd),
            "unpriced_requests": one.unpriced_requests,
            "own_requests": one.own_requests,
            "own_cost_usd": usd_text(one.own_cost_nanousd),
            "started_at": rfc3339(one.started_at),
            "ended_at": rfc3339(one.ended_at),
            "duration_s": duration_s(one),
            "calls": [entry_shown(call) for call in one.calls],
            "children": [],
        }
    for _, one in node.walk():
        made[id(one)]["children"] = [made[id(child)] for child in one.children]
    return made[id(node)]


def duration_s(node: Node) -> float | None:
    """From the first call's begin to the last one's end."""
    if node.started_at is None or node.ended_at is None:
        return None
    return (node.ended_at - node.started_at) / 1e6
