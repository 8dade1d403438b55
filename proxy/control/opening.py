"""Opening the ledger at the start: a database may come later than we do, or take nothing yet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.ledger import instances
from proxy.ledger.database import open_ledger, why_not_opened

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
                    log.error("ledger: cannot be opened: %s; it is tried again, data planes begin behind it", reason)
                last = reason
            else:
                if last:
                    log.warning("ledger: is open now")
                return engine
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _RETRY_S)
                return None


def _adopt(engine: Engine, instance: str, data_dir: Path) -> None:
    try:
        instances.adopt(engine, instance, data_dir)
    except BaseException:
        engine.dispose()
        raise
