"""Opening the ledger at the start: a database may come later than we do, or take nothing yet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.ledger.database import open_ledger, why_not_opened
from proxy.ledger.planes import instances
from proxy.ledger.schema import budget_spend, entries

log = logging.getLogger("taximeter.control")

_RETRY_S = 1.0


async def opened(
    url: str,
    instance: str,
    data_dir: Path,
    is_readable: Callable[[Engine], None],
    meanwhile: AbstractAsyncContextManager[None],
    stop: asyncio.Event,
) -> Engine | None:
    """The ledger at `url`, with `instance` in it, waited for. None where we are to stop meanwhile. A stop that was asked for
    before is none: data planes may have served, and what they wrote has to be shipped.

    is_readable: called before anything is written: while somebody has locked the ledger, it can be read. meanwhile: entered
    once it is waited for.
    """
    last = ""
    async with contextlib.AsyncExitStack() as waiting:
        while True:
            try:
                engine = await asyncio.to_thread(open_ledger, url)
                is_readable(engine)
                await asyncio.to_thread(_adopt, engine, instance, data_dir)
            except (SQLAlchemyError, OSError) as error:
                reason = why_not_opened(error, url)
                if not last:
                    await waiting.enter_async_context(meanwhile)
                if reason != last:
                    log.error(
                        "ledger: cannot be opened: %s; trying again, and no call is served until it is open", reason
                    )
                last = reason
            else:
                if last:
                    log.warning("ledger: is open now")
                return engine
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _RETRY_S)
                return None


def is_empty(engine: Engine) -> bool:
    """Whether nothing was ever recorded there. Raises SQLAlchemyError."""
    with engine.connect() as connection:
        return not any(connection.execute(sa.select(table).limit(1)).first() for table in (entries, budget_spend))


def say_that_it_is_another(url: str, data_dir: Path) -> None:
    """The ledger is empty, and served calls were in one: budgets begin anew, and nobody would see why."""
    where = re.sub(r"//[^/@]*@", "//", url)
    log.warning(
        "ledger: %s is empty, though calls were served out of %s before: budgets begin at 0, and keys that were made at "
        "run time are not there; where that is not meant, stop, and name the ledger of before", where, data_dir,
    )  # fmt: skip


def _adopt(engine: Engine, instance: str, data_dir: Path) -> None:
    try:
        instances.adopt(engine, instance, data_dir)
    except BaseException:
        engine.dispose()
        raise
