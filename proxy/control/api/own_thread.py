"""Work that is done beside the loop, whatever its own threads wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


async def in_own_thread(make: Callable[[], T]) -> T:
    """In a thread of its own: the loop's threads may all be waiting for a ledger that does not answer."""
    thread = ThreadPoolExecutor(1)
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, make)
    finally:
        thread.shutdown(wait=False)
