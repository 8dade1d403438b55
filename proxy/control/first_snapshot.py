"""What data planes begin with, where a clean stop (or nothing) lies before this start: known without the recorder, for there
is nothing to ship, and without SQLAlchemy."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from proxy.budgets.budget import Budget
from proxy.config.model import Config
from proxy.control.runtime_settings import RuntimeSettings
from proxy.ledger.planes.first_look import FirstLook, first_look
from proxy.ledger.planes.snapshot import identities_of, limits_of, seeds_of
from proxy.times import now_s, now_us

_SQLITE = "sqlite:///"


def first_snapshot(config: Config) -> dict[str, Any] | None:
    """As the recorder's process says it to a data plane that connects first, and `early`: the ledger cannot be asked yet. Only
    for who knows that nothing is left in the spool. None where there is more to do first: something to migrate or to
    define, a job that runs, a ledger that is another server's or does not answer."""
    path = config.ledger.removeprefix(_SQLITE)
    if config.store != "memory" or path == config.ledger or not path or "?" in path or ":" in path:
        return None
    if config.capacity or config.exports:  # their books and places begin before the first call
        return None
    try:
        with first_look(Path(path)) as look:
            return _snapshot(look, config)
    except (OSError, sqlite3.Error):  # said by who opens the ledger next
        return None


def _snapshot(look: FirstLook, config: Config) -> dict[str, Any] | None:
    if look.is_new:
        settings = RuntimeSettings([], [], [])
    elif look.is_settled:
        settings = RuntimeSettings(identities_of(look.keys()), limits_of(look.limits()), look.raises(now_us()))
    else:
        return None
    budgets = settings.budgets(config)
    if look.is_new:
        seeds: list[dict[str, Any]] | None = None if any(budget.opening for budget in budgets) else []
    else:
        seeds = _seeds(look, budgets)
    if seeds is None or not (config.keys or settings.keys):  # without any key a first one may be made
        return None
    defined = {budget.name: budget.definition for budget in budgets if budget.keys is None}
    return settings.snapshot(seeds) | {"defined": defined, "early": True}


def _seeds(look: FirstLook, budgets: tuple[Budget, ...]) -> list[dict[str, Any]] | None:
    """None where a budget is another than it was."""
    taken = look.definitions()
    if any(budget.keys is None and taken.get(budget.name) != budget.definition for budget in budgets):
        return None
    now = now_s()
    counted, bases = look.spent(budgets, now)
    return seeds_of(budgets, counted, bases, now)
