"""Which tables answer a question about spend, for each part of its time.

A span of time is cut into whole months, weeks, days or hours, and the edges that are left, which are read entry by entry: of
a day in which a span begins or ends either what is in the span, or the whole day less what is not, whichever is the shorter
time. Labels are known of days that are over, where the configuration names them; others, and sessions with something else, are
only in the entries. However a question is answered, the answer is the same; but of times whose entries are deleted only whole
hours or days are known (with users, customers or labels: days).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ledger.rollup_schema import ALL_NAMES, PEOPLE, spend_days, spend_hours, spend_people_days, spend_people_weeks
from proxy.ledger.rollups.label_days import DAYS, PARTS, Cover, Stretch, cover_of, covered, stretches
from proxy.ledger.rollups.label_weeks import OF_DAYS, State, states_of_days
from proxy.ledger.rollups.sums import WEEK_US, end_of, start_of
from proxy.ledger.schema import entries, horizon
from proxy.times import DAY_US, HOUR_US

LENGTHS_US = {"day": DAY_US, "hour": HOUR_US}
LABEL = re.compile(r"(label|claimed)\.([A-Za-z0-9_.-]{1,100})\Z")
_ADDED_UP = {*ALL_NAMES, "day"}
_PERSONS = {"user", "customer"}
MOST_SPANS = 200  # of a part: SQLite refuses a thousand conditions


class Span(NamedTuple):
    """From `since` to before `until`; None is without end."""

    since: int | None
    until: int | None

    @property
    def is_empty(self) -> bool:
        return self.since is not None and self.until is not None and self.since >= self.until

    @property
    def length(self) -> int | None:
        return None if self.since is None or self.until is None else self.until - self.since

    def common(self, other: Span) -> Span:
        """What lies in both."""
        sinces = [since for since in (self.since, other.since) if since is not None]
        untils = [until for until in (self.until, other.until) if until is not None]
        return Span(max(sinces, default=None), min(untils, default=None))

    def has(self, at: int) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    def holds(self, time: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
        after = [] if self.since is None else [time >= self.since]
        before = [] if self.until is None else [time < self.until]
        return sa.and_(sa.true(), *after, *before)


class Source(NamedTuple):
    """A table to read from, and how long a time each of its rows stands for (0: a moment)."""

    table: sa.Table
    length_us: int


ENTRIES = Source(entries, 0)
_HOURS = Source(spend_hours, HOUR_US)
_DAYS = Source(spend_days, DAY_US)
_PEOPLE_WEEKS = Source(spend_people_weeks, WEEK_US)
_PEOPLE_DAYS = Source(spend_people_days, DAY_US)
_ADDED_UP_DAYS = Source(DAYS.sums, DAY_US)  # by months and weeks, too, and by parts


class Part(NamedTuple):
    """What a table answers. sign: 1, or -1 where it is taken off what others answer."""

    source: Source
    spans: list[Span]
    sign: int = 1


def answering(connection: Connection, names: Sequence[str] | None, span: Span) -> list[Part]:
    """Who answers which spans, where a question has these names; None: the entries answer all of it.

    A group of which everything is taken off again is none: see `is_left`.
    """
    return answering_each(connection, names, [span])[0]


def answering_each(connection: Connection, names: Sequence[str] | None, spans: Sequence[Span]) -> list[list[Part]]:
    """As `answering`, of several spans: what is added up is read once."""
    sources, kept = [] if names is None else _sources(names), horizon(connection)
    spans = [_widened(span, sources, kept) for span in spans]
    known = _Known(connection, names or (), spans, kept)
    return [_parts(_pieces(known, names, sources, span)) for span in spans]


def _pieces(known: _Known, names: Sequence[str] | None, sources: Sequence[Source], span: Span) -> Pieces:
    if names is None or not sources:
        return _cut(span, [ENTRIES], _nearest(known.kept))
    if _ADDED_UP_DAYS in sources:
        pieces: Pieces = iter([(ENTRIES, span, 1)])
        if known.is_by_long(span):
            for stretch in OF_DAYS:
                pieces = _finer(known, stretch, pieces)
        pieces = _finer(known, DAYS, pieces)
    else:
        pieces = _cut(span, [*sources, ENTRIES], _nearest(known.kept))
    return _finer(known, PARTS, pieces) if _is_added_up(names) else pieces


def is_left(numbers: Iterable[sa.ColumnElement[Any]]) -> sa.ColumnElement[bool]:
    """Whether a group has anything, by the sums of its parts."""
    return sa.or_(*[number != 0 for number in numbers])


def _sources(by: Sequence[str]) -> list[Source]:
    """The roll-ups that know all these names and times, those of the longest time first."""
    is_by_label = any(LABEL.match(name) for name in by)
    if is_by_label or (_PERSONS & set(by) and not set(by) <= {*PEOPLE, *LENGTHS_US}):
        return [_ADDED_UP_DAYS] if _is_added_up(by) else []
    longest = min([LENGTHS_US[name] for name in by if name in LENGTHS_US], default=WEEK_US)
    return [
        source
        for source in ((_PEOPLE_WEEKS, _PEOPLE_DAYS) if _PERSONS & set(by) else (_DAYS, _HOURS))
        if source.length_us <= longest and all(name in source.table.c or name in LENGTHS_US for name in by)
    ]


def _is_added_up(by: Sequence[str]) -> bool:
    labels = {name for name in by if LABEL.match(name)}
    return set(by) - labels <= _ADDED_UP and all(name.startswith("label.") for name in labels)


def _widened(span: Span, sources: Sequence[Source], entries_since_at: int | None) -> Span:
    """Where entries are deleted there are no edges: there the span grows to whole hours, or days, at either end."""
    if not sources or entries_since_at is None or span.is_empty:
        return span
    length, (since, until) = sources[-1].length_us, span
    if since is not None and since < entries_since_at:
        since -= since % length
    if until is not None and until < entries_since_at:
        until += -until % length
    return Span(since, until)


Pieces = Iterator[tuple[Source, Span, int]]


def _parts(pieces: Iterable[tuple[Source, Span, int]]) -> list[Part]:
    parts: dict[tuple[Source, int], list[Part]] = {}
    for source, span, sign in pieces:
        of_source = parts.setdefault((source, sign), [])
        if not of_source or len(of_source[-1].spans) == MOST_SPANS:
            of_source.append(Part(source, [], sign))
        of_source[-1].spans.append(span)
    return [part for of_source in parts.values() for part in of_source]


Snap = Callable[[Source, int, bool], int]
"""Where a part of this source ends instead of at a moment within one of its rows; whether it is where the span begins."""


def _nearest(kept: int | None, is_known: Callable[[int], bool] = lambda start_at: True) -> Snap:
    """The beginning or the end of the row, whichever is nearer. kept: where the entries begin that are not deleted.
    is_known: whether a row can be had whole, by where it begins."""

    def snap(source: Source, at: int, is_since: bool) -> int:
        low = start_of(at, source.length_us)
        if low == at:
            return at
        high = end_of(at, source.length_us)
        inside, outside = (high, low) if is_since else (low, high)
        if not is_known(low):
            return inside
        if kept is not None and low < kept:
            return high  # of what lies before, entries are deleted
        return outside if abs(at - outside) < abs(at - inside) else inside

    return snap


def _cut(span: Span, sources: Sequence[Source], snap: Snap) -> Pieces:
    """The span's pieces, each with who answers it; -1: it is taken off."""
    if span.is_empty:
        return
    source, finer = sources[0], sources[1:]
    if not source.length_us:
        yield source, span, 1
        return
    since = None if span.since is None else snap(source, span.since, True)
    until = None if span.until is None else snap(source, span.until, False)
    edges = [(span.since, since, 1), (span.until, until, -1)]
    left = sum(abs(at - near) for at, near, _ in edges if at is not None and near is not None)
    if Span(since, until).is_empty or (span.length is not None and left >= span.length):
        yield from _cut(span, finer, snap)
        return
    yield source, Span(since, until), 1
    for at, near, sign in edges:
        if at is not None and near is not None:
            for finer_source, piece, finer_sign in _cut(Span(min(at, near), max(at, near)), finer, snap):
                yield finer_source, piece, finer_sign * (sign if at < near else -sign)


class _Known:
    """What is added up by these names, read once for all spans. kept: where the entries begin that are not deleted."""

    def __init__(self, connection: Connection, names: Sequence[str], spans: Sequence[Span], kept: int | None) -> None:
        self.kept = kept
        self._connection, self._names, self._spans = connection, names, spans
        self._labels = [match[2] for name in names if (match := LABEL.match(name))]
        self._has_persons = bool(_PERSONS & set(names))
        self._states: dict[Stretch, list[State]] = {}
        self._parts: dict[tuple[int | None, int | None], Cover] = {}

    def is_by_long(self, span: Span) -> bool:
        """Whether weeks and months may answer some of it."""
        return "day" not in self._names and (span.length is None or span.length >= WEEK_US)

    def covered(self, stretch: Stretch, span: Span) -> tuple[Source, Cover]:
        """The table to read, and which stretches of the span can be had from it."""
        since = None if span.since is None else start_of(span.since, stretch.length_us)
        whole = stretch in OF_DAYS or not {name for name in self._names if not LABEL.match(name)} <= {
            *PEOPLE,
            *LENGTHS_US,
        }
        if stretch is PARTS:
            times = since, span.until
            if times not in self._parts:
                self._parts[times] = covered(self._connection, PARTS, *times, self._labels, whole)
            cover = self._parts[times]
        else:
            within = Span(since, span.until)
            cover = cover_of(
                [state for state in self._states_of(stretch) if within.has(state[0])], stretch, self._labels, whole
            )
        is_impersonal = cover.whole and not self._has_persons
        return Source(stretch.impersonal if is_impersonal else stretch.sums, stretch.length_us), cover

    def _states_of(self, stretch: Stretch) -> list[State]:
        if stretch not in self._states:
            if stretch is DAYS:
                states = list(stretches(self._connection, DAYS, *self._reach()))
            else:
                states = states_of_days(self._connection, stretch, self._states_of(DAYS))
            self._states[stretch] = states
        return self._states[stretch]

    def _reach(self) -> Span:
        """All days of what may be asked for: those of whole weeks and months, where they may answer."""
        lengths = [DAY_US]
        if any(map(self.is_by_long, self._spans)):
            lengths += [stretch.length_us for stretch in OF_DAYS]
        sinces = [None if at is None else start_of(at, length) for at, _ in self._spans for length in lengths]
        untils = [None if at is None else end_of(at - 1, length) for _, at in self._spans for length in lengths]
        return Span(
            None if None in sinces else min(at for at in sinces if at is not None),
            None if None in untils else max(at for at in untils if at is not None),
        )


def _added_up(known: _Known, stretch: Stretch, span: Span) -> Pieces:
    """Whole stretches that are added up by these names; the entries answer the others."""
    source, cover = known.covered(stretch, span)
    snap = _nearest(known.kept, lambda start_at: any(first <= start_at < last for first, last in cover.known))
    for some, piece, sign in _cut(span, [source, ENTRIES], snap):
        if some is ENTRIES:
            yield some, piece, sign
            continue
        for answering_it, spans in ((source, cover.known), (ENTRIES, cover.rest)):
            for times in spans:
                if not (part := piece.common(Span(*times))).is_empty:
                    yield answering_it, part, sign


def _finer(known: _Known, stretch: Stretch, pieces: Pieces) -> Pieces:
    """What would be read from the entries, whole stretches at a time where those are added up."""
    for source, piece, sign in pieces:
        is_short = piece.length is not None and piece.length <= stretch.length_us // 2
        if source is not ENTRIES or is_short or (stretch is PARTS and piece.length is None):
            yield source, piece, sign
            continue
        for finer, part, finer_sign in _added_up(known, stretch, piece):
            yield finer, part, finer_sign * sign
