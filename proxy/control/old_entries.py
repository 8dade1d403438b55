"""Deletes what is older than it is to be kept, some at a time, so that the recorder never waits for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.config.model import Config
from proxy.ledger.retention import delete_some
from proxy.ledger.stored import forget_stored
from proxy.times import now_us

log = logging.getLogger("taximeter.control")

_LOOK_FOR_OLD_S = 60.0
_BETWEEN_DELETIONS_S = 0.05


async def delete_old(engine: Engine, config: Callable[[], Config]) -> None:
    """For as long as the process lives."""
    while True:
        deleted, now = 0, now_us()
        try:
            await asyncio.to_thread(forget_stored, engine, now)
            if days := config().ledger_retention_days:
                deleted = await asyncio.to_thread(delete_some, engine, days, now)
        except SQLAlchemyError as error:
            log.warning("old entries are still there: %s", type(error).__name__)
        await asyncio.sleep(_BETWEEN_DELETIONS_S if deleted else _LOOK_FOR_OLD_S)
