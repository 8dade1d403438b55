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
        if plane.store.begin_anew(budget.name, budget.measure, budget.window_now(now)[0]):
            plane.unseeded.add(budget.name)
            plane.seeded.clear()


def take_seeds(plane: Plane, seeds: Sequence[Mapping[str, Any]], defined: Mapping[str, str]) -> None:
    """What the ledger says that counters have. defined: by which definitions of budgets; another than the one that is in force
    here is of an earlier reload, and passed over."""
    definitions = definitions_of(plane)
    ready = {name for name in plane.unseeded if defined.get(name) == definitions.get(name)}
    seed_all(plane.store, [seed for seed in seeds if seed["budget"] in ready])
    plane.unseeded -= ready
    if not plane.unseeded:
        plane.seeded.set()


def seed_all(store: Store, seeds: Iterable[Mapping[str, Any]]) -> None:
    """seeds: the fields of `Standing`, and the `base`."""
    for seed in seeds:
        fields = dict(seed)
        base: int = fields.pop("base")
        store.seed(Standing(reserved=0, **fields), base)
