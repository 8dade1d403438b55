"""Calls that move in one turn of the event loop take their steps together: all of them the first, then all of them the second.

A call's code does not fit into the processor's nearest cache. Call by call, each one fetches all of it anew; step by step, only
the first of a cohort does (Larus and Parkes, "Using Cohort Scheduling to Enhance Server Performance", USENIX 2002). So a call's
coroutine is resumed here and not by asyncio, and its way is marked with steps: at `await PRICED` it stays until those that came
with it have come as far. Who comes alone passes on, and so does whatever asyncio runs; that costs less where
`COHORT.crowded` is asked before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from proxy.current_task import becomes_current, none_is_current

log = logging.getLogger("taximeter.data")

_ENDED = object()
_NEXT = next  # a constant, which machine code need not look up
_MOST = 32  # go together: neither the first of a crowd nor what the loop has besides waits for all of it
_WORTH_IT = 3  # of fewer, each is resumed for more than that brings
_PASSED = iter(())  # is at its end, however often it is asked


class Step:
    """A mark on the way of calls."""

    __slots__ = ("_itself", "here")

    def __init__(self) -> None:
        self._itself: tuple[Step, ...] = (self,)
        self.here: list[Member] = []

    def __await__(self) -> Generator[Any, Any, None]:
        # No generator: that would be made anew for each call at each step.
        return iter(self._itself) if COHORT.crowded else _PASSED  # type: ignore[return-value]  # see above


class Signal:
    """Wakes the one that waits for it, with those of the same turn; nobody, where nobody waits yet."""

    __slots__ = ("waiter",)

    def __init__(self) -> None:
        self.waiter: Member | asyncio.Future[None] | None = None

    def __await__(self) -> Generator[Any, Any, None]:
        if COHORT.together:
            return iter((self,))  # type: ignore[return-value]  # as in a step
        self.waiter = waiter = asyncio.get_running_loop().create_future()
        return waiter.__await__()

    def set(self) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is None:
            return
        if isinstance(waiter, Member):
            COHORT.join(waiter)
        elif not waiter.done():
            waiter.set_result(None)


class Member:
    """What a task of asyncio's is, for a coroutine that goes with a cohort; and the current task while that runs. All of them
    have one context (`contextvars`)."""

    __slots__ = ("_awaited", "_cancels", "_must_cancel", "_way")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._way: Generator[Any, None, None] | None = coroutine.__await__()
        self._awaited: Signal | asyncio.Future[Any] | None = None
        self._must_cancel = False
        self._cancels = 0

    def cancel(self, msg: object = None) -> bool:
        """As a task's: where it waits, `CancelledError` is raised soon. False where it has ended."""
        if self._way is None:
            return False
        self._cancels += 1
        awaited = self._awaited
        if isinstance(awaited, Signal):
            self._must_cancel = True
            awaited.set()
        elif awaited is None or not awaited.cancel(msg):
            self._must_cancel = True
        return True

    def done(self) -> bool:
        """Whether it has ended."""
        return self._way is None

    def cancelling(self) -> int:
        """How often it was asked to, and nobody has taken that back."""
        return self._cancels

    def uncancel(self) -> int:
        """As a task's, for `asyncio.timeout`."""
        self._cancels = max(0, self._cancels - 1)
        return self._cancels

    def resume(self, loop: asyncio.AbstractEventLoop) -> Step | None:
        """Run it until it comes to a step, which is returned, until it has to wait, or to its end."""
        way = self._way
        if way is None:
            return None
        self._awaited = None
        becomes_current(loop, self)
        try:
            if self._must_cancel:
                self._must_cancel = False
                awaited = way.throw(asyncio.CancelledError())
            else:
                awaited = _NEXT(way, _ENDED)  # `send` would end it by an error
        except (StopIteration, asyncio.CancelledError):
            awaited = _ENDED
        except BaseException:  # Rust's panics are no `Exception`, and those that go with this one must not end by it
            awaited = _ENDED
            log.exception("a call failed where nothing should")
        if awaited is _ENDED:
            self._way = None
            return None
        if isinstance(awaited, Step):
            return awaited
        self._wait_for(awaited, loop)
        return None

    def _wait_for(self, awaited: Signal | asyncio.Future[Any] | None, loop: asyncio.AbstractEventLoop) -> None:
        if awaited is None:
            loop.call_soon(COHORT.join, self)
            return
        self._awaited = awaited
        if isinstance(awaited, Signal):
            awaited.waiter = self
            if self._must_cancel:
                awaited.set()
            return
        awaited._asyncio_future_blocking = False  # noqa: SLF001 - how a future is told that it is waited for
        awaited.add_done_callback(self._woken)
        if self._must_cancel and awaited.cancel():
            self._must_cancel = False

    def _woken(self, _: object) -> None:
        COHORT.join(self)


class Cohort:
    """The calls of this process, in which one loop runs. together: how many take the step that is being taken, if any; crowded:
    whether these are enough to wait for each other."""

    def __init__(self) -> None:
        self.together = 0
        self.crowded = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._first = Step()
        self._forget()

    def _forget(self) -> None:
        self._came: list[Member] = []
        self._behind: list[Callable[[], object]] = []
        self._scheduled = False

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> Member:
        """Run it, with those of this turn."""
        member = Member(coroutine)
        self.join(member)
        return member

    def join(self, member: Member) -> None:
        """Resume it, with those of this turn."""
        loop = self._running_loop()
        self._came.append(member)
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._go)

    def behind(self, act: Callable[[], object]) -> None:
        """Call `act` once those that go now, or next, have gone as far as they come without waiting."""
        loop = self._running_loop()
        if self._scheduled or self.together:
            self._behind.append(act)
        else:
            loop.call_soon(act)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is None or not loop.is_running():
            loop = self._loop = asyncio.get_running_loop()  # a system call, in Python 3.11
            self._forget()
        return loop

    def _go(self) -> None:
        """Resume those that came first, step by step, until each has to wait or has ended."""
        loop, came, first = self._loop, self._came, self._first
        assert loop is not None
        first.here, self._came = came[:_MOST], came[_MOST:]
        self._scheduled = len(self._came) > 0
        if self._scheduled:
            loop.call_soon(self._go)
        ahead = [first]  # and the steps to which some have come, in the order of that
        try:
            for step in ahead:
                here, step.here = step.here, []
                self.together = len(here)
                self.crowded = self.together >= _WORTH_IT
                for member in here:
                    reached = member.resume(loop)
                    if reached is not None:
                        if not reached.here:
                            ahead.append(reached)
                        reached.here.append(member)
        finally:
            none_is_current(loop, None)
            self.together, self.crowded = 0, False
            behind, self._behind = self._behind, []
            for act in behind:
                act()


COHORT = Cohort()
