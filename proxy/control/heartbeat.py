"""Which instances live: each says so in the ledger database, and who rebuilds shared counters waits for all that do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Set

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.ledger.planes import instances
from proxy.ledger.recording.passed_over import pass_over

log = logging.getLogger("taximeter.store")

_EVERY_S = 5.0


class Heartbeat:
    """This instance's. has_begun: it was said once, so that nobody goes on without this instance."""

    def __init__(self, engine: Engine, instance: str) -> None:
        self._engine = engine
        self._instance = instance
        self._one_at_a_time = threading.Lock()
        self._has_left = False
        self.has_begun = False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.beat()

    async def beat(self) -> None:
        with contextlib.suppress(SQLAlchemyError):  # it is said again
            await asyncio.to_thread(self._beat)

    async def leave(self) -> None:
        """Nobody need wait for this instance any more."""
        with contextlib.suppress(SQLAlchemyError):
            await asyncio.to_thread(self._leave)

    # In threads, which go on when `run` is cancelled: one that was late would be heard behind the leave, and waited for.

    def _beat(self) -> None:
        with self._one_at_a_time:
            if not self._has_left:
                instances.beat(self._engine, self._instance, instances.shared_now_us(self._engine))
                self.has_begun = True

    def _leave(self) -> None:
        with self._one_at_a_time:
            self._has_left = True
            instances.leave(self._engine, self._instance)

    # Of the others; in threads, too. Both raise SQLAlchemyError.

    def living(self, silent_s: float, but: Set[str]) -> set[str]:
        """Those that were not silent for so long, without those in `but`."""
        return instances.heard_since(self._engine, self._since(silent_s)) - but

    def are_gone(self, silent_s: float, but: Set[str]) -> bool:
        """Whether nobody lives beside those in `but`, and nobody can come back and ship what others know nothing of; else ask
        again."""
        silent = pass_over(self._engine, self._since(silent_s), but)
        if silent:
            log.warning(
                "budgets are rebuilt without instances that were silent for long: %s", ", ".join(sorted(silent))
            )
        return not silent and not self.living(silent_s, but)  # one may have come between the two

    def _since(self, silent_s: float) -> int:
        return instances.shared_now_us(self._engine) - int(silent_s * 1e6)
