"""What every sink is: it writes items as events, and sends some of these at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from proxy.ledger.beside.export_log import Item


class Event(NamedTuple):
    """What is sent of an item. id: the same whenever it is sent, so that whoever gets it twice can tell."""

    id: str
    item: Item
    payload: Any


class Later(Exception):  # noqa: N818 - an answer
    """Not taken now, for a reason that passes or that the operator mends; nothing behind it is sent before."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Refusal(Exception):  # noqa: N818 - an answer
    """None of these events was taken, and never will be together: the message says what the sink says."""


class Sink:
    """Knows one destination. Not for several threads, but for `send`.

    rows: entries that are read at once. at_once: events of one `send`. parallel: how many run at a time. pause_s: between two
    looks for more. columns: of entries, that it needs; None: all. tells: whether it has sums to tell.
    """

    rows = 500
    at_once = 500
    parallel = 1
    pause_s = 1.0
    columns: Sequence[sa.Column[Any]] | None = None
    tells = False

    def events(self, item: Item) -> Sequence[Event]:
        """The item's events; None where it has none for this sink."""
        raise NotImplementedError

    def send(self, events: Sequence[Event]) -> Mapping[str, str]:
        """What of these will never be taken: event id -> why; the others are taken. Raises Later, Refusal."""
        raise NotImplementedError

    def added(self, state: str | None, items: Sequence[Item]) -> str | None:
        """The sink's sums with these items, where it tells sums; kept with its place."""
        return state

    def tell(self, state: str | None, since: int, now: int) -> None:
        """Tell the sums since then (epoch microseconds). Raises Later, Refusal."""

    def close(self) -> None:
        """Let go of connections."""
