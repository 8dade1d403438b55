"""Counting what code does in place of timing it: lines run, and bytes of the texts whose methods are called.

`str` and `bytes` methods run in C, so that no line shows what they cost: each call counts for the length of its text.
What neither sees (a concatenation, `orjson`) is looked for in the source by `tests/attack/test_growth.py`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_CHUNK = 64  # bytes that a method in C goes through in the time of a line, generously


class Steps:
    """lines: run in this thread. texts: bytes that methods of texts were called on."""

    def __init__(self) -> None:
        self.lines = 0
        self.texts = 0

    @property
    def total(self) -> int:
        return self.lines + self.texts // _CHUNK


@contextmanager
def counted_steps() -> Iterator[Steps]:
    """The steps of what is done inside, on this thread."""
    steps = Steps()

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            steps.lines += 1
        return trace

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call":
            text = getattr(arg, "__self__", None)
            if isinstance(text, str | bytes | bytearray):
                steps.texts += len(text)

    before = sys.gettrace(), sys.getprofile()
    assert threading.current_thread() is threading.main_thread()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        yield steps
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
