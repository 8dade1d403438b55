"""Calls in machine code (`make compiled`) whose errors stay their own."""

from __future__ import annotations

from collections.abc import Coroutine
from types import CoroutineType
from typing import Any


def with_own_errors(coroutine: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
    """One of Python's, whatever made it.

    Python keeps apart which error each of its coroutines is handling; mypyc's have one for all of them. So where one waits
    while it handles an error, what others raise would have that as its `__context__`, and their clients would be told it.
    """
    return coroutine if isinstance(coroutine, CoroutineType) else _run(coroutine)


async def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    await coroutine
