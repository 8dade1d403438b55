"""Exports to one sink: what comes next, sent, and only then noted as done.

What is refused for good is set aside by name, and what comes behind it goes on. What cannot be taken now is tried again, in
order, after a pause that doubles; the ledger keeps it meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.exports.sink import Event, Later, Refusal, Sink
from proxy.ledger.beside.export_log import (
    Done,
    Item,
    NotKept,
    Portion,
    Refused,
    note_failure,
    read_again,
    read_place,
    read_portion,
    settle,
    settle_again,
)
from proxy.times import now_us

log = logging.getLogger("taximeter.exports")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0
_DATABASE_PAUSE_S = 2.0
_TELL_EVERY_S = 10.0
_GONE = "the entry is not in the ledger any more"


class Exporter:
    """For one sink. `step` is called by one thread."""

    def __init__(self, engine: Engine, instance: str, name: str, sink: Sink) -> None:
        self.name = name
        self._engine = engine
        self._instance = instance
        self._sink = sink
        self._taken: set[str] = set()  # events of the portion that the sink has, while others of it wait
        self._failing = ""
        self._tell_at = 0.0  # monotonic

    def run(self, stopping: threading.Event, kept: Callable[[], bool]) -> None:
        """Run until told to stop. kept: whether the sink is this instance's."""
        pause = _FIRST_PAUSE_S
        while not stopping.is_set():
            wait = self._sink.pause_s
            try:
                if kept():
                    wait = 0.0 if self.step() else self._sink.pause_s
                    pause = _FIRST_PAUSE_S
                else:
                    wait = _FIRST_PAUSE_S
            except NotKept:
                self._taken.clear()
                wait = _FIRST_PAUSE_S
            except SQLAlchemyError:
                wait = _DATABASE_PAUSE_S  # the recorder says so
            except Later as later:
                wait, pause = max(later.after_s or 0.0, pause), min(pause * 2, _LONGEST_PAUSE_S)
                self._note(str(later))
            except Exception as error:  # a fault of ours costs lag, and is seen
                log.exception("export %s", self.name)
                wait, pause = pause, min(pause * 2, _LONGEST_PAUSE_S)
                self._note(f"a fault: {type(error).__name__}")
            stopping.wait(wait)
        self._sink.close()

    def step(self) -> bool:
        """One portion; whether there is more. Raises Later, NotKept, SQLAlchemyError."""
        again = self._try_again()
        portion = read_portion(self._engine, self.name, self._sink.rows, self._sink.columns)
        if portion is None:
            return False
        if portion.items or portion.gone or portion.more:
            self._export(portion)
        if self._sink.tells:
            self._tell()
        if self._failing:
            log.info("export %s: events are delivered again", self.name)
            self._failing = ""
        return again or portion.more

    def _tell(self) -> None:
        """The sums, now and then. What is behind does not wait for that: sums that are not taken are told once more."""
        if time.monotonic() < self._tell_at:
            return
        self._tell_at = time.monotonic() + _TELL_EVERY_S
        with self._engine.connect() as connection:
            place = read_place(connection, self.name)
        try:
            if place is not None:
                self._sink.tell(place.state, place.created_at, now_us())
        except (Later, Refusal) as problem:
            self._note(f"sums are not accepted: {problem}")

    def _note(self, reason: str) -> None:
        if reason != self._failing:
            log.warning("export %s: %s; later events wait", self.name, reason)
            self._failing = reason
        try:
            note_failure(self._engine, self._instance, self.name, reason, now_us())
        except (NotKept, SQLAlchemyError):
            return

    def _export(self, portion: Portion) -> None:
        events, refused, skipped = self._prepared(portion.items)
        refused += [Refused(entry_id, entry_id, "", _GONE) for entry_id in portion.gone]
        refused += self._deliver([event for event in events if event.id not in self._taken])
        never = {each.event_id for each in refused}
        done = Done(
            sent=sum(1 for event in events if event.id not in never),
            skipped=skipped,
            refused=refused,
            last_id=portion.items[-1].row["id"] if portion.items else None,
            state=self._sink.added(portion.after.state, [item for item in portion.items if item.id not in never]),
        )
        settle(self._engine, self._instance, portion, done, now_us())
        self._taken.clear()
        for each in refused[:1]:
            log.warning(
                "export %s: %d set aside, the first is %s: %s", self.name, len(refused), each.event_id, each.reason
            )

    def _prepared(self, items: Sequence[Item]) -> tuple[list[Event], list[Refused], int]:
        """Events, items that are none, and how many there is nothing to tell of."""
        events: list[Event] = []
        refused: list[Refused] = []
        skipped = 0
        for item in items:
            try:
                made = self._sink.events(item)
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # an odd entry holds up no other
                log.exception("export %s: entry %s could not be made into events", self.name, item.id)
                refused.append(_refused(item, f"a fault: {type(error).__name__}"))
            else:
                events += made
                skipped += not made
        return events, refused, skipped

    def _deliver(self, events: Sequence[Event]) -> list[Refused]:
        """Everything is taken, but for what is told. Raises Later, with what was taken so far noted."""
        by_id = {event.id: event for event in events}
        refused: dict[str, str] = {}
        for declined in self._answers(_portions(events, self._sink.at_once)):
            refused |= declined
        return [_refused(by_id[event_id].item, reason, event_id) for event_id, reason in refused.items()]

    def _answers(self, portions: Iterator[Sequence[Event]]) -> Iterator[Mapping[str, str]]:
        if self._sink.parallel == 1:
            yield from map(self._send, portions)
            return
        with ThreadPoolExecutor(self._sink.parallel) as pool:
            yield from pool.map(self._send, portions)

    def _send(self, events: Sequence[Event]) -> dict[str, str]:
        """Send a batch; if it is refused as a whole, send its halves, down to single events, to find those to blame."""
        try:
            refused = dict(self._sink.send(events))
        except Refusal as refusal:
            if len(events) == 1:
                return {events[0].id: str(refusal)}
            middle = len(events) // 2
            return self._send(events[:middle]) | self._send(events[middle:])
        self._taken.update(event.id for event in events if event.id not in refused)
        return refused

    def _try_again(self) -> bool:
        """What was set aside and somebody wants tried once more; whether there was any."""
        to_retry = read_again(self._engine, self.name, self._sink.rows)
        if not to_retry:
            return False
        wanted = {each.event_id for each, _ in to_retry}
        items = {item.id: item for _, item in to_retry if item is not None}
        events, refused, _ = self._prepared(list(items.values()))
        refused += [each._replace(reason=_GONE) for each, item in to_retry if item is None]
        events = [event for event in events if event.id in wanted or event.item.id in wanted]
        refused += self._deliver([event for event in events if event.id not in self._taken])
        again = {each.event_id for each in refused}
        taken = [item for item in items.values() if item.id not in again]
        settle_again(
            self._engine, self._instance, self.name, sorted(wanted - again), refused,
            lambda state: self._sink.added(state, taken), now_us(),
        )  # fmt: skip
        self._taken.clear()
        return True


def _refused(item: Item, reason: str, event_id: str | None = None) -> Refused:
    return Refused(event_id or item.id, item.row["id"], item.part, reason)


def _portions(events: Sequence[Event], most: int) -> Iterator[Sequence[Event]]:
    for first in range(0, len(events), most):
        yield events[first : first + most]
