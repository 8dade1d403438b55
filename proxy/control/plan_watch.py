"""Looks every minute which customers cost more this month than they pay: a metric, and an alert for each of them, once a month.

Nothing is asked where the configuration has no `plans`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.config.model import Config
from proxy.control.alerts import Alerts, Event
from proxy.money import usd_text
from proxy.times import BadQuestion, now_us

if TYPE_CHECKING:
    from proxy.reports.margin.margin import Economy, Margins

log = logging.getLogger("taximeter.plans")

_EVERY_S = 60.0
_REST = 50  # times as long as it took: plans that go by labels read every entry of the month


class PlanWatch:
    """`at_loss`: plan -> how many of its customers cost more than they pay in the running month (UTC)."""

    def __init__(self, engine: Engine, config: Callable[[], Config], alerts: Alerts) -> None:
        self._engine = engine
        self._config = config
        self._alerts = alerts
        self.at_loss: Mapping[str, int] = {}

    async def watch(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.to_thread(self.look, now_us())
            await asyncio.sleep(max(_EVERY_S, _REST * (time.monotonic() - began)))

    def look(self, now_us: int) -> None:
        """Once. What cannot be known now stays as it was."""
        plans = self._config().plans
        if not plans:
            self.at_loss = {}
            return
        try:
            from proxy.reports.margin.margin import Question, at_loss, margins  # noqa: PLC0415 - most have no plans

            found_margins = margins(self._engine, plans, Question(by=("plan",), zone=ZoneInfo("UTC")), now_us)
            losers = at_loss(found_margins)
            self._alerts.tell(_events(found_margins, losers))
        except (SQLAlchemyError, BadQuestion, ImportError) as error:
            log.error("it is not known now which customers cost more than they pay: %s", type(error).__name__)
            return
        self.at_loss = {plan.name: len(losers.get(plan.name, ())) for plan in plans}


def _events(margins: Margins, losers: Mapping[str, list[Economy]]) -> list[Event]:
    start_s = margins.month.start // 1_000_000
    return [
        Event("plan_loss", "", payer.group["customer"] or "", start_s, plan, _text(payer, plan, margins.month.name))
        for plan, payers in sorted(losers.items())
        for payer in payers
    ]


def _text(payer: Economy, plan: str, month: str) -> str:
    paid = usd_text((payer.revenue or 0) - payer.fee)
    return (
        f"Customer {payer.group['customer']} passed its plan's revenue: ${usd_text(payer.spent)} of cost in {month}, "
        f"${paid} are left of what plan {plan} brings in."
    )
