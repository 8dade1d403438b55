"""Which days were compared with each provider's export: the last comparison, and the days without one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Engine

from proxy.ledger.notes.reconciliations import Reconciliation, reconciliations_of
from proxy.reports.known_cost import known_cost
from proxy.reports.ranking import costs_by
from proxy.reports.spans import Span
from proxy.reports.spend import spend


class ReconciledProvider(NamedTuple):
    """cost_nanousd: ours, of the time; None: there are calls, and none has a price. last: the latest comparison that has any of
    it; None: none ever did. missing: days with a cost here that no comparison had, as stretches of (first day, last day)."""

    provider: str
    cost_nanousd: int | None
    last: Reconciliation | None
    missing: Sequence[tuple[str, str]]


def reconciled(engine: Engine, since: int, until: int, zone: ZoneInfo) -> list[ReconciledProvider]:
    """Of every provider that cost anything in the time, or was compared; the dearest first."""
    days: dict[str, dict[str, int]] = {}
    finest = "day" if zone.key == "UTC" else "hour"
    for (at, provider), cost in costs_by(engine, [finest, "provider"], Span(since, until)).items():
        if provider:
            of_provider = days.setdefault(provider, {})
            day = f"{datetime.fromtimestamp(max(at, since) / 1e6, zone):%Y-%m-%d}"  # an hour may begin before it
            of_provider[day] = of_provider.get(day, 0) + cost
    runs: dict[str, list[Reconciliation]] = {}
    for run in reconciliations_of(engine, since, until):
        runs.setdefault(run.provider, []).append(run)
    made = [
        ReconciledProvider(
            provider=provider,
            cost_nanousd=_known(engine, provider, since, until, sum(days.get(provider, {}).values())),
            last=next(iter(runs.get(provider, [])), None),
            missing=_stretches(
                sorted(day for day in days.get(provider, {}) if not _has(runs.get(provider, []), day, zone))
            ),
        )
        for provider in days.keys() | runs.keys()
    ]
    return sorted(made, key=lambda one: (-(one.cost_nanousd or 0), one.provider))


def _known(engine: Engine, provider: str, since: int, until: int, cost: int) -> int | None:
    rows = [] if cost else spend(engine, ["provider"], since, until, only={"provider": provider})
    return known_cost(cost, sum(row.requests for row in rows), sum(row.unpriced_requests for row in rows))


def _has(runs: Iterable[Reconciliation], day: str, zone: ZoneInfo) -> bool:
    """Whether one comparison had the whole day."""
    begin = datetime.fromisoformat(day).replace(tzinfo=zone)
    starts, ends = (int(at.timestamp() * 1e6) for at in (begin, begin + timedelta(days=1)))
    return any(run.since_at <= starts and ends <= run.until_at for run in runs)


def _stretches(days: Sequence[str]) -> list[tuple[str, str]]:
    """Days that follow each other, together."""
    stretches: list[tuple[str, str]] = []
    for day in days:
        before = (datetime.fromisoformat(day) - timedelta(days=1)).strftime("%Y-%m-%d")
        if stretches and stretches[-1][1] == before:
            stretches[-1] = (stretches[-1][0], day)
        else:
            stretches.append((day, day))
    return stretches
