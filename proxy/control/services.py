"""What the control process does besides recording: the API, exports, capacities, plans, upkeep of the ledger.

No call waits for any of it, so it is imported and begun once the data planes serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from proxy.control.api.lazy_front import LazyFront
from proxy.control.capacity.keeper import Keeper
from proxy.control.labels import add_up_labels
from proxy.control.old_entries import maintain_entries
from proxy.control.plan_watch import PlanWatch
from proxy.control.resources import InForce, Resources
from proxy.exports.running import Exports
from proxy.processes.not_installed import require

if TYPE_CHECKING:
    from proxy.control.api.front import Front


class Services:
    """Its threads run from the beginning until `stop`; `works` are for the caller's loop; `front` is what the port answers."""

    def __init__(
        self, resources: Resources, in_force: InForce, *, workers: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Raises ImportError where a package is missing that the API will need. workers: data planes that should serve."""
        require("starlette", "fastapi", "jinja2")  # imported when somebody asks
        engine, config = resources.engine, in_force.config
        self._engine, self._in_force = engine, in_force
        self._plans = PlanWatch(engine, config, resources.alerts)
        self._exports = Exports(engine, resources.instance, lambda: config().exports)
        self._keeper = Keeper(engine, resources.instance, config, resources.recorder, resources.data_dir)

        def make() -> Front:
            from proxy.control.api.front import Front  # noqa: PLC0415 - see LazyFront
            from proxy.control.state import ControlState  # noqa: PLC0415 - as above

            return Front(
                ControlState(
                    config=config,
                    engine=engine,
                    link=resources.link,
                    metrics=resources.metrics,
                    recorder=resources.recorder,
                    loop=loop,
                    refresh=in_force.refresh,
                    budgets=in_force.budgets,
                    alerts=resources.alerts,
                    in_file=in_force.in_file,
                    plans=self._plans,
                    book=self._keeper.book,
                    expected_workers=workers,
                    shared=resources.shared,
                    keeper=self._keeper,
                )
            )

        self.front = LazyFront(make)
        self._exports.start()
        self._keeper.start()

    def works(self) -> Sequence[Coroutine[Any, Any, None]]:
        """Each runs until it is cancelled."""
        return (
            maintain_entries(self._engine, self._in_force.config),
            add_up_labels(self._engine, self._in_force.config, lambda: self._in_force.made().keys),
            self._plans.watch(),
        )

    def stop(self) -> None:
        """Once nothing is recorded any more. It waits for the threads' ends."""
        self._keeper.stop()
        self._exports.stop()
