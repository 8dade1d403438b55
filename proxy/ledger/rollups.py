"""What entries add to the roll-ups. Pure: rows in, rows for the tables out.

Void entries count nowhere; a correction changes cost and usage, but is no request. Everything counts where its call began.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import orjson

from proxy.ledger.schema import (
    NAMES,
    PEOPLE,
    SUMS,
    TOKEN_COLUMNS,
    spend_days,
    spend_hours,
    spend_people,
    spend_sessions,
)
from proxy.ledger.sound import MOST

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
_MAX_SCALE = 15
_MAX_UNIT_CHARS = 100

Names = tuple[str | None, ...]
Units = dict[tuple[str, int], int]  # by unit and scale
_TOKENS = tuple(TOKEN_COLUMNS.values())


class Rolled(NamedTuple):
    """Rows for each roll-up's table, in the order of their keys, and for `spend_units`."""

    tables: Mapping[str, list[dict[str, Any]]]
    units: list[dict[str, Any]]


class _Sums:
    """What the entries of one group come to."""

    __slots__ = ("numbers", "units")

    def __init__(self) -> None:
        self.numbers = [0] * len(SUMS)
        self.units: Units = defaultdict(int)

    def add(self, other: _Sums) -> None:
        self.numbers = [a + b for a, b in zip(self.numbers, other.numbers, strict=True)]
        for key, amount in other.units.items():
            self.units[key] += amount


class _Session(_Sums):
    __slots__ = ("ended_at", "first_at", "last_at", "team")

    def __init__(self) -> None:
        super().__init__()
        self.team: str | None = None
        self.first_at = self.last_at = self.ended_at = 0


def roll_up(rows: Iterable[Mapping[str, Any]]) -> Rolled:
    """What these entries add."""
    by_hour: dict[tuple[int, Names], _Sums] = defaultdict(_Sums)
    sessions: dict[str | None, _Session] = {}
    for row in rows:
        if row["status"] == "void":
            continue
        sums = _sums_of(row)
        started_at = row["started_at"]
        hour = started_at - started_at % HOUR_US
        names = (
            row["key"],
            row["team"],
            row["model"],
            row["provider"],
            row["upstream"],
            row["agent"],
            row["user"],
            row["customer"],
        )
        by_hour[hour, names].add(sums)
        _add_to_session(sessions, row, sums)
    return _rolled(by_hour, sessions)


def _sums_of(row: Mapping[str, Any]) -> _Sums:
    sums = _Sums()
    cost = row["cost_nanousd"]
    attempt = row["kind"] == "attempt"
    sums.numbers = [int(attempt), int(attempt and cost is None), cost or 0, *[row[column] for column in _TOKENS]]
    if row["usage"]:
        sums.units = units_of(row["usage"])
    return sums


def _add_to_session(sessions: dict[str | None, _Session], row: Mapping[str, Any], sums: _Sums) -> None:
    name, team, started_at = row["root_session_id"], row["team"], row["started_at"]
    session = sessions.get(name)
    if session is None:
        session = sessions[name] = _Session()
        session.first_at = session.last_at = started_at
        session.team, session.ended_at = team, row["ended_at"]
    session.add(sums)
    if team is not None and (session.team is None or team > session.team):
        session.team = team
    session.first_at = min(session.first_at, started_at)
    session.last_at = max(session.last_at, started_at)
    session.ended_at = max(session.ended_at, row["ended_at"])


def _rolled(by_hour: Mapping[tuple[int, Names], _Sums], sessions: Mapping[str | None, _Session]) -> Rolled:
    units: list[dict[str, Any]] = []
    tables = {}
    for table, length, names in (
        (spend_hours, HOUR_US, NAMES),
        (spend_days, DAY_US, NAMES),
        (spend_people, DAY_US, PEOPLE),
    ):
        groups: dict[tuple[int, Names], _Sums] = defaultdict(_Sums)
        for (hour, values), sums in by_hour.items():
            groups[hour - hour % length, values[: len(names)]].add(sums)
        rows: list[dict[str, Any]] = []
        for (start_at, values), sums in groups.items():
            group = digest(values)
            told = dict(zip(names, values, strict=True))
            rows.append({"start_at": start_at, "group": group, **told, **dict(zip(SUMS, sums.numbers, strict=True))})
            units += _unit_rows(table.name, start_at, group, sums.units)
        tables[table.name] = sorted(rows, key=lambda row: (row["start_at"], row["group"]))
    rows = []
    for name, session in sessions.items():
        group = digest((name,))
        numbers = dict(zip(SUMS, session.numbers, strict=True))
        times = {"first_at": session.first_at, "last_at": session.last_at, "ended_at": session.ended_at}
        rows.append({"group": group, "session": name, "team": session.team, **numbers, **times})
        units += _unit_rows(spend_sessions.name, 0, group, session.units)
    tables[spend_sessions.name] = sorted(rows, key=lambda row: str(row["group"]))
    return Rolled(tables, sorted(units, key=lambda row: tuple(row.values())[:5]))


def _unit_rows(rollup: str, start_at: int, group: str, units: Units) -> list[dict[str, Any]]:
    return [
        {"rollup": rollup, "start_at": start_at, "group": group, "unit": unit, "scale": scale, "amount": amount}
        for (unit, scale), amount in units.items()
    ]


def digest(names: Names) -> str:
    """A group's name in the tables' keys: as long for every group, and another for every other."""
    return hashlib.blake2b(orjson.dumps(names), digest_size=16).hexdigest()


def units_of(usage: str) -> Units:
    """What an entry's `usage` adds: an amount for each unit and scale. What is no number, or beyond any, adds nothing."""
    units: Units = defaultdict(int)
    for unit, quantity in orjson.loads(usage).items():
        found = _scaled(quantity)
        if found is not None:
            scale, amount = found
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
    total: int = sum(amount * 10 ** (_MAX_SCALE - scale) for scale, amount in scaled)
    unit: int = 10**_MAX_SCALE
    whole, rest = divmod(abs(total), unit)
    if not rest:
        return whole if total >= 0 else -whole
    return f"{'-' * (total < 0)}{whole}.{rest:0{_MAX_SCALE}d}".rstrip("0")
