"""Which plan calls are on, and who pays for them: by what the configuration matches, and by what revenue rows say. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from proxy.budgets.budget import one_of
from proxy.config.plans import Plan
from proxy.ledger.notes.revenue import Paid
from proxy.money import NANO
from proxy.reports.months import Month

NO_PLAN = Plan(name="none", usd_per_month=Decimal(0))

PayerKey = tuple[str | None, str, str | None]
"""The plan's name, the attribute that pays and its value."""


class Place(NamedTuple):
    """The plan, its price for a month (nano-USD), who pays it, and in which of his cells the calls count."""

    plan: Plan | None
    payer: PayerKey
    cell: tuple[str | None, ...]
    price: int


class Places:
    """Whose a group of calls is, while the same plans hold and the same is said of who is on which: found once for many months.

    names: those of the groups' values; by: those of the cells.
    """

    def __init__(self, names: Sequence[str], by: Sequence[str], plans: Sequence[Plan], said: Mapping[str, str]) -> None:
        self.plans, self.said = plans, said
        self.plan_named = {plan.name: plan for plan in reversed(plans)}
        self._names, self._by = names, by
        self._known: dict[tuple[str | None, ...], Place] = {}

    def knows(self, values: tuple[str | None, ...]) -> bool:
        """Whether it was asked for these before."""
        return values in self._known

    def of(self, values: tuple[str | None, ...]) -> Place:
        place = self._known.get(values)
        if place is None:
            place = self._known[values] = self._place_of(dict(zip(self._names, values, strict=True)))
        return place

    def _place_of(self, group: Mapping[str, str | None]) -> Place:
        customer = group["customer"]
        plan = next((plan for plan in self.plans if _fits(plan, group)), None)
        if customer is not None and customer in self.said:
            name = self.said[customer]
            if name and (plan is None or plan.name != name):
                plan = self.plan_named.get(name) or replace(NO_PLAN, name=name)
        cell = tuple((plan.name if plan else None) if name == "plan" else group[name] for name in self._by)
        return Place(plan, payer_key(plan, group), cell, int(plan.usd_per_month * NANO) if plan else 0)


def plans_said(paid: Sequence[Paid]) -> dict[str, str]:
    """Which plan each customer with revenue rows is on; "" where they do not say."""
    plan_of: dict[str, str] = {}
    for payment in sorted(paid):
        plan_of[payment.customer] = payment.plan or plan_of.get(payment.customer, "")
    return plan_of


def holds(plan: Plan, month: Month) -> bool:
    begun = plan.from_ is None or plan.from_.timestamp() * 1e6 < month.end
    return begun and (plan.to is None or plan.to.timestamp() * 1e6 > month.start)


def _fits(plan: Plan, group: Mapping[str, str | None]) -> bool:
    return all(one_of(group[name], patterns) for name, patterns in plan.match.items())


def payer_key(plan: Plan | None, group: Mapping[str, str | None]) -> PayerKey:
    per = plan.per if plan else "customer"
    return plan.name if plan else None, per, group[per]
