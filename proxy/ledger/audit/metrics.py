"""The metrics' part of the audit: what all instances' series say together is what the ledger has."""

from __future__ import annotations

from collections import defaultdict

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pricing.units import is_token
from proxy.ledger.audit.difference import Differs
from proxy.ledger.rollup_schema import SUMS, spend_days, spend_units
from proxy.ledger.schema import TOKEN_COLUMNS, metric_state

_MICRO = 1_000_000


def check_metrics(connection: Connection, corrected: int | None) -> int:
    """The counters of all instances together are what the ledger has; corrections are in a gauge of their own. How many series
    there are. corrected: what all corrections come to (nano-USD); None where some are deleted. Raises `Differs`."""
    shown, series = _metrics(connection)
    rolled = _rolled_metrics(connection)
    rolled["cost_corrections_usd"] = shown["cost_corrections_usd"] if corrected is None else corrected
    rolled["cost_usd_total"] -= rolled["cost_corrections_usd"]
    rolled["usage_source_total"] = rolled["request_cost_usd"] = 0
    for name, value in list(rolled.items()):
        if name.startswith("requests_total"):
            rolled["usage_source_total"] += value
            rolled["request_cost_usd"] += value
        elif name.startswith("unpriced_requests_total"):
            rolled["request_cost_usd"] -= value
    for name in sorted(rolled.keys() | shown.keys()):
        if rolled.get(name, 0) != shown.get(name, 0):
            raise Differs(f"metric {name}", f"it is {shown.get(name, 0)}, and the ledger has {rolled.get(name, 0)}")
    return series


def _metrics(connection: Connection) -> tuple[dict[str, int], int]:
    """What the metrics say, in their state's integers, by provider and unit where they have these; how many series."""
    shown: dict[str, int] = defaultdict(int)
    series = 0
    query = sa.select(metric_state.c.name, metric_state.c.labels, metric_state.c.value)
    for name, labels, value in connection.execute(query):
        series += 1
        if name in ("requests_total", "unpriced_requests_total"):
            shown[f"{name}{{provider={orjson.loads(labels)[0]!r}}}"] += int(value)
        elif name == "tokens_total":
            provider, _, unit, _ = orjson.loads(labels)
            shown[f"{name}{{provider={provider!r},unit={unit!r}}}"] += int(value)
        elif name in ("cost_usd_total", "cost_corrections_usd", "usage_source_total"):
            shown[name] += int(value)
        elif name == "request_cost_usd":
            shown[name] += sum(orjson.loads(value)[:-1])
    return shown, series


def _rolled_metrics(connection: Connection) -> dict[str, int]:
    ours: dict[str, int] = defaultdict(int)
    table = spend_days
    provider = sa.func.coalesce(table.c.provider, "")
    query = sa.select(provider, *[sa.func.sum(table.c[name]) for name in SUMS]).group_by(provider)
    for name, *numbers in connection.execute(query):
        sums = dict(zip(SUMS, map(int, numbers), strict=True))
        ours[f"requests_total{{provider={name!r}}}"] += sums["requests"]
        ours[f"unpriced_requests_total{{provider={name!r}}}"] += sums["unpriced_requests"]
        ours["cost_usd_total"] += sums["cost_nanousd"]
        for unit, column in TOKEN_COLUMNS.items():
            ours[f"tokens_total{{provider={name!r},unit={unit!r}}}"] += sums[column] * _MICRO
    same = [spend_units.c.rollup == table.name, spend_units.c.start_at == table.c.start_at]
    same.append(spend_units.c.group == table.c.group)
    kinds = (provider, spend_units.c.unit, spend_units.c.scale)
    units = sa.select(*kinds, sa.func.sum(spend_units.c.amount)).join_from(table, spend_units, sa.and_(*same))
    for name, unit, scale, amount in connection.execute(units.group_by(*kinds)):
        if is_token(unit):
            ours[f"tokens_total{{provider={name!r},unit={unit!r}}}"] += int(amount) * _MICRO // 10**scale
    return ours
