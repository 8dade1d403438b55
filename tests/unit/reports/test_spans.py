"""A span's pieces are the span, once, whatever is added and taken off; and what is read entry by entry is short."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.database import open_ledger
from proxy.ledger.rollup_schema import spend_days, spend_hours, spend_people_days, spend_people_weeks
from proxy.ledger.rollups.sums import WEEK_US
from proxy.reports.spans import ENTRIES, MOST_SPANS, Source, Span, _cut, _nearest, _parts
from proxy.reports.totals import Kept, Totals, add_entries_of
from proxy.times import DAY_US, HOUR_US
from tests.support.bought import bought
from tests.support.made_up import START, fill

PEOPLE = [Source(spend_people_weeks, WEEK_US), Source(spend_people_days, DAY_US), ENTRIES]
PLAIN = [Source(spend_days, DAY_US), Source(spend_hours, HOUR_US), ENTRIES]

moments = st.one_of(
    st.integers(0, 30 * DAY_US),
    st.builds(lambda day, off: max(0, day * DAY_US + off), st.integers(0, 30), st.integers(-1, 1)),
    st.builds(lambda hour: hour * HOUR_US, st.integers(0, 720)),
)


def times_in(pieces: list[tuple[Source, Span, int]], at: int) -> int:
    return sum(
        sign
        for _, span, sign in pieces
        if (span.since is None or span.since <= at) and (span.until is None or at < span.until)
    )


@given(
    sources=st.sampled_from([PEOPLE, PLAIN, PEOPLE[1:], PLAIN[1:]]),
    since=st.none() | moments,
    until=st.none() | moments,
    at=moments,
    kept=st.none() | moments,
)
def test_the_pieces_are_the_span_once(
    sources: list[Source], since: int | None, until: int | None, at: int, kept: int | None
) -> None:
    span = Span(since, until)
    pieces = list(_cut(span, sources, _nearest(kept)))
    for moment in (at, *[end + step for end in (since, until) if end is not None for step in (-1, 0, 1)]):
        inside = not span.is_empty and (since is None or since <= moment) and (until is None or moment < until)
        assert times_in(pieces, moment) == int(inside), (span, pieces)
    for source, piece, _ in pieces:
        assert not source.length_us or all(end is None or end % source.length_us == 0 for end in piece)


@given(sources=st.sampled_from([PEOPLE, PLAIN]), since=moments, until=moments)
def test_of_a_row_at_most_half_is_read_by_entry(sources: list[Source], since: int, until: int) -> None:
    read = [
        piece.until - piece.since
        for source, piece, _ in _cut(Span(since, until), sources, _nearest(None))
        if source is ENTRIES and piece.since is not None and piece.until is not None
    ]
    assert sum(read) <= sources[-2].length_us
    if until - since >= 2 * sources[-2].length_us:
        assert all(2 * length <= sources[-2].length_us for length in read)


@pytest.mark.parametrize("kept", [10 * DAY_US, 10 * DAY_US + 5])
def test_deleted_entries_are_not_taken_off(kept: int) -> None:
    """The day in which they end has its first hours in no entry any more."""
    span = Span(10 * DAY_US + 3 * HOUR_US, 20 * DAY_US)
    read = [piece for source, piece, _ in _cut(span, PEOPLE[1:], _nearest(kept)) if source is ENTRIES]
    lower = 10 * DAY_US if kept == 10 * DAY_US else 10 * DAY_US + 3 * HOUR_US
    assert [piece.since for piece in read] == [lower]


def test_a_day_that_cannot_be_had_whole_is_read_by_what_is_in_the_span() -> None:
    span = Span(10 * DAY_US + HOUR_US, 12 * DAY_US + 23 * HOUR_US)
    pieces = list(_cut(span, PEOPLE[1:], _nearest(None, lambda start_at: start_at not in (10 * DAY_US, 12 * DAY_US))))
    assert [(piece, sign) for source, piece, sign in pieces if source is ENTRIES] == [
        (Span(span.since, 11 * DAY_US), 1),
        (Span(12 * DAY_US, span.until), 1),
    ]


def test_times_in_very_many_pieces_are_asked_some_at_a_time(tmp_path: Path) -> None:
    """SQLite refuses a thousand conditions."""
    engine = open_ledger(f"sqlite:///{tmp_path}/l.db")
    pieces = [(ENTRIES, Span(START + number * HOUR_US, START + number * HOUR_US + 1), 1) for number in range(1500)]
    fill(engine, [bought(piece.since or 0, "1") for _, piece, _ in pieces])
    parts = _parts(pieces)
    assert max(len(part.spans) for part in parts) <= MOST_SPANS
    totals = Totals()
    with engine.connect() as connection:
        add_entries_of(connection, [(part, 0) for part in parts], ["team"], Kept({}, ()), totals)
    [(values, numbers, _)] = totals.left(0)
    assert (values, numbers[0]) == (("shop",), 1500)
    engine.dispose()
