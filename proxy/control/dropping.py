"""Drops old groups of budgets without an end (`per: [session], window: total`) from Redis, which keeps some tens of thousands
of each budget. What the others have spent is read from the ledger when one of them comes back.

A group is dropped where Redis and the ledger say the same and nothing of it is reserved: then all that it spent is in the
ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.budgets.redis.member import Recall, Value
from proxy.budgets.redis.scripts import unbucket
from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import StoreUnavailable
from proxy.ledger.planes.counters import spent_by

MOST_GROUPS = 50_000
"""Of one budget, in Redis; where there are more, half of that is kept."""

_AT_ONCE = 1000


def recalled(engine: Engine, groups: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """What the ledger says of groups, by bucket and group; and how much of that is the base of the budget's definition."""
    buckets = []
    for name, group in groups:
        budget, measure, start = unbucket(name)
        buckets.append((budget, measure, start, group))
    return spent_by(engine, buckets)


def recall_from(engine: Engine) -> Recall:
    async def recall(groups: Sequence[tuple[str, str]]) -> Sequence[tuple[int, int]]:
        try:
            return await asyncio.to_thread(recalled, engine, groups)
        except SQLAlchemyError as error:
            raise StoreUnavailable(f"the ledger does not say what groups have spent: {error}") from None

    return recall


async def drop_groups(store: RedisStore, engine: Engine, most: int = MOST_GROUPS) -> int:
    """Drop groups of budgets without an end that have more than `most`; how many.

    Raises `StoreUnavailable`, `SQLAlchemyError`.
    """
    member, dropped = store.member, 0
    ends = await member.command("HGETALL", member.name("buckets"))
    for bucket, end in ends.items():
        if end != "":
            continue
        spent = member.name(f"s:{bucket}")
        more = int(await member.command("HLEN", spent)) - most // 2
        if more <= most - most // 2:
            continue
        cursor = "0"
        while more > 0:
            cursor, fields = await member.command("HSCAN", spent, cursor, "COUNT", _AT_ONCE)
            gone = await _drop(store, engine, bucket, fields[::2])
            more, dropped = more - gone, dropped + gone
            if cursor == "0":
                break
    return dropped


async def _drop(store: RedisStore, engine: Engine, bucket: str, groups: Sequence[str]) -> int:
    words: list[Value] = []
    sums = await asyncio.to_thread(recalled, engine, [(bucket, group) for group in groups])
    for group, (amount, _) in zip(groups, sums, strict=True):
        words += (group, amount)
    if not words:
        return 0
    return int((await store.member.call("drop", store.member.epoch, bucket, *words))[0])
