"""What the entries of one batch add to the metrics: counted apart, and only added to the state once the batch is in the ledger.

Entries are collected by their labels first and become series at the end of the batch: most calls of a batch look alike.
"""

from __future__ import annotations

import contextlib
import logging
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from itertools import pairwise
from operator import sub
from typing import Any

from pricing.units import is_token
from proxy.control.metrics.cost_parts import apportion, apportion_all
from proxy.control.metrics.quiet_sessions import Call, Session, calls_of
from proxy.control.metrics.table import LIMITS, MAX_MODELS, MAX_TEAMS, MICRO, OVERFLOW, Key
from proxy.ledger.entries.attempt_rows import Alike
from proxy.ledger.entries.entry import Entry, Shipped, as_shipped
from proxy.ledger.entries.row import Row
from proxy.ledger.entries.row_checks import MOST
from proxy.ledger.rollups.sums import units_of
from proxy.ledger.schema import NOT_COUNTED, TOKEN_COLUMNS
from proxy.spool import records

log = logging.getLogger("taximeter.metrics")

_CUTS = {
    "client_disconnected": "client",
    "upstream_timeout": "upstream",
    "upstream_error": "upstream",
    "cut": "proxy",
    "crashed": "proxy",
}


_TIMES = (
    ("request_duration_seconds", "duration_ms"),
    ("overhead_seconds", "overhead_ms"),
    ("time_to_first_token_seconds", "ttft_ms"),
)
_KEPT = (
    "usage_source", "cost_nanousd", "reserved_nanousd", "request_id", "root_session_id", *[column for _, column in _TIMES],
    *TOKEN_COLUMNS.values(),
)  # fmt: skip


class _Counted:
    """The attempts of a batch that have the same labels, in order: some of their columns, and what their ends say beside them.

    places: where those stand among the entries at hand that are not taken in yet."""

    __slots__ = ("between_us", "columns", "cost", "costs", "labels", "numbers", "places", "tokens", "unpriced")

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.places: list[int] = []
        self.columns: dict[str, list[Any]] = {name: [] for name in _KEPT}
        self.numbers: list[int] = []  # how many entries came before each of them in the batch
        self.unpriced = 0
        self.between_us: list[int] = []
        self.tokens: dict[str, int] = defaultdict(int)  # millionths
        self.cost: dict[str, int] = defaultdict(int)
        # Costs that are not dealt out yet, as `apportion_all` has them: totals, parts, lines, statuses.
        self.costs: tuple[list[Any], ...] = [], [], [], []


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
        self._alike: dict[tuple[str, ...], _Counted] = {}
        self._known_alike: dict[Alike, _Counted] = {}
        self._entries = 0
        self._latest: dict[Key, int] = {}  # the number of the entry that is a series' exemplar
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
        shipped = as_shipped(entries)
        known = self._known_alike
        for place, names in enumerate(shipped.alike):
            alike = known.get(names) or self._observe_first(shipped[place], names)
            if alike is not None:
                alike.places.append(place)
        self.calls += calls_of(shipped)
        for alike in self._alike.values():
            if alike.places:
                self._observe_attempts(shipped, alike)
                alike.places.clear()
        self._entries += len(shipped)

    def _observe_first(self, entry: Entry, names: Alike) -> _Counted | None:
        """Where an attempt counts whose names are not known; None of what counts nowhere, or is counted now."""
        row = entry.row
        if row.kind == "correction":
            self._count("cost_corrections_usd", (), row.cost_nanousd or 0)
        if row.status in NOT_COUNTED:
            return None
        alike = self._find_alike(row, names)
        if row.kind == "attempt":
            return alike
        for unit, column in TOKEN_COLUMNS.items():
            if count := getattr(row, column):
                alike.tokens[unit] += count * MICRO
        if row.usage:
            self._tried(row.id, self._observe_units, row.usage, alike)
        return None

    def _observe_attempts(self, shipped: Shipped, alike: _Counted) -> None:
        """Take in those at `alike.places`."""
        ids, costs, lines, statuses, streams = map(
            shipped.column, ("id", "cost_nanousd", "cost_lines", "status", "stream")
        )
        parts, ends, places = shipped.parts, shipped.ends, alike.places
        ordinary = [
            place
            for place in places
            if parts[place] and costs[place] is not None and not streams[place] and "flags" not in ends[place]
        ]
        for kept, column in zip(alike.costs, (costs, parts, lines, statuses), strict=True):
            kept.extend(_at(column, ordinary))
        if len(ordinary) < len(places):
            others = set(places).difference(ordinary)
            odd = {place for place in others if not self._tried(ids[place], self._observe_end, shipped[place], alike)}
            places = [place for place in places if place not in odd]
        for name, values in alike.columns.items():
            values.extend(_at(shipped.column(name), places))
        alike.numbers += [self._entries + place + 1 for place in places]
        usages = shipped.column("usage")
        if usages.count(None) < len(usages):
            for place in places:
                if usages[place]:
                    self._tried(ids[place], self._observe_units, usages[place], alike)

    def _tried(self, entry_id: str, do: Callable[..., None], *given: Any) -> bool:
        """Whether it could be done."""
        try:
            do(*given)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            log.exception("entry %s could not be counted in the metrics", entry_id)
            return False
        return True

    def _observe_units(self, usage: str, alike: _Counted) -> None:
        """Those without a column."""
        for (unit, scale), amount in units_of(usage).items():
            if is_token(unit):  # whole ones of rare units, fractions of any
                alike.tokens[unit] += amount * MICRO // 10**scale

    def _find_alike(self, row: Row, names: Alike) -> _Counted:
        """The series in which the entry counts; remembered for the next entry with these names, if all of them are labels."""
        model, team_label = self._model(row), self._team(row.team or "")
        operation, outcome, client = row.operation or "", row.outcome or "", row.client or "other"
        labels = (row.provider or "", model, operation, outcome, team_label, client, row.upstream or "")
        alike = self._alike.get(labels)
        if alike is None:
            alike = self._alike[labels] = _Counted(labels)
        if row.kind == "attempt" and model == (row.model or "") and team_label == (row.team or ""):
            self._known_alike[names] = alike
        return alike

    def _observe_end(self, entry: Entry, alike: _Counted) -> None:
        """What its end says; what stands in columns is added up for all alike at the end of the batch (`spread`)."""
        row, end, parts = entry.row, entry.end, entry.parts
        cost, flags = row.cost_nanousd, end.get("flags")
        if cost is None or (flags and "partial" in flags):
            alike.unpriced += 1
        if flags and "unexpected_model" in flags:
            self._count("unexpected_models_total", (alike.labels[6], alike.labels[1]))
        if cost is not None:
            if parts and row.cost_lines:
                for kept, value in zip(alike.costs, (cost, parts, row.cost_lines, row.status), strict=True):
                    kept.append(value)
            else:
                for unit, nanousd in apportion(cost, end.get("cost_lines") or (), row.status):
                    alike.cost[unit] += nanousd
        if row.stream and (between_ms := between_tokens_ms(end)) is not None:
            alike.between_us.append(int(between_ms * 1000))

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
        self, name: str, labels: tuple[str, ...], values: Sequence[int | None], alike: _Counted
    ) -> None:
        """As `_observe`, of those that have a value; of all of the batch, the latest is the exemplar."""
        there = [value for value in values if value is not None]
        if not there:
            return
        key = self._observe(name, labels, there)
        at = len(values) - 1
        while values[at] is None:
            at -= 1
        number = alike.numbers[at]
        if number > self._latest.get(key, 0):
            self._latest[key] = number
            named, session = alike.columns["request_id"][at], alike.columns["root_session_id"][at]
            self.exemplars[key] = named, session or "", there[-1]

    def spread(self) -> None:
        """From groups of alike entries to series, once, at the end of the batch."""
        for alike in self._alike.values():
            provider, model, _, _, team, client, _ = alike.labels
            if alike.numbers:
                self._spread_attempts(alike)
            if alike.unpriced:
                self._count("unpriced_requests_total", (provider, model), alike.unpriced)
            for unit, millionths in alike.tokens.items():
                self._count("tokens_total", (provider, model, unit, team), millionths)
            if alike.costs[0]:
                for unit, nanousd in apportion_all(*alike.costs).items():
                    alike.cost[unit] += nanousd
            for unit, nanousd in alike.cost.items():
                self._count("cost_usd_total", (provider, model, unit, team, client), nanousd)
        self._alike.clear()
        self._known_alike.clear()

    def _spread_attempts(self, alike: _Counted) -> None:
        provider, model, operation, outcome, _, _, upstream = alike.labels
        columns, count = alike.columns, len(alike.numbers)
        self._count("requests_total", alike.labels, count)
        for source, some in Counter(columns["usage_source"]).items():
            self._count("usage_source_total", (source or "none",), some)
        if outcome in _CUTS:
            self._count("stream_cuts_total", (_CUTS[outcome],), count)
        for unit, column in TOKEN_COLUMNS.items():
            if tokens := sum(columns[column]):
                alike.tokens[unit] += tokens * MICRO
        costs = columns["cost_nanousd"]
        self._observe_with_exemplar("request_cost_usd", (model, operation), costs, alike)
        self._observe_with_exemplar("reservation_error_usd", (), self._left(costs, columns["reserved_nanousd"]), alike)
        for name, column in _TIMES:
            self._observe_with_exemplar(name, (provider, model, upstream), _microseconds(columns[column]), alike)
        if alike.between_us:
            self._observe("inter_token_latency_seconds", (provider, model, upstream), alike.between_us)

    def _left(self, costs: Sequence[int | None], reserved: Sequence[int | None]) -> Sequence[int | None]:
        """What costs left of their reservations; those beyond are counted, and have None."""
        with contextlib.suppress(TypeError):  # nearly all have both, and to look for None takes longer
            within: list[int] = list(map(sub, reserved, costs))
            if min(within) >= 0:
                return within
        pairs = zip(costs, reserved, strict=True)
        left = [None if cost is None or most is None else most - cost for cost, most in pairs]
        if overrun := -sum(each for each in left if each is not None and each < 0):
            self._count("overrun_usd_total", (), overrun)
        return [None if each is None or each < 0 else each for each in left]

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


def _at(column: Sequence[Any], places: Sequence[int]) -> Sequence[Any]:
    """What stands there, in any order of a column's own."""
    return column if len(places) == len(column) else [column[place] for place in places]


def between_tokens_ms(end: records.Settle) -> float | None:
    """The mean time between a stream's events, where there were at least two."""
    total, count = end.get("itl_ms_sum"), end.get("itl_count")
    if not isinstance(count, int) or not isinstance(total, int | float):
        return None
    if not 0 < count <= MOST or not 0 <= total <= MOST:
        return None
    return total / count


def _microseconds(times_ms: Sequence[float | None]) -> list[int | None]:
    """Of those that are there, and can be added up."""
    if times_ms[0] is None and times_ms.count(None) == len(times_ms):
        return []
    most = float(MOST)  # with an integer a number is compared in four times the steps
    return [None if each is None or not -most <= each <= most else int(each * 1000) for each in times_ms]
