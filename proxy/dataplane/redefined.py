"""Budgets that a reload adds or redefines: where this process has their counters, their calls wait until the ledger says what
the counters start with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.budgets.store import Standing, Store
from proxy.exchange.plane import Plane
from proxy.times import now_s


def definitions_of(plane: Plane) -> dict[str, str]:
    """By the names of budgets; what keys are made with counts the same for ever."""
    return {budget.name: budget.definition for budget in plane.configured.budgets.budgets if budget.keys is None}


def redefine(plane: Plane, before: Mapping[str, str]) -> None:
    """The plane has another configuration than the one that had the definitions `before`."""
    now = now_s()
    for budget in plane.configured.budgets.budgets:
        if budget.keys is not None or before.get(budget.name) == budget.definition:
            continue
        if plane.store.begin_anew(budget.name, budget.measure, *budget.window_now(now)):
            plane.unseeded.add(budget.name)
            plane.seeded.clear()
    if plane.early_seeds is not None:
        take_seeds(plane, *plane.early_seeds)


def take_seeds(plane: Plane, seeds: Sequence[Mapping[str, Any]], defined: Mapping[str, str]) -> None:
    """What the ledger says that counters have. defined: by which definitions of budgets. One that is not in force here is of a
    reload that comes yet, for which it is kept, or of an earlier one."""
    mine = definitions_of(plane)
    known = {name for name in plane.unseeded if defined.get(name) == mine.get(name)}
    seed_all(plane.store, [seed for seed in seeds if seed["budget"] in known])
    others = {name: digest for name, digest in defined.items() if mine.get(name) != digest}
    plane.early_seeds = ([seed for seed in seeds if seed["budget"] in others], others) if others else None
    plane.unseeded -= known
    if not plane.unseeded:
        plane.seeded.set()


def seed_all(store: Store, seeds: Iterable[Mapping[str, Any]]) -> None:
    """seeds: the fields of `Standing`, and the `base`."""
    for seed in seeds:
        fields = dict(seed)
        base: int = fields.pop("base")
        store.seed(Standing(reserved=0, **fields), base)
