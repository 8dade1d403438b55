"""How much carbon dioxide a kWh stands for, by country: the mean of a year, from the data that comes with us.

The data: `data/grids.json`, which names its source and when it was taken; its licence stands beside it.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple

MJ_PER_KWH = 3_600_000_000


class Grid(NamedTuple):
    """A country's mean: grams of CO2e for a kWh, and the year that it is of."""

    grams_per_kwh: float
    year: int


@cache
def grids() -> dict[str, Grid]:
    """By ISO 3166 code of three letters."""
    from importlib.resources import files  # noqa: PLC0415 - 4 ms of each start, and only who names a country needs it

    data: dict[str, Any] = json.loads((files(__package__) / "data" / "grids.json").read_text(encoding="utf-8"))
    return {country: Grid(*row) for country, row in data["countries"].items()}


def grams(millijoules: int, grams_per_kwh: float) -> float:
    """Grams of CO2e for that much energy."""
    return millijoules / MJ_PER_KWH * grams_per_kwh
