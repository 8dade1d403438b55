"""Takes repriced entries into the counters in memory, for windows that still run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxy.exchange.plane import Plane
from proxy.times import now_s
from proxy.types import Claim


async def charge_repricings(plane: Plane, charges: Sequence[Any]) -> None:
    """charges: a correction's id, and its budget amounts as records have them. Those of windows that are over are left."""
    budgets = {budget.name: budget for budget in plane.configured.budgets.budgets}
    now = now_s()
    for entry_id, amounts in charges:
        claims = []
        for name, group, start, measure, amount in amounts:
            budget = budgets.get(name)
            if budget is None or budget.measure != measure or budget.window_now(now)[0] != start:
                continue
            end, limit = budget.window_now(now)[1], budget.limit_for(group, now)
            claims.append(Claim(name, group, start, end, limit, amount, measure))
        if claims:
            await plane.store.charge(entry_id, claims, [claim.amount for claim in claims])


async def know_repricings(plane: Plane, charges: Sequence[Any]) -> None:
    """What the ledger says was spent has these: whoever tells them again tells nothing new."""
    for entry_id, _ in charges:
        await plane.store.release(entry_id)
