"""What a kWh stands for: the data that comes with us, and the arithmetic."""

from __future__ import annotations

import json
from importlib.resources import files

from proxy.capacity.carbon import grams, grids


def test_the_grids_name_their_source_and_are_plausible() -> None:
    data = json.loads((files("proxy.capacity") / "data" / "grids.json").read_text())

    assert "CodeCarbon" in data["source"]
    assert data["taken"]
    assert len(grids()) > 200
    assert grids()["USA"] == (369.473, 2023)
    assert all(0 <= grid.grams_per_kwh < 1500 and len(country) == 3 for country, grid in grids().items())


def test_a_kwh_is_3_6_megajoules() -> None:
    assert grams(3_600_000_000, 369.0) == 369.0
    assert grams(0, 369.0) == 0
