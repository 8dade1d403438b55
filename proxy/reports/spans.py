"""Which tables answer a question about spend, for each part of its time.

A span of time is cut into whole weeks, days or hours, and the edges that are left, which are read entry by entry: of a day in
which a span begins or ends either what is in the span, or the whole day less what is not, whichever is the shorter time. Labels
are known of days that are over, where the configuration names them; others, and sessions with something else, are only in the
entries. However a question is answered, the answer is the same; but of times whose entries are deleted only whole hours or
days are known (with users, customers or labels: days).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ledger.label_days import DAYS, PARTS, Stretch, covered
from proxy.ledger.label_weeks import WEEKS, covered_weeks
from proxy.ledger.rollup_schema import ALL_NAMES, PEOPLE, spend_days, spend_hours, spend_people_days, spend_people_weeks
from proxy.ledger.rollups import DAY_US, HOUR_US, WEEK_US
from proxy.ledger.schema import entries, horizon

LENGTHS_US = {"day": DAY_US, "hour": HOUR_US}
LABEL = re.compile(r"(label|claimed)\.([A-Za-z0-9_.-]{1,100})\Z")
_ADDED_UP = {*ALL_NAMES, "day"}
_PERSONS = {"user", "customer"}


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
_ADDED_UP_DAYS = Source(DAYS.sums, DAY_US)  # by weeks, too, and by parts


class Part(NamedTuple):
    """What a table answers. sign: 1, or -1 where it is taken off what others answer."""

    source: Source
    spans: list[Span]
    sign: int = 1


def answering(connection: Connection, names: Sequence[str] | None, span: Span) -> list[Part]:
    """Who answers which spans, where a question has these names; None: the entries answer all of it.

    A group of which everything is taken off again is none: see `is_left`.
    """
    sources, kept = [] if names is None else _sources(names), horizon(connection)
    span = _widened(span, sources, kept)
    if names is None or not sources:
        return _parts(_cut(span, [ENTRIES], _nearest(kept)))
    if _ADDED_UP_DAYS in sources:
        pieces: Pieces = iter([(ENTRIES, span, 1)])
        if "day" not in names and (span.length is None or span.length >= WEEK_US):
            pieces = _finer(connection, WEEKS, pieces, names, kept)
        pieces = _finer(connection, DAYS, pieces, names, kept)
    else:
        pieces = _cut(span, [*sources, ENTRIES], _nearest(kept))
    if _is_added_up(names):
        pieces = _finer(connection, PARTS, pieces, names, kept)
    return _parts(pieces)


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
    parts: dict[tuple[Source, int], Part] = {}
    for source, span, sign in pieces:
        parts.setdefault((source, sign), Part(source, [], sign)).spans.append(span)
    return list(parts.values())


Snap = Callable[[Source, int, bool], int]
"""Where a part of this source ends instead of at a moment within one of its rows; whether it is where the span begins."""


def _nearest(kept: int | None, is_known: Callable[[int], bool] = lambda start_at: True) -> Snap:
    """The beginning or the end of the row, whichever is nearer. kept: where the entries begin that are not deleted.
    is_known: whether a row can be had whole, by where it begins."""

    def snap(source: Source, at: int, is_since: bool) -> int:
        low = at - at % source.length_us
        if low == at:
            return at
        high = low + source.length_us
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


def _added_up(connection: Connection, stretch: Stretch, span: Span, names: Sequence[str], kept: int | None) -> Pieces:
    """Whole stretches that are added up by these names; the entries answer the others."""
    labels = [match[2] for name in names if (match := LABEL.match(name))]
    length = stretch.length_us
    since = None if span.since is None else span.since - span.since % length
    if stretch is WEEKS:
        cover = covered_weeks(connection, since, span.until, labels)
    else:
        is_whole = not {name for name in names if not LABEL.match(name)} <= {*PEOPLE, *LENGTHS_US}
        cover = covered(connection, stretch, since, span.until, labels, is_whole)
    has_persons = bool(_PERSONS & set(names))
    source = Source(stretch.impersonal if cover.whole and not has_persons else stretch.sums, length)
    snap = _nearest(kept, lambda start_at: any(first <= start_at < last for first, last in cover.known))
    for some, piece, sign in _cut(span, [source, ENTRIES], snap):
        if some is ENTRIES:
            yield some, piece, sign
            continue
        for answering_it, spans in ((source, cover.known), (ENTRIES, cover.rest)):
            for times in spans:
                if not (part := piece.common(Span(*times))).is_empty:
                    yield answering_it, part, sign


def _finer(connection: Connection, stretch: Stretch, pieces: Pieces, names: Sequence[str], kept: int | None) -> Pieces:
    """What would be read from the entries, whole stretches at a time where those are added up."""
    for source, piece, sign in pieces:
        is_short = piece.length is not None and piece.length <= stretch.length_us // 2
        if source is not ENTRIES or is_short or (stretch is PARTS and piece.length is None):
            yield source, piece, sign
            continue
        for finer, part, finer_sign in _added_up(connection, stretch, piece, names, kept):
            yield finer, part, finer_sign * sign
