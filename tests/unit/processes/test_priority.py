"""A thread steps back by itself; the others of its process do not."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import pytest

from proxy.processes.priority import give_way, yield_to_calls


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has no priority of its own elsewhere")
@pytest.mark.parametrize(("ask", "steps"), [(yield_to_calls, 5), (give_way, 19)])
def test_only_the_thread_that_asks_steps_back(ask: Callable[[], None], steps: int) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    seen: list[int] = []

    def work() -> None:
        ask()
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [min(before + steps, 19)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
