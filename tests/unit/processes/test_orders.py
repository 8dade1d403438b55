"""The supervisor's pipe to each child: a configuration of any size arrives whole, and the end of the supervisor is seen."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import stat
import struct
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.processes.orders import Orders

BIG = {"models": "x" * 200 * 1024}  # three times what a pipe holds


class Child:
    """What a child heard, in the order in which it came."""

    def __init__(self) -> None:
        self.configs: asyncio.Queue[Any] = asyncio.Queue()
        self.parent_gone = asyncio.Event()

    def watch(self, orders: Orders) -> None:
        orders.watch(on_config=self.configs.put_nowait, on_parent_gone=self.parent_gone.set)


async def send(orders: Orders, *configs: Any) -> None:
    """As another process would: the reader's loop goes on meanwhile."""
    for config in configs:
        await asyncio.to_thread(orders.send, config)


@pytest.mark.timeout(120)
async def test_a_configuration_larger_than_a_pipe_arrives_whole() -> None:
    orders, child = Orders(), Child()
    child.watch(orders)

    await send(orders, BIG, {"small": 1}, BIG)

    assert [await child.configs.get() for _ in range(3)] == [BIG, {"small": 1}, BIG]
    orders.close()


def _interrupt_a_full_pipe(before: set[int]) -> None:
    """A signal to the main thread once a pipe that is not among `before` takes no more."""
    while not any(_waiting(fd) > 60_000 for fd in _pipes() - before):
        os.sched_yield()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


def _pipes() -> set[int]:
    return {
        fd for fd in (int(one.name) for one in Path("/dev/fd").iterdir()) if fd > 2 and _is_pipe(fd)
    }  # a worker may have hundreds open


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False


def _waiting(fd: int) -> int:
    """How many bytes lie in the pipe."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0])


@pytest.fixture
def handled() -> Iterator[threading.Event]:
    """Set once SIGUSR1 was handled."""
    seen = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.set())
    yield seen
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.timeout(120)
def test_a_signal_in_the_middle_of_a_large_configuration_breaks_nothing(handled: threading.Event) -> None:
    """The system call ends early then, and says how far it came."""
    others = _pipes()
    orders, child = Orders(), Child()
    heard: list[Any] = []

    async def read() -> None:
        child.watch(orders)
        heard.extend([await child.configs.get() for _ in range(2)])

    def reader() -> None:
        _interrupt_a_full_pipe(others)
        handled.wait()
        asyncio.run(read())

    reading = threading.Thread(target=reader, daemon=True)
    reading.start()
    orders.send(BIG)
    orders.send({"small": 1})
    reading.join()

    assert heard == [BIG, {"small": 1}]
    orders.close()


@pytest.mark.timeout(120)
async def test_the_end_of_the_supervisor_is_seen_after_all_that_it_sent() -> None:
    orders, child = Orders(), Child()
    child.watch(orders)
    await send(orders, {"last": 1})
    orders.for_child(mine=True)  # which closes the only writing end

    await child.parent_gone.wait()

    assert child.configs.get_nowait() == {"last": 1}


@pytest.mark.timeout(120)
def test_a_child_that_dies_while_it_is_told_holds_nobody_up() -> None:
    """The supervisor keeps no reading end: otherwise it would write to itself for ever."""
    orders = Orders()
    pid = os.fork()
    if not pid:
        orders.for_child(mine=True)
        os._exit(0)
    orders.for_supervisor()
    os.waitpid(pid, 0)

    sending = threading.Thread(target=orders.send, args=(BIG,), daemon=True)
    sending.start()
    sending.join(60)

    assert not sending.is_alive()
    orders.close()
