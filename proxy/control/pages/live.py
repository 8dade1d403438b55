"""The page's data, kept fresh for as long as somebody watches, and sent to each watcher as far as it changed.

A live query answers in parts (name -> HTML, or JSON). It runs in a thread, when the recorder has shipped something or a
heartbeat is over, at most once a second and never for more than a tenth of the time: one that takes 2 s is not repeated for
18 s. Those of one lane run one after the other; a lane holds up no other. All watchers in one time zone share the answers.
Without a watcher no query runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from proxy.control.state import Unavailable

log = logging.getLogger("taximeter.page")

LEAST_S = 1.0
HEARTBEAT_S = 5.0
_REST = 9  # times as long as a query took, before the next one

Parts = Mapping[str, Any]


@dataclass(eq=False)
class LiveQuery:
    """One question. `run` runs in a thread; what it raises is told in place of fresh parts."""

    name: str
    run: Callable[[], Parts]
    due_at: float = 0.0
    problem: str = ""


class Live:
    """What watchers see. All but `shipped` belongs to the loop."""

    def __init__(self, lanes: Sequence[Sequence[LiveQuery]], loop: asyncio.AbstractEventLoop) -> None:
        self._lanes = [(lane, asyncio.Event()) for lane in lanes]  # the event: something was committed
        self._loop = loop
        self._parts: dict[str, Any] = {}
        self._changed = asyncio.Event()  # something was found; a new event each time
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self.watchers = 0

    def shipped(self) -> None:
        """The recorder has committed a batch. From any thread."""
        if self.watchers:
            self._loop.call_soon_threadsafe(self._note)

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        self._tell()

    async def watch(self) -> AsyncIterator[Parts]:
        """All parts, then those that changed; an empty mapping where nothing did."""
        seen: dict[str, Any] = {}
        self._join()
        try:
            while not self._closed:
                changed = self._changed
                fresh = {name: part for name, part in self._parts.items() if seen.get(name) != part}
                seen |= fresh
                yield fresh
                await changed.wait()
        finally:
            await self._leave()

    def _join(self) -> None:
        self.watchers += 1
        if not self._tasks:
            self._tasks = [self._loop.create_task(self._keep_asking(*lane)) for lane in self._lanes]

    async def _leave(self) -> None:
        self.watchers -= 1
        if not self.watchers:
            tasks, self._tasks = self._tasks, []
            self._parts = {}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _note(self) -> None:
        for _, committed in self._lanes:
            committed.set()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _keep_asking(self, lane: Sequence[LiveQuery], committed: asyncio.Event) -> None:
        stale: set[LiveQuery] = set()
        beat_at = 0.0
        while True:
            now = self._loop.time()
            if now >= beat_at:
                stale, beat_at = set(lane), now + HEARTBEAT_S
            due = next((query for query in lane if query in stale and query.due_at <= now), None)
            if due is not None:
                stale.discard(due)
                parts = await asyncio.to_thread(_run, due, self._loop.time)
                self._parts |= parts
                self._parts["problem"] = self._problem()
                self._tell()
            elif await _is_set_before(committed, min([beat_at, *(query.due_at for query in stale)]) - now):
                stale = set(lane)

    def _problem(self) -> str:
        problems = dict.fromkeys(query.problem for lane, _ in self._lanes for query in lane if query.problem)
        return " ".join(problems)


class LiveZones:
    """A `Live` for each time zone that somebody watches in: a zone has its own today. All but `shipped` belongs to the loop."""

    def __init__(self, lanes: Callable[[str], Sequence[Sequence[LiveQuery]]], loop: asyncio.AbstractEventLoop) -> None:
        self._lanes = lanes
        self._loop = loop
        self._zones: dict[str, Live] = {}
        self._closed = False

    def of(self, tz: str) -> Live:
        if tz not in self._zones:
            self._zones[tz] = Live(self._lanes(tz), self._loop)
            if self._closed:
                self._zones[tz].close()
        return self._zones[tz]

    def shipped(self) -> None:
        """The recorder has committed a batch. From any thread."""
        for live in tuple(self._zones.values()):
            live.shipped()

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        for live in self._zones.values():
            live.close()


async def _is_set_before(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for the event, at most so long; clears it."""
    try:
        async with asyncio.timeout(timeout_s):  # not wait_for, which in Python 3.11 may swallow a cancellation
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True


def _run(query: LiveQuery, clock: Callable[[], float]) -> Parts:
    began = clock()
    parts: Parts = {}
    query.problem = ""
    try:
        parts = query.run()
    except SQLAlchemyError as error:
        log.warning("the page's %s: the ledger database does not answer (%s)", query.name, type(error).__name__)
        query.problem = "The ledger database does not answer."
    except Unavailable as error:
        query.problem = str(error)
    except (ArithmeticError, LookupError, TypeError, ValueError):  # a fault of ours in one part: the others go on
        log.exception("the page's %s failed", query.name)
        query.problem = f"The page's {query.name} failed; the log says why."
    query.due_at = clock() + max(LEAST_S, _REST * (clock() - began))
    return parts
