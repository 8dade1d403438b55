"""What entries add to the roll-ups. Pure: rows in, rows for the tables out.

Void entries count nowhere; a correction changes cost and usage, but is no request. Everything counts where its call began.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, Protocol

import orjson

from proxy.ledger.schema import (
    NOT_COUNTED,
    TOKEN_COLUMNS,
    spend_days,
    spend_hours,
    spend_people_days,
    spend_people_weeks,
    spend_sessions,
)
from proxy.ledger.sound import MOST

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US  # begins on a Thursday, as the epoch did
_MAX_SCALE = 15
_ONE = 10**15
_MAX_UNIT_CHARS = 100

Names = tuple[str | None, ...]
Units = dict[tuple[str, int], int]  # by unit and scale
Numbers = tuple[int, ...]  # in the order of SUMS
_TOKENS = attrgetter(*TOKEN_COLUMNS.values())


class Counted(Protocol):
    """A row of `entries`, or of so many of its columns; as text what is in `_ALL`, as numbers the token columns."""

    @property
    def kind(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def started_at(self) -> int: ...
    @property
    def ended_at(self) -> int: ...
    @property
    def root_session_id(self) -> str | None: ...
    @property
    def team(self) -> str | None: ...
    @property
    def usage(self) -> str | None: ...
    @property
    def cost_nanousd(self) -> int | None: ...
    @property
    def capacity_nanousd(self) -> int | None: ...


class Rolled(NamedTuple):
    """Rows for each roll-up's table, and for `spend_units`: values in the order of the columns, rows in that of their keys."""

    tables: Mapping[str, list[tuple[Any, ...]]]
    units: list[tuple[Any, ...]]


class _Group:
    """What the entries of one group come to."""

    __slots__ = ("rows", "units")

    def __init__(self) -> None:
        self.rows: list[Numbers] = []
        self.units: Units | None = None  # most have none

    @property
    def numbers(self) -> Numbers:
        return self.rows[0] if len(self.rows) == 1 else tuple(map(sum, zip(*self.rows, strict=True)))

    def add_row(self, numbers: Numbers, units: Units | None) -> None:
        self.rows.append(numbers)
        if units:
            self.add_units(units)

    def add_units(self, units: Units) -> None:
        if self.units is None:
            self.units = defaultdict(int)
        for key, amount in units.items():
            self.units[key] += amount


class _Session(_Group):
    """Of one session, with its team and times."""

    __slots__ = ("ended_at", "first_at", "last_at", "team")

    def __init__(self, row: Counted) -> None:
        super().__init__()
        self.team: str | None = row.team
        self.first_at: int = row.started_at
        self.last_at: int = row.started_at
        self.ended_at: int = row.ended_at

    def see_another(self, row: Counted) -> None:
        team, started_at = row.team, row.started_at
        if team != self.team and team is not None and (self.team is None or team > self.team):
            self.team = team
        self.first_at = min(self.first_at, started_at)
        self.last_at = max(self.last_at, started_at)
        self.ended_at = max(self.ended_at, row.ended_at)


Groups = dict[tuple[int, Names], _Group]  # by where the hour or day begins, and the names


def roll_up(rows: Iterable[Counted]) -> Rolled:
    """What these entries add."""
    by_hour: Groups = defaultdict(_Group)
    sessions: dict[str | None, _Session] = {}
    for row in rows:
        if row.status in NOT_COUNTED:
            continue
        units = units_of(row.usage) if row.usage else None
        started_at, numbers = row.started_at, _numbers(row)
        by_hour[started_at - started_at % HOUR_US, _ALL(row)].add_row(numbers, units)
        session = sessions.get(row.root_session_id)
        if session is None:
            session = sessions[row.root_session_id] = _Session(row)
        else:
            session.see_another(row)
        session.add_row(numbers, units)
    return _rolled(by_hour, sessions)


def _numbers(row: Counted) -> Numbers:
    cost = row.cost_nanousd
    request = row.kind == "attempt"
    return (request + 0, (request and cost is None) + 0, cost or 0, *_TOKENS(row), row.capacity_nanousd or 0)


def _rolled(by_hour: Groups, sessions: Mapping[str | None, _Session]) -> Rolled:
    hours = _merged(by_hour, HOUR_US, _NAMES)
    days = _merged(by_hour, DAY_US, _PEOPLE)
    units: list[tuple[Any, ...]] = []
    tables = {}
    for table, groups in (
        (spend_hours, hours),
        (spend_days, _merged(hours, DAY_US, slice(None))),
        (spend_people_days, days),
        (spend_people_weeks, _merged(days, WEEK_US, slice(None))),
    ):
        rows = []
        for (start_at, names), sums in groups.items():
            group = _known_digest(names)
            rows.append((start_at, group, *names, *sums.numbers))
            if sums.units:
                units += [(table.name, start_at, group, *key, amount) for key, amount in sums.units.items()]
        tables[table.name] = sorted(rows, key=_key)
    rows = []
    for name, session in sessions.items():
        group = digest((name,))
        rows.append((group, name, session.team, *session.numbers, session.first_at, session.last_at, session.ended_at))
        if session.units:
            units += [(spend_sessions.name, 0, group, *key, amount) for key, amount in session.units.items()]
    tables[spend_sessions.name] = sorted(rows, key=itemgetter(0))
    return Rolled(tables, sorted(units))


_key = itemgetter(0, 1)


# All names, in an order in which those of either kind of roll-up stand together.
_ALL = attrgetter("provider", "upstream", "agent", "key", "team", "model", "user", "customer")
_NAMES, _PEOPLE = slice(0, 6), slice(3, 8)


def _merged(groups: Groups, length_us: int, names: slice) -> Groups:
    """The groups of longer times, or of fewer names."""
    merged: Groups = defaultdict(_Group)
    for (start_at, values), group in groups.items():
        merged[start_at - start_at % length_us, values[names]].add_row(group.numbers, group.units)
    return merged


def digest(names: Names) -> str:
    """A group's name in the tables' keys: as long for every group, and another for every other."""
    return hashlib.blake2b(orjson.dumps(names), digest_size=16).hexdigest()


_known_digest = lru_cache(maxsize=2048)(digest)  # the same groups come with every batch; sessions do not


def units_of(usage: str) -> Units:
    """What an entry's `usage` adds: an amount for each unit and scale. What is no number, or beyond any, adds nothing."""
    units: Units = defaultdict(int)
    for unit, quantity in orjson.loads(usage).items():
        scaled = _scaled(quantity)
        if scaled is not None:
            scale, amount = scaled
            units[unit[:_MAX_UNIT_CHARS].replace("\x00", "\ufffd"), scale] += amount
    return units


def _scaled(quantity: Any) -> tuple[int, int] | None:
    """The quantity as so many 10^-scale."""
    if type(quantity) is int:
        return (0, quantity) if -MOST <= quantity <= MOST else None
    if type(quantity) not in (str, float):
        return None
    try:
        number = Decimal(str(quantity))
    except InvalidOperation:
        return None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not -_MAX_SCALE <= exponent <= _MAX_SCALE:
        return None
    scale = max(0, -exponent)
    amount = int(number.scaleb(scale))
    return (scale, amount) if -MOST <= amount <= MOST else None


def quantity(scaled: Iterable[tuple[int, int]]) -> int | str:
    """A unit's total of (scale, amount): a whole number, else a decimal as text."""
    total = sum(amount * int(10 ** (_MAX_SCALE - scale)) for scale, amount in scaled)
    whole, rest = divmod(abs(total), _ONE)
    if not rest:
        return whole if total >= 0 else -whole
    return f"{'-' * (total < 0)}{whole}.{rest:0{_MAX_SCALE}d}".rstrip("0")
