"""Plans tried out: other prices, fees and margins, and plans that are not there, on the same calls. Pure.

What is tried stands in the address (`usd.pro=25`, `fee.pro=0.029`, `target.pro=0.3`; a new one as `plan`, `plan_match`,
`plan_per`, `usd`, `fee`, `target`) and changes nothing here: plans are the configuration's, so the page gives the lines to put
there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from proxy.config.plans import Plan
from proxy.config.reading import adapter, read_section
from proxy.control.pages import attributes
from proxy.control.pages.address import Address
from proxy.times import BadQuestion

FIELDS = {"usd": "usd_per_month", "fee": "fee", "target": "target_margin"}
_NEW = "plan"


class TrialPlans(NamedTuple):
    """plans: with what is tried. changed: names of those that are other than configured."""

    plans: Sequence[Plan]
    changed: Sequence[str]


def trial_plans(configured: Sequence[Plan], address: Address) -> TrialPlans:
    """Raises `BadQuestion`."""
    plans, changed = [], []
    shown = {plan.name: plan for plan in configured}  # of several with one name, which have their times, the last
    for plan in configured:
        given: dict[str, str] = {}
        if plan is shown[plan.name]:
            typed = {field: address.get(f"{name}.{plan.name}").strip() for name, field in FIELDS.items()}
            given = {field: text for field, text in typed.items() if text}
        other = _checked(plan.name, adapter(Plan).dump_python(plan, by_alias=True) | given)
        plans.append(other)
        if other != plan:
            changed.append(plan.name)
    if name := address.get(_NEW).strip():
        if any(plan.name == name for plan in configured):
            raise BadQuestion(f"plan: {name[:60]!r} exists already; change its own row")
        given = {field: text for short, field in FIELDS.items() if (text := address.get(short).strip())}
        fields: dict[str, Any] = {"name": name, "match": _match(address.get("plan_match")), **given}
        if per := address.get("plan_per").strip():
            attributes.check_groups((per,))
            fields["per"] = per
        plans.insert(0, _checked(name, fields))  # before the others: the first that fits is a call's plan
        changed.insert(0, name)
    return TrialPlans(plans, list(dict.fromkeys(changed)))


def _match(text: str) -> dict[str, str]:
    """`label.plan=pro, team=x`."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not equals or not name.strip() or not value.strip() for name, equals, value in pairs):
        raise BadQuestion(
            "plan_match: write NAME=VALUE, such as label.plan=pro, several with commas; empty for every call"
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


def _checked(name: str, fields: Mapping[str, Any]) -> Plan:
    try:
        return read_section(Plan, fields)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise BadQuestion(f"plan {name[:60]!r}: {where}: {problem['msg'].removeprefix('Value error, ')}") from None


def lines_of(plans: Sequence[Plan]) -> str:
    """The configuration's `plans` with what is tried, as YAML."""
    rows = [adapter(Plan).dump_python(plan, mode="json", by_alias=True, exclude_defaults=True) for plan in plans]
    for row in rows:
        if "match" in row:
            row["match"] = {name: values[0] if len(values) == 1 else values for name, values in row["match"].items()}
    text: str = yaml.safe_dump({"plans": rows}, sort_keys=False, allow_unicode=True, width=100)
    return text
