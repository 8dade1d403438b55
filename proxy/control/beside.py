"""What the control process does beside recording: the API, exports, capacities, plans, upkeep of the ledger.

No call waits for any of it, so it is imported and begun once the data planes serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Engine

from proxy.budgets.budget import Budget
from proxy.config.model import Config
from proxy.control.alerts import Alerts
from proxy.control.api.door import Door
from proxy.control.capacity.keeper import Keeper
from proxy.control.labels import add_up_labels
from proxy.control.made_here import MadeHere
from proxy.control.metrics.series import MetricState
from proxy.control.old_entries import look_after_entries
from proxy.control.plan_watch import PlanWatch
from proxy.exports.running import Exports
from proxy.ledger.recorder import Recorder
from proxy.not_installed import require
from proxy.processes.link import ControlServer

if TYPE_CHECKING:
    from proxy.control.api.front import Front
    from proxy.control.rebuilding import SharedBudgets


class Beside:
    """Its threads run from the beginning until `stop`; `works` are for the caller's loop; `front` is what the port answers."""

    def __init__(
        self,
        *,
        engine: Engine,
        instance: str,
        data_dir: Path,
        config: Callable[[], Config],
        made: Callable[[], MadeHere],
        budgets: Callable[[], Sequence[Budget]],
        link: ControlServer,
        metrics: MetricState,
        recorder: Recorder,
        alerts: Alerts,
        shared: SharedBudgets | None,
        workers: int,
        refresh: Callable[[], Awaitable[None]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Raises ImportError where a package is missing that the API will need."""
        require("starlette", "fastapi", "jinja2")  # imported when somebody asks
        self._engine, self._config, self._made = engine, config, made
        self._plans = PlanWatch(engine, config, alerts)
        self._exports = Exports(engine, instance, lambda: config().exports)
        self._keeper = Keeper(engine, instance, config, recorder, data_dir)

        def make() -> Front:
            from proxy.control.api.front import Front  # noqa: PLC0415 - see Door
            from proxy.control.state import ControlState  # noqa: PLC0415 - as above

            return Front(
                ControlState(
                    config=config,
                    engine=engine,
                    link=link,
                    metrics=metrics,
                    recorder=recorder,
                    loop=loop,
                    refresh=refresh,
                    budgets=budgets,
                    alerts=alerts,
                    plans=self._plans,
                    book=self._keeper.book,
                    expected_workers=workers,
                    shared=shared,
                    keeper=self._keeper,
                )
            )

        self.front = Door(make)
        self._exports.start()
        self._keeper.start()

    def works(self) -> Sequence[Coroutine[Any, Any, None]]:
        """Each runs until it is cancelled."""
        return (
            look_after_entries(self._engine, self._config),
            add_up_labels(self._engine, self._config, lambda: self._made().keys),
            self._plans.watch(),
        )

    def stop(self) -> None:
        """Once nothing is recorded any more. It waits for the threads' ends."""
        self._keeper.stop()
        self._exports.stop()
