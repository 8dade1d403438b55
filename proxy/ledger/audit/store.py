"""The budget store beside the ledger: each of its counters must be what the ledger says, while calls go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Engine

from proxy.budgets.budget import Budget
from proxy.ledger.audit.difference import Difference
from proxy.ledger.planes.counters import budget_seeds
from proxy.times import now_s

_TRIES = 10
_CATCH_UP_S = 1.0  # the recorder ships what is settled well within it

Counters = dict[tuple[str, str], int]
"""By budget and group, what is spent, in the budget's own measure. What has spent nothing is not in it."""


class StoreAway(Exception):  # noqa: N818 - the state's name
    """The store was not asked; the message says why."""


def counters_of(rows: Iterable[Mapping[str, Any]]) -> Counters:
    """Counters, from rows with `budget`, `group` and `spent`."""
    counters: Counters = {}
    for row in rows:
        if row["spent"]:
            place = row["budget"], row["group"]
            counters[place] = counters.get(place, 0) + row["spent"]
    return counters


def ledger_counters(engine: Engine, budgets: Sequence[Budget]) -> Counters:
    return counters_of(budget_seeds(engine, budgets, now_s()))


def compare_store(ledger: Callable[[], Counters], store: Callable[[], Counters]) -> tuple[str, Difference | None]:
    """What to say of it, and the first difference: for a while, as calls that just ended are on their way to the ledger.

    store: raises `StoreAway` where there is nobody to ask.
    """
    difference = None
    for _ in range(_TRIES):
        before = ledger()
        try:
            counters = store()
        except StoreAway as away:
            return f"not asked: {away}", None
        if counters == before:
            return f"its {len(counters)} counters are the ledger's", None
        time.sleep(_CATCH_UP_S)
        difference = _outside(before, counters, ledger())
        if difference is None:
            return f"its {len(counters)} counters are the ledger's, with calls in flight", None
    return "differs", difference


def _outside(before: Counters, store: Counters, after: Counters) -> Difference | None:
    """A counter of the store that the ledger neither had, nor has now, nor passed in between."""
    for key in sorted(before.keys() | store.keys() | after.keys()):
        least, most = sorted((before.get(key, 0), after.get(key, 0)))
        if not least <= store.get(key, 0) <= most:
            name, group = key
            where = f"budget {name}" + (f" group {group}" if group else "")
            return Difference(where, f"the store has {store.get(key, 0)}, the ledger {after.get(key, 0)}")
    return None
