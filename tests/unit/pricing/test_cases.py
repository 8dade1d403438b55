"""Whole responses priced end to end, each worked out by hand from the providers' price pages: dates, tiers, regions,
clocks, tools, media. One JSON object a line: what goes into `taximeter price`, and the cost that must come out."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from pricing.load import load_book
from proxy.cli.price_lines import price_lines
from tests.support.rows import each_row

BOOK = load_book()
CASES = [json.loads(line) for line in (Path(__file__).parent / "cases.jsonl").read_text().splitlines()]


@each_row("case", CASES, ids=lambda case: case["in"]["id"])
def test_case(case: dict[str, Any]) -> None:
    (result,) = price_lines([json.dumps(case["in"])], BOOK)
    assert "error" not in result, result
    assert (result["status"], result["flags"]) == (case["status"], case["flags"])
    assert abs(Decimal(result["cost_usd"]) - Decimal(case["cost_usd"])) < Decimal("1e-12"), result["lines"]
