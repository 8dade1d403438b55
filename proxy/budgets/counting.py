"""Counters in one process: reservations on them, and what is kept of idle ones."""

from __future__ import annotations

from hashlib import blake2b

from proxy.budgets.store import CounterKey, Granted

Window = tuple[str, str, int]
"""Budget, measure, window start."""


class Counter:
    """open: how many reservations stand on it; without any it may be forgotten or kept as less."""

    __slots__ = ("limit", "open", "reserved", "spent", "window_end")

    def __init__(self, limit: int, window_end: int | None) -> None:
        self.limit = limit
        self.window_end = window_end
        self.spent = 0
        self.reserved = 0
        self.open = 0


class Reservation:
    __slots__ = ("amounts", "counters", "deadline_s", "granted", "keys", "record")

    def __init__(
        self,
        keys: list[CounterKey],
        counters: list[Counter],
        amounts: list[int],
        deadline_s: float,
        granted: Granted,
        record: bytes,
    ) -> None:
        self.keys = keys
        self.counters = counters
        self.amounts = amounts
        self.deadline_s = deadline_s
        self.granted = granted
        self.record = record


class Idle:
    """What is spent in the idle counters of one budget and window, by a digest of the group."""

    __slots__ = ("spent", "window_end")

    def __init__(self, window_end: int | None) -> None:
        self.window_end = window_end
        self.spent: dict[bytes, int] = {}


class Bases:
    """How much of each counter is the base of its budget's definition, where that is any: by a digest of the group."""

    __slots__ = ("windows",)

    def __init__(self) -> None:
        self.windows: dict[Window, dict[bytes, int]] = {}

    def replace(self, window: Window, group: str, base: int) -> int:
        """Note a counter's base; by how much it is more than the one before."""
        if not base and window not in self.windows:
            return 0
        bases, name = self.windows.setdefault(window, {}), digest(group)
        more = base - bases.pop(name, 0)
        if base:
            bases[name] = base
        return more


def digest(group: str) -> bytes:
    return blake2b(group.encode("utf-8", "surrogatepass"), digest_size=16).digest()
