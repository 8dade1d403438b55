"""Waiting for what another process or thread brings about: the one place where tests sleep and look again."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TooLateError(AssertionError):
    """What was waited for did not come in time."""


def wait_until(what: str, done: Callable[[], object], timeout_s: float = 10.0, poll_s: float = 0.02) -> float:
    """Look at `done` again and again until it is true; the seconds that it took. Raises TooLateError, which names `what`."""
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > timeout_s:
            raise TooLateError(f"{what}: not within {timeout_s:g} s")
        time.sleep(poll_s)
    return time.monotonic() - began


def readable(descriptor: int, timeout_s: float | None) -> bool:
    """Whether it can be read (or is at its end) before so many seconds have passed; None: however long it takes.

    Not `select`, which refuses numbers above 1023: a worker of the tests has that many descriptors, at times.
    """
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(None if timeout_s is None else timeout_s * 1000))


def eventually(look: Callable[[], T], want: Callable[[T], object], within_s: float = 10.0) -> T:
    """`look` again and again until `want` likes what it sees; the last sight in any case, for the caller's assertion."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if want(seen) or time.monotonic() > deadline:
            return seen
        time.sleep(0.02)
