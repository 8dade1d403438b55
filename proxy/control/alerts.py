"""Alerts: what an operator is told, once each: a threshold crossed, a block, a loop, an overrun, a budget store that is away.

Decided from what the recorder has just shipped, so at the settlement itself. One event for each kind, budget, group and
window, whatever restarts and however many instances share the database: the table's key says so. Each is a line in the log,
a count in the metrics, and a POST to the webhook: in order, tried again until it is taken, never holding up the recorder.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.budgets.budget import Budget
from proxy.config.model import Config
from proxy.ids import Ids
from proxy.ledger.database import insert_into, writing
from proxy.ledger.entries.entry import Shipped
from proxy.ledger.recording.batch import RefusedCall
from proxy.ledger.schema import alerts
from proxy.money import usd_text
from proxy.times import now_s, now_us, rfc3339

log = logging.getLogger("taximeter.alerts")

_PAUSES_S = (0.5, 60.0)  # first and longest
_HOUR_S = 3600
_GIVEN_UP_S = 86_400  # an event that nobody took for a day is old news
_TO_NOBODY = 0
_LOOK_UP = 200
_MAX_KNOWN = 100_000
_LOOPS = ("loop_detected", "session_limit_reached")


class Event(NamedTuple):
    """One thing to tell. `detail` tells events of one kind apart (a threshold); window_start is in epoch seconds."""

    kind: str
    budget: str
    group: str
    window_start: int
    detail: str
    text: str


# What becomes an event. Pure.


def crossings(budget: Budget, group: str, window_start: int, spent: int, now_s: float) -> list[Event]:
    """The thresholds that a counter has reached."""
    limit = budget.limit_for(group, now_s)
    shown = usd_text if budget.measure == "usd" else str
    unit = "$" if budget.measure == "usd" else ""
    where = f"{budget.name} ({group})" if group else budget.name
    return [
        Event(
            "threshold", budget.name, group, window_start, f"{share:g}",
            f"Budget {where}: {unit}{shown(spent)} of {unit}{shown(limit)} spent, {share:.0%} reached.",
        )
        for share in budget.alert_at
        if spent >= limit * share
    ]  # fmt: skip


def blocks(refusals: Iterable[RefusedCall], now_s: float) -> list[Event]:
    """Calls that a budget or a guard stopped, or that could not be counted."""
    events = []
    for refusal in refusals:
        if refusal.reason in _LOOPS:
            kind = "loop" if refusal.reason == "loop_detected" else "session_limit"
            text = (
                f"Session {refusal.session_id}: {'a loop was stopped' if kind == 'loop' else 'its limit stopped it'}."
            )
            events.append(Event(kind, "", refusal.session_id, 0, "", text))
        elif refusal.reason == "budget_store_unavailable":
            text = "The budget store does not answer: calls under hard budgets are refused."
            events.append(Event("store_down", "", "", int(now_s) // _HOUR_S * _HOUR_S, "", text))
        elif refusal.budget and refusal.reason != "budget_busy":
            where = f"{refusal.budget} ({refusal.group})" if refusal.group else refusal.budget
            text = f"Budget {where} refused a call: what it can cost did not fit into what is left."
            events.append(Event("block", refusal.budget, refusal.group, refusal.window_start, "", text))
    return events


def overruns(entries: Shipped) -> list[Event]:
    """Bills beyond what was reserved for them, one for each budget that they count in."""
    events = []
    costs, reservations = entries.column("cost_nanousd"), entries.column("reserved_nanousd")
    for at, cost, reserved in zip(range(len(entries)), costs, reservations, strict=True):
        if cost is None or reserved is None or cost <= reserved or (row := entries[at].row).kind != "attempt":
            continue
        text = f"A call of {row.provider}/{row.model} cost ${usd_text(cost)}, reserved were ${usd_text(reserved)}."
        counted = [(name, group, start) for name, group, start, measure, _ in entries.budgets[at] if measure == "usd"]
        hour = row.ended_at // 1_000_000 // _HOUR_S * _HOUR_S
        for name, group, start in counted or [("", str(row.model), hour)]:
            events.append(Event("overrun", name, group, start, "", text))
    return events


def _spent(connection: Connection, budget: Budget, start: int, groups: Sequence[str]) -> dict[str, int]:
    """What some groups of a budget have in a window. Asked with every batch, and so the driver's own query."""
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    spent: dict[str, int] = dict.fromkeys(groups, 0)
    for first in range(0, len(groups), _LOOK_UP):
        some = groups[first : first + _LOOK_UP]
        counter = (budget.name, start, budget.measure, *some)
        marks = ", ".join([mark] * len(some))
        query = " UNION ALL ".join(
            f'SELECT "group", amount FROM {table} WHERE budget = {mark} AND window_start = {mark} AND measure = {mark} '  # noqa: S608 - our own names
            f'AND "group" IN ({marks})'
            for table in ("budget_spend", "budget_bases")
        )
        for group, amount in connection.exec_driver_sql(query, (*counter, *counter)):
            spent[group] += int(amount)
    return spent


class Alerts:
    """Finds events in what was shipped, keeps them in the database, delivers them from a thread of its own."""

    def __init__(
        self, engine: Engine, instance: str, config: Callable[[], Config], budgets: Callable[[], Sequence[Budget]]
    ) -> None:
        self._engine = engine
        self._instance = instance
        self._config = config
        self._budgets = budgets
        self._known: set[tuple[str, str, str, int, str]] = set()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._deliver_for_ever, name="alerts", daemon=True)
        self._ids = Ids()

    def start(self) -> None:
        self._thread.start()
        self._news.set()

    def stop(self) -> None:
        """What is not delivered by now is delivered after the next start."""
        self._stopping.set()
        self._news.set()
        self._thread.join(timeout=1.0)

    # Finding; called by the recorder's thread

    def shipped(self, entries: Shipped, refusals: Sequence[RefusedCall]) -> None:
        """Look at one batch that is in the ledger now."""
        now = now_s()
        events = [*self._crossed(entries, now), *blocks(refusals, now), *overruns(entries)]
        self._keep([event for event in events if event[:5] not in self._known], now)

    def tell(self, events: Sequence[Event]) -> None:
        """What others found; told once, as all."""
        self._keep([event for event in events if event[:5] not in self._known], now_s())

    def _crossed(self, entries: Shipped, now_s: float) -> list[Event]:
        budgets = {budget.name: budget for budget in self._budgets() if budget.alert_at}
        counters = {(name, start, group) for name, group, start, _ in entries.amounts}
        touched: dict[tuple[str, int], list[str]] = {}
        for name, start, group in sorted(counters):
            if name in budgets:
                touched.setdefault((name, start), []).append(group)
        if not touched:
            return []
        events: list[Event] = []
        with self._engine.connect() as connection:
            for (name, start), groups in touched.items():
                budget = budgets[name]
                for group, spent in _spent(connection, budget, start, groups).items():
                    events += crossings(budget, group, start, spent, now_s)
        return events

    def _keep(self, events: Sequence[Event], now_s: float) -> None:
        if not events:
            return
        now_us = int(now_s * 1e6)
        new = []
        with writing(self._engine).begin() as connection:
            for at, event in enumerate(events, now_us):  # a microsecond apart: their order is that of their times
                row = event._asdict() | {
                    "id": self._ids.new(at),
                    "instance": self._instance,
                    "created_at": at,
                    "delivered_at": None if self._webhook(event.budget) else _TO_NOBODY,
                }
                done = connection.execute(insert_into(connection, alerts).values(row).on_conflict_do_nothing())
                if done.rowcount == 1:
                    new.append(event)
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()  # the table knows them all
        self._known.update(event[:5] for event in events)
        for event in new:
            log.warning("alert %s: %s", event.kind, event.text)
        if new:
            self._news.set()

    def counts(self) -> dict[tuple[str, str], int]:
        """(kind, budget) -> events so far, of this instance."""
        query = (
            sa.select(alerts.c.kind, alerts.c.budget, sa.func.count())
            .where(alerts.c.instance == self._instance)
            .group_by(alerts.c.kind, alerts.c.budget)
        )
        with self._engine.connect() as connection:
            return {(kind, budget): int(count) for kind, budget, count in connection.execute(query)}

    # Delivering; in a thread of its own

    def _webhook(self, budget: str) -> str | None:
        config = self._config()
        own = next((row.alert_webhook for row in config.budgets if row.name == budget), None)
        return own or config.alerts.webhook or None

    def _deliver_for_ever(self) -> None:
        pause, longest = _PAUSES_S
        while not self._stopping.is_set():
            self._news.wait()
            self._news.clear()
            try:
                failed = self._deliver()
            except SQLAlchemyError:
                failed = True
            except Exception as error:  # noqa: BLE001 - without this thread nobody would be told anything any more
                log.error("alerts are not delivered now (%s); trying again", type(error).__name__)
                failed = True
            if failed and not self._stopping.wait(pause):
                pause = min(longest, pause * 2)
                self._news.set()
            elif not failed:
                pause = _PAUSES_S[0]

    def _deliver(self) -> bool:
        """Everything that waits, oldest first; whether something could not be delivered. A destination that fails holds up
        only what goes to it."""
        query = sa.select(alerts).where(alerts.c.instance == self._instance, alerts.c.delivered_at.is_(None))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(alerts.c.created_at)).mappings().all()
        failing: set[str] = set()
        for row in rows:
            webhook = self._webhook(row["budget"])
            if webhook in failing or self._stopping.is_set():
                continue
            given_up = row["created_at"] < (now_s() - _GIVEN_UP_S) * 1e6
            delivered_at = _TO_NOBODY
            if webhook and not given_up:
                if not _post(webhook, payload(dict(row))):
                    failing.add(webhook)
                    continue
                delivered_at = now_us()
            with writing(self._engine).begin() as connection:
                done = sa.update(alerts).where(alerts.c.id == row["id"]).values(delivered_at=delivered_at)
                connection.execute(done)
        return bool(failing)


def payload(row: dict[str, Any]) -> dict[str, Any]:
    """The event as JSON: Slack shows `text`, programs read `event`."""
    text = row["text"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")  # no link of a client's making
    window = datetime.fromtimestamp(row["window_start"], UTC).isoformat() if row["window_start"] else None
    return {
        "text": text,
        "event": {
            "id": row["id"],
            "kind": row["kind"],
            "budget": row["budget"] or None,
            "group": row["group"] or None,
            "window_start": window,
            "threshold": row["detail"] or None,
            "at": rfc3339(row["created_at"]),
        },
    }


def _post(url: str, body: dict[str, Any]) -> bool:
    from proxy.control.webhook import post  # noqa: PLC0415 - a megabyte, and most have no webhook

    return post(url, body)
