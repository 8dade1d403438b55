"""Deletes entries past their retention, some at a time, so that the recorder never waits for long; and makes the tables of the
coming months, where entries are kept by months."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.config.model import Config
from proxy.ledger.beside.stored import forget_stored
from proxy.ledger.partitions import make_months
from proxy.ledger.planes.instances import surely_now_us
from proxy.ledger.recording.retention import delete_some, drop_months
from proxy.times import now_us

log = logging.getLogger("taximeter.control")

_LOOK_FOR_OLD_S = 60.0
_BETWEEN_DELETIONS_S = 0.05


async def maintain_entries(engine: Engine, config: Callable[[], Config]) -> None:
    """For as long as the process lives."""
    deleted = 0
    while True:
        days = config().ledger_retention_days
        if not deleted:
            await asyncio.to_thread(_months, engine, days)
        deleted = 0
        try:
            now = await asyncio.to_thread(surely_now_us, engine)
            await asyncio.to_thread(forget_stored, engine, now)
            if days:
                deleted = await asyncio.to_thread(delete_some, engine, days, now)
        except SQLAlchemyError as error:
            log.warning("old entries could not be deleted: %s; trying again", type(error).__name__)
        await asyncio.sleep(_BETWEEN_DELETIONS_S if deleted else _LOOK_FOR_OLD_S)


def _months(engine: Engine, keep_days: int) -> None:
    """Before single entries are deleted: what goes as a whole need not go one by one."""
    try:
        if made := make_months(engine, now_us()):
            log.info("ledger: tables are made for the coming months: %s", ", ".join(made))
        if keep_days and (dropped := drop_months(engine, keep_days, surely_now_us(engine))):
            log.info("ledger: old entries are deleted with their tables: %s", ", ".join(dropped))
    except SQLAlchemyError as error:
        log.warning("the tables of months could not be made or dropped: %s; trying again", type(error).__name__)
