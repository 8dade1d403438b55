"""Which tables answer a question of what was spent.

A span of time is cut into whole weeks, days or hours, and the edges that are left, which are read entry by entry. Labels are
known of days that are over, where the configuration names them; others, and sessions with something else, are only in the
entries. However a question is answered, the answer is the same; but of times whose entries are deleted only whole hours or
days are known (with users, customers or labels: days).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ledger.label_days import covered
from proxy.ledger.rollups import DAY_US, HOUR_US, WEEK_US
from proxy.ledger.schema import (
    PEOPLE,
    entries,
    horizon,
    spend_days,
    spend_hours,
    spend_label_days,
    spend_people_days,
    spend_people_weeks,
)

LENGTHS_US = {"day": DAY_US, "hour": HOUR_US}
LABEL = re.compile(r"(label|claimed)\.([A-Za-z0-9_.-]{1,100})\Z")
_OF_LABEL_DAYS = {*PEOPLE, "day"}


class Span(NamedTuple):
    """From `since` to before `until`; None is without end."""

    since: int | None
    until: int | None

    @property
    def is_empty(self) -> bool:
        return self.since is not None and self.until is not None and self.since >= self.until

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
_LABEL_DAYS = Source(spend_label_days, DAY_US)


Parts = list[tuple[Source, list[Span]]]


def answering(connection: Connection, names: Sequence[str] | None, span: Span) -> Parts:
    """Who answers which spans, where a question has these names; None: the entries answer all of it."""
    sources = [] if names is None else _sources(names)
    parts = _parts(_widened(span, sources, horizon(connection)), sources)
    return _with_labels(connection, parts, names or ()) if _LABEL_DAYS in sources else parts


def _sources(by: Sequence[str]) -> list[Source]:
    """The roll-ups that know all these names and times, those of the longest time first."""
    labels = [name for name in by if LABEL.match(name)]
    if labels:
        others = set(by) - set(labels)
        is_rolled = others <= _OF_LABEL_DAYS and all(name.startswith("label.") for name in labels)
        return [_LABEL_DAYS] if is_rolled else []
    longest = min([LENGTHS_US[name] for name in by if name in LENGTHS_US], default=WEEK_US)
    return [
        source
        for source in ((_PEOPLE_WEEKS, _PEOPLE_DAYS) if {"user", "customer"} & set(by) else (_DAYS, _HOURS))
        if source.length_us <= longest and all(name in source.table.c or name in LENGTHS_US for name in by)
    ]


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


def _parts(span: Span, sources: Sequence[Source]) -> Parts:
    """The span cut into what each source answers; the entries answer what is left."""
    by_source: dict[Source, list[Span]] = {}
    for source, part in _cut(span, [*sources, ENTRIES]):
        by_source.setdefault(source, []).append(part)
    return list(by_source.items())


def _cut(span: Span, sources: Sequence[Source]) -> Iterator[tuple[Source, Span]]:
    if span.is_empty:
        return
    source, finer = sources[0], sources[1:]
    if not source.length_us:
        yield source, span
        return
    since = None if span.since is None else -(-span.since // source.length_us) * source.length_us
    until = None if span.until is None else span.until // source.length_us * source.length_us
    whole = Span(since, until)
    if whole.is_empty:
        yield from _cut(span, finer)
        return
    yield source, whole
    if since is not None:
        yield from _cut(Span(span.since, since), finer)
    if until is not None:
        yield from _cut(Span(until, span.until), finer)


def _with_labels(connection: Connection, parts: Parts, by: Sequence[str]) -> Parts:
    """Of whole days, those that are added up by these labels; the entries answer the others."""
    names = [match[2] for name in by if (match := LABEL.match(name))]
    days: list[Span] = []
    rest: list[Span] = []
    for source, spans in parts:
        for span in spans:
            if source is _LABEL_DAYS:
                cover = covered(connection, span.since, span.until, names)
                days += [Span(*one) for one in cover.days]
                rest += [Span(*one) for one in cover.rest]
            else:
                rest.append(span)
    return [(source, spans) for source, spans in ((_LABEL_DAYS, days), (ENTRIES, rest)) if spans]
