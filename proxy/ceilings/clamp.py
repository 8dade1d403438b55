"""Making a call smaller so that it fits the money that is left: the output cap is lowered, never below a useful answer.

Pure: prices come as a function from usage to nano-USD.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from proxy.ceilings.ceiling import Ceiling


class Price(Protocol):
    """What a usage costs at most; None where a unit of it has no price."""

    def __call__(self, usage: Mapping[str, int], /) -> int | None: ...


def least_nanousd(ceiling: Ceiling, price: Price, least_tokens: int) -> int | None:
    """What the call costs at most with the smallest cap that still makes sense; None where it cannot be made smaller."""
    if ceiling.input_tokens is None or ceiling.output_tokens <= least_tokens:
        return None
    return price(ceiling.with_output(least_tokens))


def affordable_tokens(ceiling: Ceiling, price: Price, nanousd: int) -> int:
    """The largest cap on each sequence with which the call cannot cost more than `nanousd`."""
    low, high = 0, ceiling.output_tokens
    while low < high:
        middle = (low + high + 1) // 2
        cost = price(ceiling.with_output(middle))
        if cost is not None and cost <= nanousd:
            low = middle
        else:
            high = middle - 1
    return low
