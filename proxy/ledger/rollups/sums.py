"""What entries add to the roll-ups. Pure: rows in, rows for the tables out.

Void entries count nowhere; a correction changes cost and usage, but is no request. Everything counts where its call began.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple, cast

import orjson

from proxy.ids import are_ids, is_id
from proxy.ledger.entries.row import Columns as AllColumns
from proxy.ledger.entries.row import Row
from proxy.ledger.entries.row_checks import MOST
from proxy.ledger.rollup_schema import spend_days, spend_hours, spend_people_days, spend_people_weeks, spend_sessions
from proxy.ledger.schema import NOT_COUNTED
from proxy.times import DAY_US, HOUR_US

PART_US = 3 * HOUR_US
WEEK_US = 7 * DAY_US  # begins on a Thursday, as the epoch did
MONTH_US = 31 * DAY_US  # a calendar month's, of UTC: as long as the longest
_CYCLE_US = 146_097 * DAY_US  # 400 years, after which the calendar is the same
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SCALE = 15
_ONE = 10**15
_MAX_UNIT_CHARS = 100

_NOT_COUNTED = frozenset(NOT_COUNTED)

Names = tuple[str | None, ...]
Units = dict[tuple[str, int], int]  # by unit and scale
Numbers = tuple[int, ...]  # in the order of SUMS


def start_of(at_us: int, length_us: int) -> int:
    """Where the time of this length (an hour, a day, seven, `MONTH_US`) begins that holds the moment, in UTC."""
    if length_us != MONTH_US:
        return at_us - at_us % length_us
    cycle, within = divmod(at_us, _CYCLE_US)
    moment = _EPOCH + timedelta(microseconds=within)
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return cycle * _CYCLE_US + (first - _EPOCH) // timedelta(microseconds=1)


def end_of(at_us: int, length_us: int) -> int:
    """Where it ends, and the next one begins."""
    return start_of(start_of(at_us, length_us) + length_us, length_us)


class Counted(NamedTuple):
    """What a roll-up reads of an entry: columns of `entries`. Any tuple of this order does, too."""

    kind: str
    status: str
    started_at: int
    ended_at: int
    root_session_id: str | None
    usage: str | None
    cost_nanousd: int | None
    capacity_nanousd: int | None
    input_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_30m_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    reasoning_tokens: int
    provider: str | None
    upstream: str | None
    agent: str | None
    key: str | None
    team: str | None
    model: str | None
    user: str | None
    customer: str | None


Columns = Sequence[Sequence[Any]]
"""Those of `Counted`, in its order; none where there are no rows."""
_OF_ROW = tuple(map(Row._fields.index, Counted._fields))
_STATUS, _STARTED_AT = map(Counted._fields.index, ("status", "started_at"))


def counted_columns(columns: AllColumns) -> Columns:
    """The columns of `Counted`, of all that rows have."""
    return [columns[at] for at in _OF_ROW] if columns else ()


class Rolled(NamedTuple):
    """Rows for each roll-up's table, and for `spend_units`: values in the order of the columns, rows in that of their keys."""

    tables: Mapping[str, list[tuple[Any, ...]]]
    units: list[tuple[Any, ...]]
    uncounted: set[int]  # when entries began that count nowhere


class _Group:
    """What the entries of one group come to."""

    __slots__ = ("rows", "units")

    def __init__(self) -> None:
        self.rows: list[Numbers] = []
        self.units: Units | None = None  # most have none

    @property
    def numbers(self) -> Numbers:
        return _summed(self.rows)

    def add_row(self, numbers: Numbers, units: Units | None) -> None:
        self.rows.append(numbers)
        if units:
            self.add_units(units)

    def add_units(self, units: Units) -> None:
        if self.units is None:
            self.units = defaultdict(int)
        for key, amount in units.items():
            self.units[key] += amount


def _summed(rows: Sequence[Numbers]) -> Numbers:
    return rows[0] if len(rows) == 1 else tuple(map(sum, zip(*rows, strict=True)))


Groups = dict[tuple[int, Names], _Group]  # by where the hour or day begins, and the names
_Sessions = list[tuple[Any, ...]]
"""Rows of `spend_sessions`."""


def roll_up(columns: Columns, named_from: str | None = None) -> Rolled:
    """What these entries add. named_from: as `session_group` has it."""
    by_hour: Groups = {}
    sessions: _Sessions = []
    units_of_sessions: dict[str | None, _Group] = defaultdict(_Group)
    counting, uncounted = _counting(columns)
    if counting:
        (
            kinds, _, started, ended, roots, usages, costs, capacity_costs, input_tokens, read, write_5m, write_30m, write_1h,
            output, reasoning, providers, upstreams, agents, keys, teams, models, users, customers,
        ) = counting  # fmt: skip
        requests = [1 if kind == "attempt" else 0 for kind in kinds]
        numbers = (
            requests, [1 if cost is None and request else 0 for cost, request in zip(costs, requests, strict=True)],
            [cost or 0 for cost in costs], input_tokens, read, write_5m, write_30m, write_1h, output, reasoning,
            [cost or 0 for cost in capacity_costs],
        )  # fmt: skip
        # In an order in which the names of either kind of roll-up stand together.
        names = zip(providers, upstreams, agents, keys, teams, models, users, customers, strict=True)
        places: dict[tuple[int, Names], list[int]] = defaultdict(list)
        first, last = (start_of(edge(started), HOUR_US) for edge in (min, max))
        hours = repeat(first, len(started)) if first == last else [start_of(at, HOUR_US) for at in started]
        for place, hour in enumerate(zip(hours, names, strict=True)):
            places[hour].append(place)
        for hour, some in places.items():
            group = by_hour[hour] = _Group()
            group.rows.append(tuple(map(sum, numbers if len(some) == len(kinds) else _chosen(numbers, some))))
            for place in some if usages.count(None) < len(usages) else ():
                usage = usages[place]
                if usage and (units := units_of(usage)):
                    group.add_units(units)
                    units_of_sessions[roots[place]].add_units(units)
        sessions = _sessions(named_from, roots, numbers, teams, [key or "" for key in keys], started, ended)
    return _rolled(by_hour, sessions, units_of_sessions, uncounted, named_from)


def _chosen(columns: Sequence[Sequence[Any]], places: Sequence[int]) -> Columns:
    """What the columns have at these places."""
    return [[column[place] for place in places] for column in columns]


def _counting(columns: Columns) -> tuple[Columns, set[int]]:
    """The columns without those entries that count nowhere, and when these began."""
    if not columns or not _NOT_COUNTED.intersection(columns[_STATUS]):
        return columns, set()
    rows = list(zip(*columns, strict=True))
    counting = [row for row in rows if row[_STATUS] not in _NOT_COUNTED]
    uncounted = {row[_STARTED_AT] for row in rows if row[_STATUS] in _NOT_COUNTED}
    return list(zip(*counting, strict=True)), uncounted


def _rolled(
    by_hour: Groups,
    sessions: _Sessions,
    units_of_sessions: Mapping[str | None, _Group],
    uncounted: set[int],
    named_from: str | None,
) -> Rolled:
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
    for name, session in units_of_sessions.items():
        group = session_group(name, named_from)
        units += [(spend_sessions.name, 0, group, *key, amount) for key, amount in (session.units or {}).items()]
    tables[spend_sessions.name] = sorted(sessions, key=itemgetter(0))
    return Rolled(tables, sorted(units), uncounted)


def _sessions(
    named_from: str | None,
    roots: Sequence[str | None],
    numbers: Columns,
    teams: Sequence[str | None],
    keys: Sequence[str],
    started: Sequence[int],
    ended: Sequence[int],
) -> _Sessions:
    """numbers: a column for each of `SUMS`."""
    calls: dict[str | None, list[int]] = defaultdict(list)
    if len(set(roots)) < len(roots):
        count = Counter(roots)
        for place, name in enumerate(roots):
            if count[name] > 1:
                calls[name].append(place)
        alone = [place for place, name in enumerate(roots) if count[name] == 1]
        own = _chosen((roots, teams, *numbers, started, ended, keys), alone)
    else:
        own = [roots, teams, *numbers, started, ended, keys]
    names, *begin, began, end, key = own
    groups = _session_groups(names, named_from)
    rows = list(zip(groups, names, *begin, began, began, end, key, begin[1], strict=True))  # begin[1]: the requests
    columns = list(zip(*numbers, strict=True)), teams, keys, started, ended
    for name, some in calls.items():
        rows.append((session_group(name, named_from), *_session(name, *_chosen(columns, some))))
    return rows


def _session(
    name: str | None,
    numbers_of: Sequence[Numbers],
    teams: Sequence[str | None],
    keys: Sequence[str],
    started: Sequence[int],
    ended: Sequence[int],
) -> tuple[Any, ...]:
    """What its calls come to: the last of its teams by name; when its first call and its latest began, and when one ended last;
    the first of its keys, and how many requests have it."""
    last_team = max((team for team in teams if team is not None), default=None)
    keyed = sum(numbers[0] for numbers, key in zip(numbers_of, keys, strict=True) if key == keys[0])
    times = min(started), max(started), max(ended)
    return (name, last_team, *_summed(numbers_of), *times, keys[0], keyed)


_key = itemgetter(0, 1)
_NAMES, _PEOPLE = slice(0, 6), slice(3, 8)  # of a group's


def _merged(groups: Groups, length_us: int, names: slice) -> Groups:
    """The groups of longer times, or of fewer names."""
    merged: Groups = defaultdict(_Group)
    for (start_at, values), group in groups.items():
        merged[start_at - start_at % length_us, values[names]].add_row(group.numbers, group.units)
    return merged


def digest(names: Names) -> str:
    """A group's name in the tables' keys: as long for every group, and another for every other."""
    return hashlib.blake2b(orjson.dumps(names), digest_size=16).hexdigest()


def session_group(name: str | None, named_from: str | None) -> str:
    """The key of a session: its name, where that is an id from `named_from` on (None: never), and so in the order of time."""
    if named_from is not None and name is not None and name >= named_from and is_id(name):
        return name
    return digest((name,))


def _session_groups(names: Sequence[str | None], named_from: str | None) -> Sequence[str]:
    """The key of each of these sessions."""
    said = cast("Sequence[str]", names)
    with contextlib.suppress(TypeError):  # one is None, for which to look takes longer
        if named_from is not None and min(said, default="") >= named_from and are_ids(said):
            return said
    return [session_group(name, named_from) for name in names]


def session_groups(names: Iterable[str | None]) -> list[str]:
    """Every key that these sessions may have in a ledger."""
    return list(dict.fromkeys(session_group(name, named_from) for name in names for named_from in (None, "")))


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
