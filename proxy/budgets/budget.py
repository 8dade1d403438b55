"""What a budget is: which calls it matches, which group and window a call counts in, how much it takes. Pure.

A budget's counters are integers in its own measure: nano-USD (`usd`), `tokens` or `requests`. Time is an argument.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pricing.units import INPUT_SIDE, TOKENS, is_token
from pricing.usage import Quantity
from pricing.values import Value, frozen, slotted
from proxy.config import model as config
from proxy.money import NANO
from proxy.types import Claim, Identity, Route

NO_VALUE = "(none)"
MOST_GROUP_CHARS = 300
Measure = Literal["usd", "tokens", "requests"]

_STEPS: dict[str, Callable[[datetime], datetime]] = {
    "minute": lambda t: t.replace(second=0),
    "hour": lambda t: t.replace(minute=0, second=0),
    "day": lambda t: t.replace(hour=0, minute=0, second=0),
    "week": lambda t: t.replace(hour=0, minute=0, second=0) - timedelta(days=t.weekday()),
    "month": lambda t: t.replace(day=1, hour=0, minute=0, second=0),
}
# From anywhere in a window, one stride leads into the next one: never stays, never skips one.
_STRIDE = {"minute": 60, "hour": 3600, "day": 36 * 3600, "week": 8 * 86_400, "month": 32 * 86_400}


def bounded(group: str) -> str:
    """A group as every store and every database's index takes it. What is longer keeps its beginning and gets a digest."""
    if len(group) > MOST_GROUP_CHARS:
        digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        group = f"{group[: MOST_GROUP_CHARS - 17]}~{digest}"
    return group.replace("\x00", "\ufffd")


def window_at(window: str, now_s: float, zone: ZoneInfo) -> tuple[int, int | None]:
    """Start (inclusive) and end (exclusive, None for `total`) of the calendar window at `now_s`, in epoch seconds.

    Minutes and hours are those of UTC shifted by the zone's offset, so that a clock change neither repeats nor drops one.
    """
    if window == "total":
        return 0, None
    now = int(now_s)
    if window in ("minute", "hour"):
        length = _STRIDE[window]
        offset = datetime.fromtimestamp(now, zone).utcoffset()
        shift = int(offset.total_seconds()) % length if offset else 0
        start = now - (now + shift) % length
        return start, start + length
    local = _STEPS[window](datetime.fromtimestamp(now, zone).replace(microsecond=0))
    start = _epoch(local, zone)
    later = _STEPS[window](local.replace(tzinfo=None) + timedelta(seconds=_STRIDE[window]))
    return start, _epoch(later, zone)


def _epoch(local: datetime, zone: ZoneInfo) -> int:
    return int(local.replace(tzinfo=zone, fold=0).astimezone(UTC).timestamp())


class Raise(NamedTuple):
    """More than the configuration allows, for a while. `group` None: every group; `until_s` None: for ever."""

    budget: str
    group: str | None
    by: int
    until_s: float | None


class Opening(NamedTuple):
    """What was spent before the ledger knew of it, until `at_s`."""

    amount: int
    at_s: float


_NOT_INPUT = TOKENS - INPUT_SIDE


@slotted
class Budget:
    """One configured budget, made ready: `limit` and `overrides` are in the budget's own measure.

    keys: only calls of keys of these names count (None: of all). bounded_by: the units of a ceiling that bound `units`: it
    knows only input and output, whatever they turn out to be.
    """

    name: str
    match: tuple[tuple[str, tuple[str, ...]], ...]
    per: tuple[str, ...]
    measure: Measure
    limit: int
    overrides: Mapping[str, int]
    units: frozenset[str]
    window: str
    zone: ZoneInfo
    hard: bool
    clamp: bool
    alert_at: tuple[float, ...]
    on_store_down: str
    calibrated: bool = True
    raises: tuple[Raise, ...] = ()
    opening: Opening | None = None
    keys: frozenset[str] | None = None
    bounded_by: frozenset[str] = field(init=False)
    _raised: dict[str | None, list[Raise]] = field(
        init=False, repr=False, compare=False
    )  # by group: of thousands a call meets its own
    _window: tuple[int, int | None] = field(default=(0, 0), repr=False)

    def __post_init__(self) -> None:
        outputs = self.units & _NOT_INPUT
        inputs = self.units - outputs
        self.bounded_by = frozenset(({"input"} if inputs else set()) | ({"output"} if outputs else set()))
        self._raised = {}
        for raised in self.raises:
            self._raised.setdefault(raised.group, []).append(raised)

    def matches(self, attributes: Mapping[str, str | None]) -> bool:
        """Whether every `match` attribute of the call has one of its values (exact, or by trailing `*`)."""
        if self.keys is not None and attributes.get("key") not in self.keys:
            return False
        for attribute, patterns in self.match:
            if not one_of(attributes.get(attribute), patterns):
                return False
        return True

    def may_match(self, fixed: Mapping[str, str | None]) -> bool:
        """As `matches`, by the attributes in `fixed` alone; a condition on any other is taken to hold."""
        if self.keys is not None and fixed.get("key") not in self.keys:
            return False
        for attribute, patterns in self.match:
            if attribute not in _PER_CALL and not one_of(fixed.get(attribute), patterns):
                return False
        return True

    @property
    def waits_for_call(self) -> bool:
        """Whether more than a key and a model decides if a call counts in it, or in which group."""
        return not _PER_CALL.isdisjoint([*self.per, *(attribute for attribute, _ in self.match)])

    def group(self, attributes: Mapping[str, str | None]) -> str:
        """The counter of its own that this call counts in: "" without `per`, the value, or a JSON list of several."""
        per = self.per
        if not per:
            return ""
        if len(per) == 1:
            return bounded(attributes.get(per[0]) or NO_VALUE)
        return bounded(json.dumps([attributes.get(attribute) or NO_VALUE for attribute in per]))

    @property
    def definition(self) -> str:
        """What it counts, the same for the same definition: limits, alerts and actions are no part of it."""
        settings: list[Any] = [self.match, self.per, self.window, str(self.zone), self.measure, sorted(self.units)]
        settings += [self.opening] if self.opening else []
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()

    def limit_for(self, group: str, now_s: float) -> int:
        """The group's limit, with what it is raised by at that time."""
        if not self.overrides and not self.raises:
            return self.limit
        limit = self.overrides.get(group, self.limit)
        if self.raises:
            for whose in (None, group):
                for raised in self._raised.get(whose, ()):
                    if raised.until_s is None or now_s < raised.until_s:
                        limit += raised.by
        return limit

    def opened_with(self, start: int, end: int | None) -> int:
        """What of the opening counts in the window from `start` to `end`."""
        opening = self.opening
        return opening.amount if opening and start <= opening.at_s and (end is None or opening.at_s < end) else 0

    def window_now(self, now_s: float) -> tuple[int, int | None]:
        """`window_at`, remembered until it ends."""
        start, end = self._window
        if end is None or start <= now_s < end:
            return self._window
        self._window = window_at(self.window, now_s, self.zone)
        return self._window


def one_of(value: str | None, patterns: Sequence[str]) -> bool:
    """Whether a value is one of these, exactly or by a trailing `*`."""
    if value is None:
        return False
    if value in patterns:
        return True
    return any(pattern.endswith("*") and value.startswith(pattern[:-1]) for pattern in patterns)


def compile_budgets(rows: Sequence[config.Budget], raises: Sequence[Raise] = ()) -> tuple[Budget, ...]:
    """The configured budgets, ready to match. The rows have passed `config`'s checks."""
    raised = raises_by_budget(raises)
    return tuple(_compile(row, raised.get(row.name, ())) for row in rows)


def raises_by_budget(raises: Iterable[Raise]) -> dict[str, tuple[Raise, ...]]:
    """In their order."""
    named: dict[str, list[Raise]] = {}
    for raised in raises:
        named.setdefault(raised.budget, []).append(raised)
    return {name: tuple(some) for name, some in named.items()}


def _compile(row: config.Budget, raises: tuple[Raise, ...]) -> Budget:
    measure: Measure = "usd" if row.limit_usd is not None else "tokens" if row.limit_tokens is not None else "requests"
    limit = row.limit_usd if row.limit_usd is not None else row.limit_tokens or row.limit_requests or 0
    return Budget(
        name=row.name,
        match=tuple(row.match.items()),
        per=row.per,
        measure=measure,
        limit=_units(limit, measure),
        overrides={group: _units(config.override_limit(row, value), measure) for group, value in row.overrides.items()},
        units=frozenset(row.units),
        window=row.window,
        zone=ZoneInfo(row.timezone),
        hard=row.action == "block",
        clamp=row.clamp,
        alert_at=row.alert_at,
        on_store_down=row.on_store_down,
        calibrated=row.ceiling == "calibrated",
        raises=raises,
        opening=Opening(_units(row.opening.usd, measure), row.opening.at.timestamp()) if row.opening else None,
    )


def _units(limit: Any, measure: Measure) -> int:  # Decimal for usd, else int
    return int(limit * NANO) if measure == "usd" else int(limit)


@frozen
class Amounts(Value):
    """What a call takes (its ceiling) or took: money, None where it has no price, and its tokens by unit.

    requests: 0 where the client's call is counted already, by an earlier attempt.
    """

    nanousd: int | None
    tokens: Mapping[str, Quantity]
    requests: int = 1

    def of(self, budget_measure: str, units: frozenset[str]) -> int:
        if budget_measure == "usd":
            return self.nanousd or 0
        if budget_measure == "requests":
            return self.requests
        counted = (count for unit, count in self.tokens.items() if (unit in units if units else is_token(unit)))
        return math.ceil(sum(counted))


def attributes_of_key(identity: Identity, route: Route) -> dict[str, str | None]:
    """What a price or a budget can depend on that a key, which may not say more of its calls, and a model decide."""
    labels: dict[str, str | None] = {f"label.{name}": value for name, value in identity.labels.items()}
    return labels | {
        "key": identity.key, "team": identity.team, "user": identity.user, "customer": identity.customer,
        "model": route.requested, "upstream": route.upstream, "provider": route.provider,
    }  # fmt: skip


_PER_CALL = frozenset({"session", "agent"})  # attributes that a key and a model do not decide
_OF_THE_KEY = frozenset({"key", "team", "model", "upstream", "provider"})  # which no caller may name otherwise
_MAX_REMEMBERED = 20_000


class BudgetIndex:
    """The budgets that can count a call of one key for one model, found once and then remembered for that very identity."""

    def __init__(self, budgets: Sequence[Budget]) -> None:
        self.budgets = tuple(budgets)
        self._by_key: dict[tuple[str, str], tuple[Identity, Sequence[Budget], Sequence[tuple[Budget, str | None]]]] = {}

    def candidates(self, identity: Identity, route: Route) -> Sequence[Budget]:
        """Every budget whose fixed conditions hold; conditions on session and agent are still to be checked."""
        return self.budgets if identity.trust_labels else self._remembered(identity, route)[1]

    def certain(self, identity: Identity, route: Route) -> Sequence[Budget]:
        """The candidates before any call says for whom it is: of a key that may name anybody, those that hold for all."""
        if not identity.trust_labels:
            return self.candidates(identity, route)
        fixed = attributes_of_key(identity, route)
        return [
            budget
            for budget in self.budgets
            if _OF_THE_KEY.issuperset([attribute for attribute, _ in budget.match]) and budget.may_match(fixed)
        ]

    def claims(
        self,
        identity: Identity,
        route: Route,
        attributes: Mapping[str, str | None],
        amounts: Amounts,
        now_s: float,
    ) -> tuple[list[Budget], list[Claim]]:
        """The budgets that a call of this key for this model counts in; and what it takes from each."""
        if identity.trust_labels:
            return claims(self.budgets, attributes, amounts, now_s)
        counted, taken, now = [], [], math.floor(now_s)
        for budget, group in self._remembered(identity, route)[2]:
            if group is None:
                if not budget.matches(attributes):
                    continue
                group = budget.group(attributes)  # noqa: PLW2901 - which only the call says
            counted.append(budget)
            taken.append(_claim(budget, group, amounts, now_s, now))
        return counted, taken

    def _remembered(
        self, identity: Identity, route: Route
    ) -> tuple[Identity, Sequence[Budget], Sequence[tuple[Budget, str | None]]]:
        """The candidates; and each with its group, None where only the call's session or agent says whether it counts, or
        in which. By what the key says now: a session may have begun when it said otherwise."""
        key = (identity.key_id, route.requested)
        known = self._by_key.get(key)
        if known is None or known[0] is not identity:
            if len(self._by_key) >= _MAX_REMEMBERED:
                self._by_key.clear()
            fixed = attributes_of_key(identity, route)
            matching = tuple([budget for budget in self.budgets if budget.may_match(fixed)])
            groups = tuple([(one, None if one.waits_for_call else one.group(fixed)) for one in matching])
            known = self._by_key[key] = (identity, matching, groups)
        return known


def claims(
    budgets: Iterable[Budget], attributes: Mapping[str, str | None], amounts: Amounts, now_s: float
) -> tuple[list[Budget], list[Claim]]:
    """The budgets that a call with these attributes counts in; and what it takes from each."""
    counted = [budget for budget in budgets if budget.matches(attributes)]
    now = math.floor(now_s)
    return counted, [_claim(budget, budget.group(attributes), amounts, now_s, now) for budget in counted]


def _claim(budget: Budget, group: str, amounts: Amounts, now_s: float, now: int) -> Claim:
    """now: whole seconds, with which windows begin and end; Python compares whole numbers in a third of the time."""
    start, end = budget.window_now(now)
    measure = budget.measure
    amount = amounts.nanousd or 0 if measure == "usd" else amounts.of(measure, budget.bounded_by)
    limit = budget.limit_for(group, now_s) if budget.overrides or budget.raises else budget.limit
    return Claim(budget.name, group, start, end, limit, amount, measure, budget.hard, budget.clamp)
