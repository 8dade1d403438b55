"""A cost dealt out to the units that it is for: whole nano-dollars, which add up to it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import chain
from math import fsum
from typing import Any

import orjson

from proxy.money import NANO
from proxy.spool.plain import Line, Part, lines_of

_TENS = tuple(10 ** (9 - places) for places in range(10))  # nano-dollars, by the decimals of a number of dollars
_MOST_USD = 1e6


def apportion(
    total_nanousd: int, said: str | Sequence[Mapping[str, Any] | Line], status: str = "settled"
) -> Iterable[tuple[str, int]]:
    """A total dealt out to its cost lines' units, by largest remainder: the parts are integers and add up to the total.

    A total without lines (the ceiling of an unconfirmed attempt, a cost that only the provider states) is one part, and so
    is one whose lines cannot be read.
    """
    lines = _read(said) if isinstance(said, str) else said
    parts = _whole_parts(lines)
    if parts is not None and sum(parts.values()) == total_nanousd:
        return parts.items()  # nothing is to be rounded: what nearly every cost is
    return _dealt(total_nanousd, lines, status)


def apportion_all(
    totals: Sequence[int], parts: Sequence[Sequence[Part]], lines: Sequence[str], statuses: Sequence[str]
) -> Mapping[str, int]:
    """What several costs come to by unit. parts, lines: what each one's lines say, and their text. Parts of a nano-dollar are
    dealt out of all of them where that leaves nothing over, and else of each."""
    sums = _sums(parts)
    if sums is None or sum(sums.values()) != sum(totals):
        sums = defaultdict(int)
        for total, said, status in zip(totals, lines, statuses, strict=True):
            for unit, nanousd in apportion(total, said, status):
                sums[unit] += nanousd
    return sums


def _sums(each: Iterable[Sequence[Part]]) -> dict[str, int] | None:
    """What each unit costs in all of these lines, to the nearest nano-dollar; None where that is not certain.

    Floats are certain here: their sum is rounded once, and what is written is nearer to them than half a nano-dollar in all.
    """
    costs: dict[str, list[float]] = defaultdict(list)
    for part in chain.from_iterable(each):
        costs[part.unit].append(part.cost_usd)
    try:
        sums = {unit: fsum(some) for unit, some in costs.items()}
        if any(usd > _MOST_USD or min(costs[unit]) < 0 for unit, usd in sums.items()):
            return None
        return {unit: round(usd * NANO) for unit, usd in sums.items()}
    except (ValueError, ArithmeticError):
        return None


def _read(said: str) -> Sequence[Mapping[str, Any] | Line]:
    try:
        return lines_of(said)
    except ValueError:
        pass
    try:
        lines: Sequence[Mapping[str, Any]] = orjson.loads(said)
    except orjson.JSONDecodeError:
        return ()
    return lines


def _whole_parts(lines: Sequence[Mapping[str, Any] | Line]) -> dict[str, int] | None:
    """What each unit costs, where that is a whole number of nano-dollars and written as a plain decimal; else None."""
    parts: dict[str, int] = {}
    try:
        for line in lines:
            unit, cost = (line.unit, line.cost_usd) if isinstance(line, Line) else (line["unit"], line["cost_usd"])
            whole, _, decimals = cost.partition(".")
            nanousd = int(whole + decimals) * _TENS[len(decimals)]  # more places: IndexError
            if nanousd:
                parts[unit] = parts.get(unit, 0) + nanousd
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    return parts


def _dealt(total_nanousd: int, lines: Sequence[Mapping[str, Any] | Line], status: str) -> Iterable[tuple[str, int]]:
    whole_part = "ceiling" if status == "unconfirmed" else "other"
    try:
        costs = [
            (line.unit, line.cost_usd) if isinstance(line, Line) else (line["unit"], line["cost_usd"]) for line in lines
        ]
        exact = [(str(unit), Decimal(cost) * NANO) for unit, cost in costs]
        whole = sum(cost for _, cost in exact)
        if not exact or not Decimal(whole).is_finite():
            exact = []
    except (LookupError, TypeError, ValueError, InvalidOperation):
        exact = []
    if not exact:
        return ((whole_part, total_nanousd),) if total_nanousd else ()
    if whole and abs(whole - total_nanousd) > 1:  # the provider's own cost won: its parts in proportion
        exact = [(unit, cost * total_nanousd / whole) for unit, cost in exact]
    whole_parts = [int(cost) for _, cost in exact]
    left = total_nanousd - sum(whole_parts)
    if left:
        by_remainder = sorted(range(len(exact)), key=lambda n: whole_parts[n] - exact[n][1])
        for n in by_remainder[: max(0, left)]:
            whole_parts[n] += 1
            left -= 1
        whole_parts[0] += left
    return [(unit, nanousd) for (unit, _), nanousd in zip(exact, whole_parts, strict=True) if nanousd]
