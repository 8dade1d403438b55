"""What the control plane knows and whom it can ask: for the API, the page and the metrics alike. Without FastAPI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.engine import Engine

from pricing.book import Book
from pricing.operator import OperatorPrice
from pricing.values import frozen
from proxy.budgets.budget import Budget
from proxy.budgets.store import StoreUnavailable
from proxy.budgets.totals import Totals
from proxy.config.model import Config
from proxy.config.own_prices import priced_by
from proxy.control.alerts import Alerts
from proxy.control.capacity.keeper import Keeper
from proxy.control.metrics.series import MetricState
from proxy.control.plan_watch import PlanWatch
from proxy.ledger.recording.recorder import Recorder
from proxy.processes.link import ControlServer
from proxy.processes.orders import InFile
from proxy.times import now_s

if TYPE_CHECKING:
    from proxy.control.rebuilding import SharedBudgets

T = TypeVar("T")
_LONGEST_WAIT_S = 5.0


class Unavailable(Exception):  # noqa: N818 - the state's name
    """Who was asked does not answer; the message says who, to whoever asked us."""


@frozen
class ControlState:
    """The control process as its handlers see it. They run in threads; what belongs to the loop is waited for."""

    config: Callable[[], Config]
    engine: Engine
    link: ControlServer
    metrics: MetricState
    recorder: Recorder
    loop: asyncio.AbstractEventLoop
    refresh: Callable[[], Awaitable[object]]
    budgets: Callable[[], Sequence[Budget]]
    alerts: Alerts
    book: Book
    expected_workers: int = 1
    shared: SharedBudgets | None = None
    keeper: Keeper | None = None
    plans: PlanWatch | None = None
    in_file: Callable[[], InFile] = InFile

    def own_book(self, typed: OperatorPrice | None = None) -> Book:
        """The price book with what the configuration says of prices, and one that was typed before all of them."""
        return priced_by(self.config(), self.book, typed)

    def capacity_problem(self, name: str) -> str | None:
        """Why a capacity's server or meter cannot be asked, if this instance keeps its books."""
        return None if self.keeper is None else self.keeper.problems().get(name)

    def wait(self, work: Awaitable[T]) -> T:
        """Run something on the process's loop from a handler's thread. Raises `Unavailable` after 5 s."""
        future = asyncio.run_coroutine_threadsafe(_awaited(work), self.loop)
        try:
            return future.result(timeout=_LONGEST_WAIT_S)
        except TimeoutError:
            future.cancel()
            raise Unavailable("The control process did not answer in time; try again.") from None

    def standings(self, budget: str | None = None, group: str | None = None) -> list[dict[str, Any]]:
        """The counters, all or of one budget, of one group: the shared store's, or those that the data plane has in memory.

        Raises `Unavailable`.
        """
        if self.shared is not None:
            try:
                rows = self.wait(self.shared.standings())
            except StoreUnavailable:
                raise Unavailable("The budget store does not answer.") from None
        else:
            asked = self._asked("standing", {"budget": budget, "group": group})
            rows = [row for answer in asked for row in answer or ()]
        return [row for row in rows if budget in (None, row["budget"]) and group in (None, row["group"])]

    def fullest(self, most: int) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Of each budget `most` counters or more, those with most spent; and how many each has, where that is not all."""
        if self.shared is not None:
            return self.standings(), {}
        answers = self._asked("fullest", {"most": most})
        counts = {name: count for answer in answers for name, count in answer["counts"].items()}
        return [row for answer in answers for row in answer["rows"]], counts

    def totals(self) -> dict[str, Mapping[str, Any]]:
        """What each budget's groups come to in the current window: `spent`, `reserved`, `over` (as `alert_at`)."""
        if self.shared is None:
            return {row["budget"]: row for rows in self._asked("totals", {}) for row in rows}
        now = now_s()
        current = {(budget.name, budget.window_now(now)[0]): Totals(budget, now) for budget in self.budgets()}
        for row in self.standings():
            totals = current.get((row["budget"], row["window_start"]))
            if totals is not None:
                totals.add(row["group"], row["spent"], row["reserved"])
        return {name: totals.as_message() for (name, _), totals in current.items()}

    def _asked(self, name: str, payload: Mapping[str, Any]) -> list[Any]:
        answers = self.wait(self.link.ask(name, payload))
        if not answers:
            raise Unavailable("No data plane answers: it is starting, or busy.")
        return list(answers.values())


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def unrecorded_because(gauges: Mapping[str, Any]) -> list[str]:
    """What keeps records out of the spool, by what data planes answered; empty where nothing does."""
    return sorted({why for answer in gauges.values() if (why := (answer or {}).get("unrecorded_because"))})
