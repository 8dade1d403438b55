"""Keys as they are shown, with when each was last used and what it came to; and what speaks against making one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.config.likely_mistakes import overlap
from proxy.config.model import Key
from proxy.ledger.rollup_schema import spend_days, spend_hours
from proxy.money import usd_text
from proxy.times import DAY_US, rfc3339


class KeyUse(NamedTuple):
    """last_used: the UTC day of its latest call. last_hour_at: when the hour of that call began, in epoch microseconds."""

    last_used: str
    last_hour_at: int
    requests: int
    cost_nanousd: int
    unpriced_requests: int

    def last_day(self, zone: tzinfo) -> str:
        """The day of its latest call in that zone, by the hour that is known."""
        return datetime.fromtimestamp(self.last_hour_at // 1_000_000, zone).date().isoformat()


def key_use(engine: Engine) -> dict[str, KeyUse]:
    """By the key's name; what was never used is not in it."""
    table = spend_days.c
    sums = (
        sa.func.max(table.start_at).label("day"),
        *[sa.func.sum(column) for column in (table.requests, table.cost_nanousd, table.unpriced_requests)],
    )
    query = sa.select(table.key, *sums).where(table.key.is_not(None)).group_by(table.key)
    # Each day that is the last one of some key is read once, not once for each of thousands of keys.
    last_days = sa.select(query.subquery().c.day).distinct().subquery()
    hours, day = spend_hours.c, last_days.c.day
    last_hours = (
        sa.select(hours.key, sa.func.max(hours.start_at))
        .select_from(last_days.join(spend_hours, (hours.start_at >= day) & (hours.start_at < day + DAY_US)))
        .where(hours.key.is_not(None))
        .group_by(hours.key)
    )
    with engine.connect() as connection:
        hour_of = {row[0]: row[1] for row in connection.execute(last_hours)}
        return {
            key: KeyUse((rfc3339(day) or "")[:10], hour_of.get(key, day), *(int(amount or 0) for amount in amounts))
            for key, day, *amounts in connection.execute(query)
        }


def keys_shown(
    configured: Sequence[Key], made: Sequence[Mapping[str, Any]], use: Mapping[str, KeyUse]
) -> Iterator[dict[str, Any]]:
    """The configuration's keys (their id is None), then those made at run time; never a secret."""
    for key in configured:
        yield {
            "id": None,
            **key.owner(),
            "labels": key.labels,
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
        return {"last_used": None, "requests": 0, "cost_usd": "0", "unpriced_requests": 0}
    return {
        "last_used": used.last_used,
        "requests": used.requests,
        "cost_usd": usd_text(used.cost_nanousd),
        "unpriced_requests": used.unpriced_requests,
    }


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
