"""What data planes begin with, where a clean stop (or nothing) lies before this start: known without the recorder, for there
is nothing to ship, and without SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from proxy.budgets.budget import Budget
from proxy.config.model import Config
from proxy.control.runtime_settings import RuntimeSettings
from proxy.ledger.planes.first_look import FirstLook, first_look
from proxy.ledger.planes.snapshot import identities_of, limits_of, seeds_of
from proxy.times import now_s, now_us

_SQLITE = "sqlite:///"
_NEVER = ("", 0)


class Counted(NamedTuple):
    """The budgets that are in force, and when the definition of each was taken, in epoch microseconds; None where the ledger is
    new."""

    budgets: Sequence[Budget]
    taken_at: Mapping[str, int] | None


class First(NamedTuple):
    """snapshot: as the recorder's process says it to a data plane that connects first, and `early`: the ledger cannot be asked
    yet."""

    snapshot: dict[str, Any]
    counted: Counted


def first_said(config: Config) -> First | None:
    """Only for who knows that nothing is left in the spool. None where there is more to do first: something to migrate or to
    define, a job that runs, a ledger that is another server's or does not answer."""
    path = config.ledger.removeprefix(_SQLITE)
    if path == config.ledger or not path or "?" in path or ":" in path:
        return None
    if config.capacity or config.exports:  # their books and places begin before the first call
        return None
    try:
        with first_look(Path(path)) as look:
            return _said(look, config)
    except (OSError, sqlite3.Error):  # said by who opens the ledger next
        return None


def _said(look: FirstLook, config: Config) -> First | None:
    if look.is_new:
        settings = RuntimeSettings([], [], [])
    elif look.is_settled:
        settings = RuntimeSettings(identities_of(look.keys()), limits_of(look.limits()), look.raises(now_us()))
    else:
        return None
    budgets = settings.budgets(config)
    taken = None if look.is_new else look.definitions()
    if taken is None:
        is_as_before = not any(budget.opening for budget in budgets)
    else:
        is_as_before = all(one.keys is not None or taken.get(one.name, _NEVER)[0] == one.definition for one in budgets)
    if not is_as_before or not (config.keys or settings.keys):  # without any key a first one may be made
        return None
    counted = Counted(budgets, None if taken is None else {name: since for name, (_, since) in taken.items()})
    if config.store != "memory":  # which has what is spent
        return First(settings.snapshot() | {"early": True}, counted)
    seeds = [] if taken is None else _seeds(look, budgets)
    defined = {budget.name: budget.definition for budget in budgets if budget.keys is None}
    return First(settings.snapshot(seeds) | {"defined": defined, "early": True}, counted)


def _seeds(look: FirstLook, budgets: Sequence[Budget]) -> list[dict[str, Any]]:
    now = now_s()
    counted, bases = look.spent(budgets, now)
    return seeds_of(budgets, counted, bases, now)
