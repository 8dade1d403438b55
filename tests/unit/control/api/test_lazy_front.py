"""The front door is made for the first who asks, once, whatever becomes of who asked."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from proxy.control.api.lazy_front import LazyFront


class _Front:
    """Counts; `may` is what its making waits for."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.heard: list[str] = []
        self.may = threading.Event()
        self.fails: list[Exception] = []

    def make(self) -> Any:
        self.made.append(threading.current_thread().name)
        assert self.may.wait(10)
        if self.fails:
            raise self.fails.pop()
        return self

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send(scope)

    def shipped(self) -> None:
        self.heard.append("shipped")

    def close(self) -> None:
        self.heard.append("closed")


async def _asked(door: LazyFront, what: str) -> Any:
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    await door({"path": what}, _nothing, send)
    return told


async def _nothing() -> Any:
    raise AssertionError("nobody asks for a body")


async def test_all_who_ask_meanwhile_wait_for_the_same_one() -> None:
    front = _Front()
    door = LazyFront(front.make)
    door.shipped()  # nobody is there yet
    asking = [asyncio.create_task(_asked(door, str(number))) for number in range(10)]
    await asyncio.sleep(0)  # the loop goes on while it is made
    front.may.set()

    assert await asyncio.gather(*asking) == [[{"path": str(number)}] for number in range(10)]
    assert len(front.made) == 1
    assert front.made != [threading.main_thread().name]
    door.shipped()
    door.close()
    assert front.heard == ["shipped", "closed"]


async def test_it_is_made_while_all_other_threads_wait_for_a_ledger() -> None:
    """Whether this process is alive can be asked then, too."""
    back, busy = threading.Event(), ThreadPoolExecutor(1)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(busy)
    waiting = loop.run_in_executor(None, back.wait)
    front = _Front()
    front.may.set()
    try:
        async with asyncio.timeout(10):
            assert await _asked(LazyFront(front.make), "healthz") == [{"path": "healthz"}]
    finally:
        back.set()
        await waiting


async def test_who_leaves_stops_it_for_nobody() -> None:
    front = _Front()
    door = LazyFront(front.make)
    leaving = asyncio.create_task(_asked(door, "left"))
    staying = asyncio.create_task(_asked(door, "stayed"))
    while not front.made:
        await asyncio.sleep(0.001)
    leaving.cancel()
    front.may.set()

    assert await staying == [{"path": "stayed"}]
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_what_could_not_be_made_is_tried_again() -> None:
    front = _Front()
    front.may.set()
    front.fails.append(RuntimeError("no memory"))
    door = LazyFront(front.make)

    with pytest.raises(RuntimeError, match="no memory"):
        await _asked(door, "first")
    assert await _asked(door, "second") == [{"path": "second"}]


async def test_one_that_is_made_after_the_end_ends_at_once() -> None:
    front = _Front()
    door = LazyFront(front.make)
    asking = asyncio.create_task(_asked(door, "late"))
    while not front.made:
        await asyncio.sleep(0.001)
    door.close()
    assert front.heard == []
    front.may.set()
    await asking

    assert front.heard == ["closed"]
