"""What the counters of a store in memory stand at, for reports. Pure.

Each is one pass without a value for each counter, because calls wait meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappush, heapreplace

from proxy.budgets.budget import Budget
from proxy.budgets.counting import Counter, Idle, Window, digest
from proxy.budgets.store import CounterKey, Standing
from proxy.budgets.totals import Totals

IDLE = "(idle)"
Counters = Mapping[CounterKey, Counter]
IdleCounters = Mapping[Window, Idle]


def standings(
    counters: Counters, idle: IdleCounters, budget: str | None = None, group: str | None = None
) -> list[Standing]:
    """Every counter, or those of one budget, of one group; those that are idle together, as the group "(idle)", but by the
    name of a group that is asked for."""
    stated = [
        Standing(name, of, start, c.window_end, measure, c.limit, c.spent, c.reserved)
        for (name, of, measure, start), c in counters.items()
        if (budget is None or name == budget) and (group is None or of == group)
    ]
    for (name, measure, start), quiet in idle.items():
        if budget is not None and name != budget:
            continue
        spent = sum(quiet.spent.values()) if group is None else quiet.spent.get(digest(group))
        if spent is not None:
            stated.append(
                Standing(name, IDLE if group is None else group, start, quiet.window_end, measure, 0, spent, 0)
            )
    return stated


def fullest(counters: Counters, idle: IdleCounters, most: int, now_s: float) -> tuple[list[Standing], dict[str, int]]:
    """For each budget the `most` counters of the current window with the highest spend, and how many it has."""
    heaps: dict[str, list[tuple[int, CounterKey]]] = {}
    counts: dict[str, int] = {}
    for key, counter in counters.items():
        if counter.window_end is not None and counter.window_end <= now_s:
            continue
        name = key[0]
        heap = heaps.get(name)
        if heap is None:
            heap, counts[name] = heaps.setdefault(name, []), 0
        counts[name] += 1
        if len(heap) < most:
            heappush(heap, (counter.spent, key))
        elif counter.spent > heap[0][0]:
            heapreplace(heap, (counter.spent, key))
    for (name, _, _), quiet in idle.items():
        if quiet.window_end is not None and quiet.window_end <= now_s:
            continue
        counts[name] = counts.get(name, 0) + len(quiet.spent)
    keys = [key for heap in heaps.values() for _, key in heap]
    return [_standing_at(counters, key) for key in keys], counts


def _standing_at(counters: Counters, key: CounterKey) -> Standing:
    counter, (name, group, measure, start) = counters[key], key
    return Standing(name, group, start, counter.window_end, measure, counter.limit, counter.spent, counter.reserved)


def totals(counters: Counters, idle: IdleCounters, budgets: Sequence[Budget], now_s: float) -> list[Totals]:
    """What the budgets' groups come to in their current windows."""
    by_window: dict[Window, Totals] = {
        (one.name, one.measure, one.window_now(now_s)[0]): Totals(one, now_s) for one in budgets
    }
    for (name, group, measure, start), counter in counters.items():
        of_budget = by_window.get((name, measure, start))
        if of_budget is not None:
            of_budget.add(group, counter.spent, counter.reserved)
    for window, of_budget in by_window.items():
        quiet = idle.get(window)
        if quiet is not None:
            named = {digest(group): group for group in of_budget.named}
            for key, spent in quiet.spent.items():
                of_budget.add(named.get(key, IDLE), spent, 0)
    return list(by_window.values())
