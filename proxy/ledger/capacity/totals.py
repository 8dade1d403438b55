"""The sums of a capacity's books since they began, none of which ever falls: what metrics show.

A call that came late has its share out of what was counted as idle already; the next idle time is counted less by that, so that
the parts come to the cost again. Each instance shows what it has closed itself: where another one goes on, its counters begin
at nothing, and those of all together are the sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.capacity.closing import Closed
from proxy.capacity.runs import Tokens
from proxy.ledger.database import insert_into
from proxy.ledger.schema import metric_state

SHARES = "_capacity"  # rows of metric_state: what an instance has closed of the capacity that the labels name


class Prices(Protocol):
    """What tokens cost elsewhere: nano-USD by the name that it is compared with."""

    def nanousd(self, tokens: Tokens) -> Mapping[str, int]:
        """At what a short call costs."""
        ...

    def beyond(self, call: Tokens) -> Mapping[str, int]:
        """What one call costs more than that."""
        ...


class Totals:
    """The stored sums, and what is added: nano-USD (`busy`, `late` beside it, `idle`, `outside`, `saved`), tokens, millijoules,
    and `elsewhere` by model. `owed`: what late calls have had and the next idle time is counted less by."""

    def __init__(self, stored: Mapping[str, Any], elsewhere: Prices | None) -> None:
        self._sums: dict[str, int] = {name: amount for name, amount in stored.items() if name != "elsewhere"}
        self._elsewhere: dict[str, int] = dict(stored.get("elsewhere", {}))
        self._prices = elsewhere

    def add_late(self, nanousd: int, tokens: Tokens) -> None:
        """What a call had of a minute that was closed before."""
        self._add(late=nanousd, owed=nanousd)
        self._add_tokens(tokens)

    def add_minute(self, closed: Closed) -> None:
        made = closed.split
        had = min(made.idle, self._sums.get("owed", 0))
        self._add(busy=made.busy, idle=made.idle - had, outside=made.outside, saved=made.saved_nanousd, owed=-had)
        if made.power is not None:
            self._add(millijoules=made.power.busy + made.power.idle)
        self._add_tokens(made.tokens)

    def add_call(self, call: Tokens) -> None:
        """A call of which all is known: with its context it may cost more elsewhere than its tokens do."""
        if self._prices is not None:
            self._add_elsewhere(self._prices.beyond(call))

    def stored(self) -> dict[str, Any]:
        return self._sums | ({"elsewhere": self._elsewhere} if self._elsewhere else {})

    def _add(self, **amounts: int) -> None:
        for name, amount in amounts.items():
            self._sums[name] = self._sums.get(name, 0) + amount

    def _add_tokens(self, tokens: Tokens) -> None:
        self._add(**tokens._asdict())
        if self._prices is not None and any(tokens):
            self._add_elsewhere(self._prices.nanousd(tokens))

    def _add_elsewhere(self, nanousd: Mapping[str, int]) -> None:
        for model, amount in nanousd.items():
            self._elsewhere[model] = self._elsewhere.get(model, 0) + amount


def share_of(connection: Connection, instance: str, capacity: str, whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """What this instance has closed, of `whole`: all of it, where that was kept before there were shares."""
    c = metric_state.c
    query = sa.select(c.instance, c.value).where(c.name == SHARES, c.labels == _labels(capacity))
    shares = {row.instance: row.value for row in connection.execute(query)}
    if not shares:
        return whole
    share: Mapping[str, Any] = orjson.loads(shares.get(instance, "{}"))
    return share


def add_to_share(
    connection: Connection,
    engine: Engine,
    instance: str,
    capacity: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    """The sums went from `before` to `after` by this instance."""
    share = dict(share_of(connection, instance, capacity, before))
    share["elsewhere"] = _plus(share.get("elsewhere", {}), before.get("elsewhere", {}), after.get("elsewhere", {}))
    plain = [{name: value for name, value in sums.items() if name != "elsewhere"} for sums in (share, before, after)]
    share |= _plus(*plain)
    row = {"instance": instance, "name": SHARES, "labels": _labels(capacity), "value": orjson.dumps(share).decode()}
    statement = insert_into(engine, metric_state).values(**row)
    keys = [column.name for column in metric_state.primary_key]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_={"value": row["value"]}))


def _plus(share: Mapping[str, int], before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: share.get(name, 0) + amount - before.get(name, 0) for name, amount in after.items()}


def _labels(capacity: str) -> str:
    return orjson.dumps([capacity]).decode()
