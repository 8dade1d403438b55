"""What the entries of one batch add to the metrics: counted apart, and only added to the state once the batch is in the ledger.

Entries are collected by their labels first and become series at the end of the batch: most calls of a batch look alike.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from decimal import Decimal, InvalidOperation
from typing import Any

from pricing.units import is_token
from proxy.control.metrics.quiet_sessions import Call, Session, call_of
from proxy.control.metrics.table import LIMITS, MAX_MODELS, MAX_TEAMS, MICRO, OVERFLOW, Key
from proxy.ledger.entries import Entry
from proxy.ledger.rollups import units_of
from proxy.ledger.schema import NOT_COUNTED, TOKEN_COLUMNS
from proxy.ledger.sound import Row
from proxy.money import NANO
from proxy.spool import records

_CUTS = {
    "client_disconnected": "client",
    "upstream_timeout": "upstream",
    "upstream_error": "upstream",
    "cut": "proxy",
    "crashed": "proxy",
}
_TOKENS = tuple(TOKEN_COLUMNS.items())
_TIMES = (
    ("request_duration_seconds", "duration_ms"),
    ("overhead_seconds", "overhead_ms"),
    ("time_to_first_token_seconds", "ttft_ms"),
)


class _Alike:
    """The entries of a batch that have the same labels."""

    __slots__ = ("cost", "count", "histograms", "sources", "tokens", "unpriced")

    def __init__(self) -> None:
        self.count = 0
        self.unpriced = 0
        self.tokens: dict[str, int] = defaultdict(int)  # millionths
        self.cost: dict[str, int] = defaultdict(int)
        self.sources: dict[str, int] = defaultdict(int)
        self.histograms: dict[str, tuple[Key, list[int]]] = {}


class Observed:
    """Counts of one batch, by series; `exemplars` are what was observed last: request id, session id and value.

    quiet: sessions that are measured with this batch, at `now` (epoch microseconds).
    """

    def __init__(
        self, known_models: Set[str], known_teams: Set[str], now: int = 0, quiet: Sequence[Session] = ()
    ) -> None:
        self._known_models = known_models
        self._known_teams = known_teams
        self.counters: dict[Key, int] = {}
        self.histograms: dict[Key, list[int]] = {}
        self.exemplars: dict[Key, tuple[str, str, int]] = {}
        self.models: set[str] = set()
        self.teams: set[str] = set()
        self.calls: list[Call] = []
        self.now = now
        self.quiet = quiet
        self._alike: dict[tuple[str, ...], _Alike] = {}
        for session in quiet:
            self._observe_session(session)

    # What the recorder tells.

    def observe_refusal(self, reason: str, budget: str | None) -> None:
        self._count("refusals_total", (reason, budget or ""))

    def observe_tally(self, tally: records.Tally) -> None:
        for reason, budget, count in tally["refusals"]:
            self._count("refusals_total", (reason, budget or ""), count)
        for budget, count in tally["would_refuse"]:
            self._count("would_refuse_total", (budget,), count)

    def observe_entry(self, entry: Entry) -> None:
        row, end = entry.row, entry.end
        if row["kind"] == "correction":
            self._count("cost_corrections_usd", (), row["cost_nanousd"] or 0)
        if row["status"] in NOT_COUNTED:
            return
        if (call := call_of(row)) is not None:
            self.calls.append(call)
        provider = row["provider"] or ""
        model = self._model(row)
        team = self._team(row["team"] or "")
        client = row["client"] or "other"
        operation = row["operation"] or ""
        labels = (provider, model, operation, row["outcome"], team, client, row["upstream"] or "")
        alike = self._alike.get(labels)
        if alike is None:
            alike = self._alike[labels] = _Alike()
        for unit, column in _TOKENS:
            if row[column]:
                alike.tokens[unit] += row[column] * MICRO
        if row["usage"]:
            for (unit, scale), amount in units_of(row["usage"]).items():
                if is_token(unit):  # whole ones of rare units, fractions of any
                    alike.tokens[unit] += amount * MICRO // 10**scale
        if row["kind"] == "attempt":
            self._observe_attempt(row, end, labels, alike)

    def _observe_attempt(self, row: Row, end: records.Settle, labels: tuple[str, ...], alike: _Alike) -> None:
        (provider, model, operation), upstream = labels[:3], labels[-1]
        alike.count += 1
        alike.sources[row["usage_source"] or "none"] += 1
        cost = row["cost_nanousd"]
        if cost is None or "partial" in (end.get("flags") or ()):
            alike.unpriced += 1
        if cost is not None:
            for unit, nanousd in deal(cost, end["cost_lines"] or (), row["status"]):
                alike.cost[unit] += nanousd
            self._observe(alike, "request_cost_usd", (model, operation), cost, row)
            reserved = row["reserved_nanousd"]
            if reserved is not None:
                if cost > reserved:
                    self._count("overrun_usd_total", (), cost - reserved)
                else:
                    self._observe(alike, "reservation_error_usd", (), reserved - cost)
        if row["outcome"] in _CUTS:
            self._count("stream_cuts_total", (_CUTS[row["outcome"]],))
        for name, column in _TIMES:
            milliseconds = row[column]
            if milliseconds is not None:
                self._observe(alike, name, (provider, model, upstream), int(milliseconds * 1000), row)
        if row["stream"] and (between_ms := between_tokens_ms(end)) is not None:
            self._observe(alike, "inter_token_latency_seconds", (provider, model, upstream), int(between_ms * 1000))

    def _observe_session(self, session: Session) -> None:
        labels = (self._team(session.team), session.client)
        for name, value in (("session_cost_usd", session.cost_nanousd), ("session_requests", session.requests)):
            key = (name, labels)
            counts = self.histograms.setdefault(key, [0] * (len(LIMITS[name]) + 2))
            counts[bisect_left(LIMITS[name], value)] += 1
            counts[-1] += value
            self.exemplars[key] = "", session.session_id, value

    # Series

    def _count(self, name: str, labels: tuple[str, ...], amount: int = 1) -> None:
        key = (name, labels)
        self.counters[key] = self.counters.get(key, 0) + amount

    def _observe(self, alike: _Alike, name: str, labels: tuple[str, ...], value: int, row: Row | None = None) -> None:
        limits = LIMITS[name]
        histogram = alike.histograms.get(name)
        if histogram is None:
            key = (name, labels)
            histogram = alike.histograms[name] = key, self.histograms.setdefault(key, [0] * (len(limits) + 2))
        key, counts = histogram
        counts[bisect_left(limits, value)] += 1
        counts[-1] += value
        if row is not None:
            self.exemplars[key] = row["request_id"], row["root_session_id"] or "", value

    def spread(self) -> None:
        """From groups of alike entries to series, once, at the end of the batch."""
        for labels, alike in self._alike.items():
            provider, model, _, _, team, client, _ = labels
            if alike.count:
                self._count("requests_total", labels, alike.count)
            if alike.unpriced:
                self._count("unpriced_requests_total", (provider, model), alike.unpriced)
            for source, count in alike.sources.items():
                self._count("usage_source_total", (source,), count)
            for unit, millionths in alike.tokens.items():
                self._count("tokens_total", (provider, model, unit, team), millionths)
            for unit, nanousd in alike.cost.items():
                self._count("cost_usd_total", (provider, model, unit, team, client), nanousd)
        self._alike.clear()

    def _model(self, row: Row) -> str:
        """A model that has answered is a label; names that clients make up never answer."""
        model: str = row["model"] or ""
        if model in self._known_models or model in self.models:
            return model
        if row["http_status"] == 200 and len(self._known_models) + len(self.models) < MAX_MODELS:
            self.models.add(model)
            return model
        self._count("label_overflow_total", ("model",))
        return "other"

    def _team(self, team: str) -> str:
        if team in self._known_teams or team in self.teams:
            return team
        if len(self._known_teams) + len(self.teams) < MAX_TEAMS:
            self.teams.add(team)
            return team
        self._count("label_overflow_total", ("team",))
        return OVERFLOW


def between_tokens_ms(end: records.Settle) -> float | None:
    """The mean time between a stream's events, where there were at least two."""
    total, count = end["itl_ms_sum"], end["itl_count"]
    if not count or not isinstance(count, int) or not isinstance(total, int | float):
        return None
    return total / count


def deal(total_nanousd: int, lines: Sequence[Mapping[str, Any]], status: str = "settled") -> Iterable[tuple[str, int]]:
    """A total dealt out to its cost lines' units, by largest remainder: the parts are integers and add up to the total.

    A total without lines (the ceiling of an unconfirmed attempt, a cost that only the provider states) is one part, and so
    is one whose lines cannot be read.
    """
    whole_part = "ceiling" if status == "unconfirmed" else "other"
    try:
        exact = [(str(line["unit"]), Decimal(line["cost_usd"]) * NANO) for line in lines]
        whole = sum(cost for _, cost in exact)
        if not exact or not Decimal(whole).is_finite():
            exact = []
    except (LookupError, TypeError, ValueError, InvalidOperation):
        exact = []
    if not exact:
        return ((whole_part, total_nanousd),) if total_nanousd else ()
    if whole and abs(whole - total_nanousd) > 1:  # the provider's own cost won: its parts in proportion
        exact = [(unit, cost * total_nanousd / whole) for unit, cost in exact]
    whole_parts = [int(cost) for _, cost in exact]
    left = total_nanousd - sum(whole_parts)
    by_remainder = sorted(range(len(exact)), key=lambda n: whole_parts[n] - exact[n][1])
    for n in by_remainder[: max(0, left)]:
        whole_parts[n] += 1
        left -= 1
    whole_parts[0] += left
    return [(unit, nanousd) for (unit, _), nanousd in zip(exact, whole_parts, strict=True) if nanousd]
