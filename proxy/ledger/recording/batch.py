"""What records came to that are shipped together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from proxy.ledger.entries.amounts import Amounts
from proxy.ledger.entries.entry import Entry, Shipped, as_shipped, joined
from proxy.spool import records
from proxy.spool.frames import Position, Record


class RefusedCall(NamedTuple):
    """An INTENT that a refusal closed: why, by which counter, of which session."""

    reason: str
    budget: str | None
    group: str
    window_start: int
    session_id: str


class Batch:
    """What some records came to: entries for the ledger, the counts that have no row, and what nobody could read.

    records: how many they were; the most of them end nothing, or only a refused call.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._parts: list[Shipped] = []
        self._singly: list[Entry] = list(entries)  # that come behind those
        self.count = len(self._singly)
        self.refusals: list[RefusedCall] = []
        self.tallies: list[records.Tally] = []
        self.unreadable: list[Record] = []
        self.records = 0

    @property
    def entries(self) -> Shipped:
        self._parts = [joined([*self._parts, as_shipped(self._singly)])]
        self._singly = []
        return self._parts[0]

    def add(self, entry: Entry) -> None:
        self._singly.append(entry)
        self.count += 1

    def add_all(self, some: Shipped) -> None:
        self._parts += (as_shipped(self._singly), some)
        self._singly = []
        self.count += len(some)

    def __bool__(self) -> bool:
        return bool(self.count or self.refusals or self.tallies or self.unreadable)


class Leased(NamedTuple):
    """The end of a call that was granted out of a lease: in which epoch, and which report of the run tells of it."""

    id: str
    epoch: str
    report: int
    budgets: Amounts
    at: Position


class CallEnd(NamedTuple):
    """What budgets are told of an attempt's end: a sixth of what its entry takes. epoch: None where its record says none."""

    id: str
    epoch: str | None
    status: str
    flags: str | None
    budgets: Amounts


def call_ends(entries: Iterable[Entry]) -> list[CallEnd]:
    some = as_shipped(entries)
    epochs = [end.get("epoch") for end in some.ends]
    return [*map(CallEnd, some.column("id"), epochs, some.column("status"), some.column("flags"), some.budgets)]


class Lately:
    """The last ends of some entries, as many as `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ends: deque[CallEnd] = deque(maxlen=most)

    def note(self, some: Iterable[Entry]) -> None:
        if self._most:
            self._ends.extend(call_ends(some))

    def __iter__(self) -> Iterator[CallEnd]:
        return iter(self._ends)
