"""Python's cycle collector, made rare: what a start imports stays, and a call leaves no cycles behind."""

from __future__ import annotations

import gc

_SELDOM = (50_000, 20, 50)  # with Python's own 700, 10, 10 it took 6 % of a call's time


def later() -> None:
    """Turn the collector off while a program starts: its hundred runs took a fifth of the time of all imports."""
    gc.disable()


def started() -> None:
    """The start is over, if it began with `later`."""
    if not gc.isenabled():
        seldom()


def seldom() -> None:
    """From now on; what is there is not looked at any more."""
    gc.freeze()
    gc.set_threshold(*_SELDOM)
    gc.enable()
