"""The page's data, kept fresh for as long as somebody watches, and sent to each watcher as far as it changed.

A look is a question with its answer in parts (name -> HTML, or JSON). Looks run in a thread, when the recorder has shipped
something or a heartbeat is over, each at most once a second and never for more than a tenth of the time: a look that
takes 2 s is not repeated for 20 s. All watchers share what is found. Without a watcher nothing is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger("taximeter.page")

LEAST_S = 1.0
HEARTBEAT_S = 5.0
_REST = 9  # times as long as a look took, before the next one

Parts = Mapping[str, Any]


@dataclass(eq=False)
class Look:
    """One question. `take` runs in a thread; what it raises is told in place of fresh parts."""

    name: str
    take: Callable[[], Parts]
    due_at: float = 0.0
    problem: str = ""


class Live:
    """What watchers see. All but `shipped` belongs to the loop."""

    def __init__(self, looks: Sequence[Look], loop: asyncio.AbstractEventLoop) -> None:
        self._looks = looks
        self._loop = loop
        self._parts: dict[str, Any] = {}
        self._changed = asyncio.Event()  # something is to be looked at
        self._told = asyncio.Event()  # something was found; a new event each time
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.watchers = 0

    def shipped(self) -> None:
        """The recorder has committed a batch. From any thread."""
        if self.watchers:
            self._loop.call_soon_threadsafe(self._changed.set)

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        self._tell()

    async def watch(self) -> AsyncIterator[Parts]:
        """All parts, then those that changed; an empty mapping where nothing did for a heartbeat."""
        seen: dict[str, Any] = {}
        self._join()
        try:
            while not self._closed:
                told = self._told
                fresh = {name: part for name, part in self._parts.items() if seen.get(name) != part}
                seen |= fresh
                yield fresh
                await told.wait()
        finally:
            await self._leave()

    def _join(self) -> None:
        self.watchers += 1
        if self._task is None:
            self._task = self._loop.create_task(self._keep_looking())

    async def _leave(self) -> None:
        self.watchers -= 1
        if not self.watchers and self._task is not None:
            task, self._task = self._task, None
            self._parts = {}
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _tell(self) -> None:
        told, self._told = self._told, asyncio.Event()
        told.set()

    async def _keep_looking(self) -> None:
        stale: set[Look] = set()
        beat_at = 0.0
        while True:
            now = self._loop.time()
            if now >= beat_at:
                stale, beat_at = set(self._looks), now + HEARTBEAT_S
            due = [look for look in self._looks if look in stale and look.due_at <= now]
            if due:
                self._parts |= await asyncio.to_thread(_take, due, self._loop.time)
                problems = dict.fromkeys(look.problem for look in self._looks if look.problem)
                self._parts["problem"] = " ".join(problems)
                stale -= set(due)
                self._tell()
            if await self._changes_before(min([beat_at, *(look.due_at for look in stale)])):
                stale = set(self._looks)

    async def _changes_before(self, moment: float) -> bool:
        """Whether something was committed; waits for it until `moment` (loop time)."""
        try:
            await asyncio.wait_for(self._changed.wait(), max(0.0, moment - self._loop.time()))
        except TimeoutError:
            return False
        self._changed.clear()
        return True


def _take(due: Sequence[Look], clock: Callable[[], float]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for look in due:
        began = clock()
        try:
            found |= look.take()
            look.problem = ""
        except SQLAlchemyError as error:
            log.warning("the page's %s: the ledger database does not answer (%s)", look.name, type(error).__name__)
            look.problem = "The ledger database does not answer."
        except TimeoutError:
            look.problem = "The data planes do not answer in time."
        except HTTPException as error:
            look.problem = str(error.detail)
        except (ArithmeticError, LookupError, TypeError, ValueError):  # a fault of ours in one part: the others go on
            log.exception("the page's %s", look.name)
            look.problem = f"The page's {look.name} failed; the log says why."
        look.due_at = clock() + max(LEAST_S, _REST * (clock() - began))
    return found
