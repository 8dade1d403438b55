"""The lines of a cost, written as the spool and the ledger have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from pricing.cost import CostLine, Rate


def written(lines: Iterable[CostLine]) -> str:
    """A JSON list of `records.Line`."""
    return f"[{','.join(map(_written, lines))}]"


def _written(line: CostLine) -> str:
    rate, model = line.rate, line.model
    form = rate.form if model is None else _form(rate, model)
    if form is None:
        form = rate.form = _form(rate, None)
    begin, between, end = form
    return f"{begin}{line.quantity!s}{between}{line.cost_usd!s}{end}"


def _form(rate: Rate, model: str | None) -> tuple[str, str, str]:
    """What stands before, between and behind the two numbers of a line."""
    before: dict[str, Any] = {"unit": rate.unit}
    between: dict[str, Any] = {"price_usd": str(rate.price_usd), "per": rate.per}
    behind: dict[str, Any] = {"model": model, "source": rate.source}
    return f'{{{_inside(before)},"quantity":"', f'",{_inside(between)},"cost_usd":"', f'",{_inside(behind)}}}'


def _inside(part: dict[str, Any]) -> str:
    return orjson.dumps(part)[1:-1].decode()
