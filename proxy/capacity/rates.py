"""What a capacity costs, exactly: dated prices and dated numbers of machines, as whole nano-USD for any span of time.

Costs are counted from each day's midnight (UTC) and rounded down there, so that the parts of a day add up to the day, wherever
it is cut: `cost(a, b) + cost(b, c) == cost(a, c)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from proxy.times import DAY_US, HOUR_US


class Step(NamedTuple):
    """A value that holds from a moment (epoch microseconds) on, until the next one does."""

    from_us: int
    value: int


class Piece(NamedTuple):
    """A span in which the price stays the same: nano-USD an hour of all units together."""

    start: int
    end: int
    units: int
    nanousd_per_hour: int


class Rates(NamedTuple):
    """prices: nano-USD an hour of one unit. units: how many there are. Each in the order of time; before its first step there
    is nothing, and nothing is paid."""

    prices: Sequence[Step]
    units: Sequence[Step]

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """The span, cut where a price or a number changes."""
        cuts = sorted({step.from_us for steps in self for step in steps if start < step.from_us < end})
        for begin, until in zip([start, *cuts], [*cuts, end], strict=True):
            if begin < until:
                units = _value(self.units, begin)
                yield Piece(begin, until, units, units * _value(self.prices, begin))

    def cost(self, start: int, end: int) -> int:
        """Nano-USD from `start` to before `end`."""
        total = 0
        while start < end:
            day = start - start % DAY_US
            until = min(end, day + DAY_US)
            total += self._since(day, until) - self._since(day, start)
            start = until
        return total

    def _since(self, day: int, until: int) -> int:
        return sum((p.end - p.start) * p.nanousd_per_hour for p in self.pieces(day, until)) // HOUR_US


def _value(steps: Sequence[Step], at: int) -> int:
    value = 0
    for step in steps:
        if step.from_us > at:
            break
        value = step.value
    return value


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts in proportion to `weights` (integers of at least 0, not all of them 0), by largest remainder: the
    parts add up to the total. Of equal remainders the earlier ones get more, so that their order has to be a fixed one."""
    whole = sum(weights)
    parts, rests = [], []
    for weight in weights:
        part, rest = divmod(total * weight, whole)
        parts.append(part)
        rests.append(rest)
    left = total - sum(parts)
    for index in sorted(range(len(parts)), key=lambda n: -rests[n])[:left]:
        parts[index] += 1
    return parts
