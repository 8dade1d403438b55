"""What the entries of one batch add to the metrics: counted apart, and only added to the state once the batch is in the ledger.

Entries are collected by their labels first and become series at the end of the batch: most calls of a batch look alike.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from itertools import pairwise
from operator import itemgetter
from typing import Any

from msgspec import Raw

from pricing.units import is_token
from proxy.control.metrics.cost_parts import apportion, apportion_all
from proxy.control.metrics.quiet_sessions import Call, Session, call_of
from proxy.control.metrics.table import LIMITS, MAX_MODELS, MAX_TEAMS, MICRO, OVERFLOW, Key
from proxy.ledger.entries import Entry
from proxy.ledger.rollups import units_of
from proxy.ledger.row import Row
from proxy.ledger.row_checks import MOST
from proxy.ledger.schema import NOT_COUNTED, TOKEN_COLUMNS
from proxy.spool import records
from proxy.spool.plain import is_said

log = logging.getLogger("taximeter.metrics")

_CUTS = {
    "client_disconnected": "client",
    "upstream_timeout": "upstream",
    "upstream_error": "upstream",
    "cut": "proxy",
    "crashed": "proxy",
}


def _of_row(*columns: str) -> Any:
    """These columns of a row: by place, which takes a fifth of the time."""
    return itemgetter(*map(Row._fields.index, columns))


_TOKENS = tuple((unit, _of_row(column)) for unit, column in TOKEN_COLUMNS.items())
_TIMES = (
    ("request_duration_seconds", _of_row("duration_ms")),
    ("overhead_seconds", _of_row("overhead_ms")),
    ("time_to_first_token_seconds", _of_row("ttft_ms")),
)
_cost, _reserved, _source = _of_row("cost_nanousd"), _of_row("reserved_nanousd"), _of_row("usage_source")
_names = _of_row("kind", "status", "provider", "model", "operation", "outcome", "team", "client", "upstream")
_looked_at = _of_row(
    "kind", "session_source", "session_id", "root_session_id", "cost_nanousd", "status", "stream", "usage"
)


class _Alike:
    """The entries of a batch that have the same labels: `rows` of attempts, in order, and what their ends say beside them."""

    __slots__ = ("between_us", "cost", "costs", "labels", "numbers", "rows", "tokens", "unpriced")

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.rows: list[Row] = []
        self.numbers: list[int] = []  # how many came before each of them in the batch
        self.unpriced = 0
        self.between_us: list[int] = []
        self.tokens: dict[str, int] = defaultdict(int)  # millionths
        self.cost: dict[str, int] = defaultdict(int)
        self.costs: list[tuple[int, Raw, str]] = []  # that are not dealt out yet: as `apportion_all` has them


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
        self._known_alike: dict[tuple[str | None, ...], _Alike] = {}
        self._attempts = 0
        self._latest: dict[Key, int] = {}  # the number of the attempt that is a series' exemplar
        for session in quiet:
            self._observe_session(session)

    # What the recorder tells.

    def observe_refusal(self, reason: str, budget: str | None) -> None:
        self._refuse(reason, budget, 1)

    def _refuse(self, reason: str, budget: str | None, count: int) -> None:
        self._count("refusals_total", (reason, budget or ""), count)

    def observe_tally(self, tally: records.Tally) -> None:
        for reason, budget, count in tally["refusals"]:
            self._refuse(reason, budget, count)
        for budget, count in tally["would_refuse"]:
            self._count("would_refuse_total", (budget,), count)

    def observe_entries(self, entries: Iterable[Entry]) -> None:
        """Never raises: what is in the ledger no metric can stop."""
        for entry in entries:
            try:
                self._observe_entry(entry)
            except (ArithmeticError, LookupError, TypeError, ValueError):
                log.exception("entry %s could not be counted in the metrics", entry.row.id)

    def _observe_entry(self, entry: Entry) -> None:
        row, end, _ = entry
        names = _names(row)
        alike = self._known_alike.get(names)
        if alike is None:
            if row.kind == "correction":
                self._count("cost_corrections_usd", (), row.cost_nanousd or 0)
            if row.status in NOT_COUNTED:
                return
            alike = self._find_alike(row, names)
        kind, source, session_id, root, cost, status, stream, usage = _looked_at(row)
        if not (source == "none" and session_id == root) and (call := call_of(row)) is not None:
            self.calls.append(call)
        if kind == "attempt":
            lines: Any = end.get("cost_lines")
            if cost is not None and type(lines) is Raw and is_said(lines) and not stream and "flags" not in end:
                alike.costs.append((cost, lines, status))
            else:
                self._observe_end(end, cost, status, stream, alike)
            self._attempts += 1
            alike.rows.append(row)
            alike.numbers.append(self._attempts)
        else:
            self._observe_tokens((row,), alike)
        if usage:
            for (unit, scale), amount in units_of(usage).items():
                if is_token(unit):  # whole ones of rare units, fractions of any
                    alike.tokens[unit] += amount * MICRO // 10**scale

    def _find_alike(self, row: Row, names: tuple[str | None, ...]) -> _Alike:
        """The series in which the entry counts; remembered for the next entry with these names, if all of them are labels."""
        _, _, provider, _, operation, outcome, team, client, upstream = names
        model, team_label = self._model(row), self._team(team or "")
        labels = (provider or "", model, operation or "", outcome or "", team_label, client or "other", upstream or "")
        alike = self._alike.get(labels)
        if alike is None:
            alike = self._alike[labels] = _Alike(labels)
        if row.kind == "attempt" and model == (row.model or "") and team_label == (team or ""):
            self._known_alike[names] = alike
        return alike

    def _observe_end(
        self, end: records.Settle, cost: int | None, status: str, stream: bool | None, alike: _Alike
    ) -> None:
        """What its end says; what stands in columns is added up for all alike at the end of the batch (`spread`)."""
        flags = end.get("flags")
        if cost is None or (flags and "partial" in flags):
            alike.unpriced += 1
        if flags and "unexpected_model" in flags:
            self._count("unexpected_models_total", (alike.labels[6], alike.labels[1]))
        if cost is not None:
            lines: Any = end.get("cost_lines") or ()
            if type(lines) is Raw and is_said(lines):
                alike.costs.append((cost, lines, status))
            else:
                for unit, nanousd in apportion(cost, lines, status):
                    alike.cost[unit] += nanousd
        if stream and (between_ms := between_tokens_ms(end)) is not None:
            alike.between_us.append(int(between_ms * 1000))

    def _observe_tokens(self, rows: Iterable[Row], alike: _Alike) -> None:
        for unit, column in _TOKENS:
            if count := sum(map(column, rows)):
                alike.tokens[unit] += count * MICRO

    def _observe_session(self, session: Session) -> None:
        labels = (self._team(session.team), session.client)
        for name, value in (("session_cost_usd", session.cost_nanousd), ("session_requests", session.requests)):
            key = self._observe(name, labels, (value,))
            self.exemplars[key] = "", session.session_id, value

    # Series

    def _count(self, name: str, labels: tuple[str, ...], amount: int = 1) -> None:
        key = (name, labels)
        self.counters[key] = self.counters.get(key, 0) + amount

    def _observe(self, name: str, labels: tuple[str, ...], values: Sequence[int]) -> Key:
        """Count values in a histogram; its key."""
        key, limits = (name, labels), LIMITS[name]
        counts = self.histograms.setdefault(key, [0] * (len(limits) + 2))
        if len(values) < len(limits):
            for value in values:
                counts[bisect_left(limits, value)] += 1
        else:
            ordered = sorted(values)
            ends = [bisect_right(ordered, limit) for limit in limits]
            for bucket, (begin, end) in enumerate(pairwise((0, *ends, len(ordered)))):
                counts[bucket] += end - begin
        counts[-1] += sum(values)
        return key

    def _observe_with_exemplar(
        self, name: str, labels: tuple[str, ...], values: list[int | None], alike: _Alike
    ) -> None:
        """As `_observe`, of those that have a value; of all of the batch, the latest is the exemplar."""
        there = [value for value in values if value is not None]
        if not there:
            return
        key = self._observe(name, labels, there)
        at = len(values) - 1
        while values[at] is None:
            at -= 1
        number, row = alike.numbers[at], alike.rows[at]
        if number > self._latest.get(key, 0):
            self._latest[key] = number
            self.exemplars[key] = row.request_id, row.root_session_id or "", there[-1]

    def spread(self) -> None:
        """From groups of alike entries to series, once, at the end of the batch."""
        for alike in self._alike.values():
            provider, model, _, _, team, client, _ = alike.labels
            if alike.rows:
                self._spread_attempts(alike)
            if alike.unpriced:
                self._count("unpriced_requests_total", (provider, model), alike.unpriced)
            for unit, millionths in alike.tokens.items():
                self._count("tokens_total", (provider, model, unit, team), millionths)
            if alike.costs:
                for unit, nanousd in apportion_all(alike.costs).items():
                    alike.cost[unit] += nanousd
            for unit, nanousd in alike.cost.items():
                self._count("cost_usd_total", (provider, model, unit, team, client), nanousd)
        self._alike.clear()
        self._known_alike.clear()

    def _spread_attempts(self, alike: _Alike) -> None:
        provider, model, operation, outcome, _, _, upstream = alike.labels
        rows = alike.rows
        self._count("requests_total", alike.labels, len(rows))
        for source, count in Counter(map(_source, rows)).items():
            self._count("usage_source_total", (source or "none",), count)
        if outcome in _CUTS:
            self._count("stream_cuts_total", (_CUTS[outcome],), len(rows))
        self._observe_tokens(rows, alike)
        costs = list(map(_cost, rows))
        self._observe_with_exemplar("request_cost_usd", (model, operation), costs, alike)
        left = [
            None if cost is None or reserved is None else reserved - cost
            for cost, reserved in zip(costs, map(_reserved, rows), strict=True)
        ]
        if overrun := -sum(each for each in left if each is not None and each < 0):
            self._count("overrun_usd_total", (), overrun)
        errors = [None if each is None or each < 0 else each for each in left]
        self._observe_with_exemplar("reservation_error_usd", (), errors, alike)
        for name, column in _TIMES:
            times = _microseconds(list(map(column, rows)))
            self._observe_with_exemplar(name, (provider, model, upstream), times, alike)
        if alike.between_us:
            self._observe("inter_token_latency_seconds", (provider, model, upstream), alike.between_us)

    def _model(self, row: Row) -> str:
        """A model that has answered is a label; names that clients make up never answer."""
        model: str = row.model or ""
        if model in self._known_models or model in self.models:
            return model
        if row.http_status == 200 and len(self._known_models) + len(self.models) < MAX_MODELS:
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
    total, count = end.get("itl_ms_sum"), end.get("itl_count")
    if not count or not isinstance(count, int) or not isinstance(total, int | float):
        return None
    return total / count


def _microseconds(times_ms: Sequence[float | None]) -> list[int | None]:
    """Of those that are there, and can be added up."""
    if times_ms[0] is None and times_ms.count(None) == len(times_ms):
        return []
    most = float(MOST)  # with an integer a number is compared in four times the steps
    return [None if each is None or not -most <= each <= most else int(each * 1000) for each in times_ms]
