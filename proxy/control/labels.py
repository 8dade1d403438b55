"""Adds up times that are over, by the configured labels and all other attributes (`ledger/label_*.py`), and notes whose
an earlier version's sessions are."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.config.model import Config
from proxy.ledger.rollups.label_days import MOST_NAMES
from proxy.ledger.rollups.label_parts import add_up_a_part
from proxy.ledger.rollups.label_weeks import add_up_days
from proxy.ledger.rollups.session_keys import note_keys
from proxy.times import now_us

log = logging.getLogger("taximeter.control")

_LOOK_AGAIN_S = 60.0
_BETWEEN_S = 1.0
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}\Z")


async def add_up_labels(
    engine: Engine, config: Callable[[], Config], keys: Callable[[], Iterable[Mapping[str, Any]]]
) -> None:
    """One after the other, the latest first; reports read the others from their entries meanwhile."""
    while True:
        added = False
        try:
            names = label_names(config(), keys())
            added = await asyncio.to_thread(_add_up, engine, names)
        except SQLAlchemyError as error:
            log.warning("the ledger could not be added up by labels: %s; trying again", type(error).__name__)
        await asyncio.sleep(_BETWEEN_S if added else _LOOK_AGAIN_S)


def _add_up(engine: Engine, names: list[str]) -> bool:
    now = now_us()
    # Each in its turn: of a ledger that an earlier version has filled, the parts alone take hours.
    return any([add_up_a_part(engine, names, now), add_up_days(engine, names, now), note_keys(engine)])


def label_names(config: Config, keys: Iterable[Mapping[str, Any]]) -> list[str]:
    """The labels that plans, budgets and keys name, in this order, as many as are added up. keys: those made at run time."""
    attributes = [name for plan in config.plans for name in (*plan.match, plan.per)]
    attributes += [name for budget in config.budgets for name in (*budget.match, *budget.per)]
    named = [name.removeprefix("label.") for name in attributes if name.startswith("label.")]
    named += [name for key in config.keys for name in key.labels]
    named += [name for key in keys for name in key["labels"]]
    return [name for name in dict.fromkeys(named) if _NAME.match(name)][:MOST_NAMES]
