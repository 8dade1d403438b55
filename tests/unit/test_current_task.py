"""Asyncio takes for its current task whatever it is told."""

from __future__ import annotations

import asyncio

from proxy.current_task import becomes_current, none_is_current


async def test_another_kind_of_task_is_the_current_one_until_there_is_none() -> None:
    loop, own = asyncio.get_running_loop(), asyncio.current_task()
    one, other = object(), object()
    for task in (one, other):
        becomes_current(loop, task)
        assert asyncio.current_task() is task
    none_is_current(loop, None)
    assert asyncio.current_task() is None
    becomes_current(loop, own)  # or asyncio could not leave it
    assert asyncio.current_task() is own
