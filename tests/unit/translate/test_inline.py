"""What LiteLLM hands to a thread runs at once where nothing in it can wait, with the same outcome."""

from __future__ import annotations

import asyncio
import threading

import pytest

from proxy.translate.inline import HERE, Executor


async def where() -> bool:
    """Whether the executor's work is done in this thread."""
    thread = await asyncio.get_running_loop().run_in_executor(None, threading.get_ident)
    return thread == threading.get_ident()


async def test_work_is_done_here_where_the_call_says_so_and_in_a_thread_elsewhere() -> None:
    asyncio.get_running_loop().set_default_executor(Executor())
    assert not await where()

    async def call() -> bool:
        HERE.set(True)
        return await where()

    assert await asyncio.create_task(call())
    assert not await where()


async def test_what_it_raises_is_raised_where_it_is_waited_for() -> None:
    asyncio.get_running_loop().set_default_executor(Executor())
    HERE.set(True)
    pending = asyncio.get_running_loop().run_in_executor(None, int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        await pending
