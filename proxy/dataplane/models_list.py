"""The list of models as each provider's SDK reads it: OpenAI's looks for `data`, Google's for `models`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from proxy.dialects import ANTHROPIC, GEMINI
from proxy.dialects.family import Family
from proxy.times import rfc3339
from proxy.types import Route


def listed(routes: Iterable[Route], since: int, family: Family) -> dict[str, Any]:
    """All of them. since: unix seconds; when a model was made is not known, but the field has to be there."""
    rows = [row(route, since, family) for route in routes]
    if family is GEMINI:
        return {"models": rows}
    if family is ANTHROPIC:
        ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {"first_id": None, "last_id": None}
        return {"data": rows, "has_more": False, **ends}
    return {"object": "list", "data": rows}


def row(route: Route, since: int, family: Family) -> dict[str, Any]:
    """One of them. Of Google's fields those are left out that nobody here knows, as what its model is good for."""
    name = route.requested
    if family is GEMINI:
        return {"name": f"models/{name}", "displayName": name}
    if family is ANTHROPIC:
        return {"type": "model", "id": name, "display_name": name, "created_at": rfc3339(since * 1_000_000)}
    return {"id": name, "object": "model", "created": since, "owned_by": route.provider}
