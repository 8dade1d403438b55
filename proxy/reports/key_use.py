"""Keys as they are shown, with when each was last used and what it came to; and what speaks against making one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.config.likely_mistakes import overlap
from proxy.config.model import Key
from proxy.ledger.rollup_schema import spend_days
from proxy.money import usd_text
from proxy.times import rfc3339


class KeyUse(NamedTuple):
    """last_used: the UTC day of its latest call."""

    last_used: str
    requests: int
    cost_nanousd: int


def key_use(engine: Engine) -> dict[str, KeyUse]:
    """By the key's name; what was never used is not in it."""
    table = spend_days.c
    sums = sa.func.max(table.start_at), sa.func.sum(table.requests), sa.func.sum(table.cost_nanousd)
    query = sa.select(table.key, *sums).where(table.key.is_not(None)).group_by(table.key)
    with engine.connect() as connection:
        return {
            key: KeyUse((rfc3339(last) or "")[:10], int(requests), int(cost or 0))
            for key, last, requests, cost in connection.execute(query)
        }


def keys_shown(
    configured: Sequence[Key], made: Sequence[Mapping[str, Any]], use: Mapping[str, KeyUse]
) -> Iterator[dict[str, Any]]:
    """The configuration's keys (their id is None), then those made at run time; never a secret."""
    for key in configured:
        yield {
            "id": None,
            **key.model_dump(include={"name", "team", "user", "customer", "labels"}),
            "models": None if key.models is None else list(key.models),
            "expires": None if key.expires is None else key.expires.isoformat(),
            **dict.fromkeys(("budget_usd", "budget_window", "rpm", "tpm")),
            **_use_of(key.name, use),
        }
    for row in made:
        yield {**row, **_use_of(row["name"], use)}


def _use_of(name: str, use: Mapping[str, KeyUse]) -> dict[str, Any]:
    used = use.get(name)
    if used is None:
        return {"last_used": None, "requests": 0, "cost_usd": "0"}
    return {"last_used": used.last_used, "requests": used.requests, "cost_usd": usd_text(used.cost_nanousd)}


def why_unusable(
    models: Sequence[str] | None, expires: datetime | None, models_here: Collection[str], now_s: float
) -> str | None:
    """Why nobody could use a key that is about to be made; None where somebody can.

    models_here: the configuration's models; empty where they are not known.
    """
    if expires is not None and expires.timestamp() <= now_s:
        return f"expires: {expires.isoformat()} is over already"
    strange = [name for name in models or () if models_here and not any(overlap(name, other) for other in models_here)]
    if strange:
        return f"models: {strange[0]!r} is not a model here (there are: {', '.join(sorted(models_here)[:20])})"
    return None
