"""Plans tried out: what the page's form sends of a plan is the price that it shows, and no earlier one's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.config.fields import money
from proxy.config.plans import Plan
from proxy.config.reading import read_section
from proxy.control.pages.address import read
from proxy.control.pages.trial_plans import TrialPlans, trial_plans

PLANS = [
    read_section(Plan, {"name": "pro", "usd_per_month": "20", "to": "2026-03-01T00:00:00Z"}),
    read_section(Plan, {"name": "pro", "usd_per_month": "25", "from": "2026-03-01T00:00:00Z"}),
    read_section(Plan, {"name": "free", "usd_per_month": "0"}),
]


@pytest.mark.parametrize(("usd", "changed"), [("25", []), ("30", ["pro"])])
def test_of_a_plan_whose_price_has_changed_the_last_one_is_tried(usd: str, changed: list[str]) -> None:
    first, last, free = PLANS
    address = read("/customers", [("usd.pro", usd), ("usd.free", "0"), ("fee.pro", ""), ("target.free", "0.0")])
    other = replace(last, usd_per_month=money(usd))
    assert trial_plans(PLANS, address) == TrialPlans([first, other, free], changed)
