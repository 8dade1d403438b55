"""What is made at run time, as the control process has it: looked for in the ledger, in which commands and other instances
change it, and told to the data planes as it changes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.budgets.budget import Budget
from proxy.config.model import Config
from proxy.control.runtime_settings import NO_RUNTIME_SETTINGS, RuntimeSettings, SettingsReader
from proxy.ledger.planes.changes import Changes

_POLL_S = 0.3
_LOOK_S = 10.0  # even where nothing seems to have changed, for what is written into a file by hand


class Made:
    """`settings` are in force. push: tells all data planes."""

    def __init__(self, engine: Callable[[], Engine], push: Callable[[Mapping[str, Any]], None]) -> None:
        self.settings = NO_RUNTIME_SETTINGS
        self._engine = engine
        self._push = push
        self._reader = SettingsReader()
        self._number = 0  # of these settings among all that were in force in this life
        self._looks = self._latest_look = 0
        self._compiled: tuple[Config | None, RuntimeSettings, tuple[Budget, ...]] = (None, NO_RUNTIME_SETTINGS, ())

    def begin(self) -> None:
        """Before any data plane is told."""
        self.settings = self._reader.read(self._engine())

    def snapshot(self, seeds: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """For a data plane that may know nothing yet. seeds: what is spent."""
        return self.settings.snapshot(seeds) | {"number": self._number}

    def budgets(self, config: Config) -> tuple[Budget, ...]:
        """The budgets in force, with what they are raised by."""
        of, settings, compiled = self._compiled
        if of is not config or settings is not self.settings:  # asked with every batch, changed now and then
            settings = self.settings
            compiled = settings.budgets(config)
            self._compiled = config, settings, compiled
        return compiled

    async def watch(self) -> None:
        """Keys and raises can be made by the command line and by other instances, straight in the database."""
        with contextlib.closing(Changes(self._engine())) as changes:
            # The version at the latest look, the one at the latest reading, and the mark then.
            seen = read = mark_read = None
            look_at = 0.0
            while True:
                await asyncio.sleep(_POLL_S)
                version = changes.version()
                if version is not None and version == (seen if monotonic() < look_at else read):
                    continue
                mark, now = await asyncio.to_thread(changes.mark), monotonic()
                seen = version
                if mark is None or mark != mark_read or now >= look_at:
                    # Where it does not answer, what it says next is read: a standby that takes over may lack the latest.
                    seen = read = mark_read = None
                    if await self.refresh():
                        seen = read = version
                        mark_read, look_at = mark, now + _LOOK_S

    async def refresh(self) -> bool:
        """Whether the database answered."""
        self._looks = look = self._looks + 1
        try:
            settings = await asyncio.to_thread(self._reader.read, self._engine())
        except SQLAlchemyError:
            return False  # what was read last stays in force
        is_latest, self._latest_look = look > self._latest_look, max(look, self._latest_look)
        if is_latest and settings != self.settings:  # who asked later may have had the answer first
            before, self.settings = self.settings, settings
            self._number += 1
            self._push({"changes": settings.since(before) | {"number": self._number}})
        return True
