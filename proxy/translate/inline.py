"""An executor that runs inline what LiteLLM would hand to a thread, where nothing in it can block.

LiteLLM makes each request in a thread, for some providers' credentials have to be fetched; for the others the two switches of
threads cost a tenth of a call, and more beside others.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

HERE: ContextVar[bool] = ContextVar("here", default=False)


class Executor(ThreadPoolExecutor):
    """A pool of threads, but for calls with `HERE` set."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run it, or have it run."""
        if not HERE.get():
            return super().submit(fn, *args, **kwargs)
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as a thread would hand it over
            future.set_exception(error)
        return future
