"""What a data plane begins with, as the ledger says it at one moment: no batch is in one part of it and not in another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy.engine import Engine

from proxy.budgets.budget import Budget
from proxy.ledger.beside.jobs import running_in
from proxy.ledger.database import reading
from proxy.ledger.planes.counters import seeds_in
from proxy.ledger.planes.definitions import definitions_in
from proxy.ledger.recording.shipping import last_batch


class InitialState(NamedTuple):
    """batch: the last that the instance had committed by then. seeds, defined: what budgets have spent, and by which of their
    definitions. jobs: those that run."""

    batch: int
    seeds: list[dict[str, Any]]
    defined: dict[str, str]
    jobs: list[dict[str, Any]]


def initial_state(engine: Engine, instance: str, budgets: Sequence[Budget], now_s: float) -> InitialState:
    """Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        taken = definitions_in(connection)
        defined = {budget.name: taken[budget.name].digest for budget in budgets if budget.name in taken}
        batch = last_batch(connection, instance)
        return InitialState(batch, seeds_in(connection, budgets, now_s), defined, running_in(connection))
