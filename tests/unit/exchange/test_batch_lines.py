"""Lines of a batch without a usage: their share of the reservation, and not the whole of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pricing.load import load_book
from pricing.usage import Reading
from proxy.exchange.jobs.results import price_lines
from proxy.jobs.job import Job

TOLD = Reading(usage={"input": 1000, "output": 100}, source="provider", conditions={"processing": "batch"})
EACH = (1000 * 1_250 + 100 * 10_000) // 2  # nano-dollars of such a line of gpt-5


def _job(reserved: int | None) -> Job:
    intent: dict[str, Any] = {
        "reserved_nanousd": reserved, "model_requested": "gpt-5", "upstream": "up", "provider": "openai", "model": "gpt-5",
        "budgets": [],
    }  # fmt: skip
    return Job("j", "openai.batches", "d", "batch_1", 0, 0, {}, {}, intent)


@pytest.mark.parametrize(("told", "silent"), [(9, 1), (1, 9), (0, 10), (10, 0)])
async def test_a_line_that_says_nothing_costs_its_share(told: int, silent: int) -> None:
    plane: Any = SimpleNamespace(configured=SimpleNamespace(book=load_book()))
    lines = [TOLD] * told + [Reading()] * silent
    priced = await price_lines(plane, _job(50_000_000), lines, 1_795_000_000)
    assert priced.cost.status == "priced"
    assert priced.cost.cost_nanousd == told * EACH + silent * 5_000_000
    assert (priced.reading.source, "estimated" in priced.cost.flags) == (
        ("estimated", True) if silent else ("provider", False)
    )


async def test_a_line_without_a_price_has_no_share() -> None:
    plane: Any = SimpleNamespace(configured=SimpleNamespace(book=load_book()))
    priced = await price_lines(plane, _job(None), [TOLD, Reading()], 1_795_000_000)
    assert priced.cost.cost_nanousd is None
