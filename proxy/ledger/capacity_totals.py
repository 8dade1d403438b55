"""The sums of a capacity's books since they began, none of which ever falls: what metrics show.

A call that came late has its share out of what was counted as idle already; the next idle time is counted less by that, so that
the parts come to the cost again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from proxy.capacity.closing import Closed
from proxy.capacity.runs import Tokens


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
