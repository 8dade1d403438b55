"""One minute of a capacity, split among the calls that ran in it: shares + outside + idle are its cost, to the nano-dollar.

The result depends on which calls there were and not on the order in which they came to be known. By `time`, those that run at a
moment share it equally. By `tokens`, the cost of the minute's busy time is shared by the work done in it: input tokens times
`weights.input` plus output tokens times `weights.output`; where nobody did any, by time. Everything is an integer.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

from proxy.capacity.carbon import MJ_PER_KWH
from proxy.capacity.rates import Rates, apportion
from proxy.capacity.runs import FINE, Run, Tokens, finely_within, tokens_within
from proxy.times import HOUR_US

Share = Literal["tokens", "time"]
_NOTHING = (0, 0, 0.0, 0.0)


class Span(NamedTuple):
    """From `start` to before `end`, epoch microseconds."""

    start: int
    end: int


class Weights(NamedTuple):
    """What an input token and an output token count, in any unit. measured: by the server's own times, not assumed."""

    input: int = 1
    output: int = 4
    measured: bool = False


class Terms(NamedTuple):
    """What the operator says of a capacity. milliwatts: of one unit, while something runs and while nothing does; None where
    there is a meter, or nothing is known. metered: energy is what the meter says."""

    rates: Rates
    share: Share = "tokens"
    milliwatts: tuple[int, int] | None = None
    metered: bool = False
    nanousd_per_kwh: int = 0


class Others(NamedTuple):
    """What the server did for nobody of ours: when, and for how many at once where that is known; tokens by its counters."""

    spans: Sequence[tuple[Span, int]] = ()
    input: int = 0
    output: int = 0


class Power(NamedTuple):
    """What the machines drew, in millijoules: while something ran, and else. metered: by a meter, not estimated."""

    busy: int
    idle: int
    metered: bool = False


class Level(NamedTuple):
    """What happened while so many calls ran at once (`calls`: at most so many, where several are one level)."""

    calls: int
    time_us: int
    nanousd: int
    input: int
    output: int


class Shared(NamedTuple):
    """One call's part of a minute. millijoules: None where the energy is unknown."""

    nanousd: int
    millijoules: int | None


class Split(NamedTuple):
    """A minute's cost in its parts, nano-USD: of our calls (`busy`), of nobody (`idle`), of others (`outside`).

    busy_us: time in which something ran; calls_us: that of our calls, added up. unobserved_us: of the idle time, that in which
    nobody looked. input_nanousd: of `busy`, what reading input was. saved_nanousd: what cached input would have been.
    """

    start: int
    end: int
    cost: int
    busy: int
    idle: int
    outside: int
    busy_us: int
    calls_us: int
    unobserved_us: int
    tokens: Tokens
    input_nanousd: int
    saved_nanousd: int
    power: Power | None
    shares: dict[str, Shared]
    levels: tuple[Level, ...]


class _Segment(NamedTuple):
    """A span in which nothing changes. amount: its cost, in nano-USD an hour times microseconds."""

    start: int
    end: int
    calls: int
    others: int
    amount: int
    input: float
    output: float

    @property
    def time_us(self) -> int:
        return self.end - self.start


def split(
    minute: Span,
    terms: Terms,
    runs: Iterable[Run],
    *,
    weights: Weights | None = None,
    others: Others | None = None,
    observed: Sequence[Span] | None = None,
    power: Power | None = None,
    untold: int = 0,
) -> Split:
    """Split one minute (or what of it belongs to the books).

    runs: those that touch it, in any order. observed: when somebody looked, in order and apart; None is always. power: what was
    drawn, whatever `terms` say of it. untold: input that the server had cached and whose calls were not told so: it is in their
    `input`, and in their shares.
    """
    weights, others = weights or Weights(), others or Others()
    runs_in_minute = sorted(run for run in runs if run.start < minute.end and run.end > minute.start)
    segments = _segments(minute, terms.rates, runs_in_minute, others.spans)
    cost = terms.rates.cost(*minute)
    tokens = [tokens_within(run, *minute) for run in runs_in_minute]
    work = [_work(run, minute, weights) for run in runs_in_minute]
    work_of_others = (others.input * weights.input + others.output * weights.output) * FINE
    if terms.share == "time" or not (sum(work) or work_of_others):
        work, parts = _by_time(segments, runs_in_minute)
    else:
        parts = _by_work(segments, sum(work), work_of_others)
    busy, idle, outside = _deal(cost, parts)
    drawn: list[int] = []
    if power is not None:
        drawn = [*_deal(power.busy, (parts[0], parts[2])), power.idle]
        paid = sum(drawn) * terms.nanousd_per_kwh // MJ_PER_KWH
        of_power = _deal(paid, drawn)
        cost, busy, outside, idle = cost + paid, busy + of_power[0], outside + of_power[1], idle + of_power[2]
    shares = _deal(busy, work)
    joules: Sequence[int | None] = _deal(drawn[0], work) if drawn else [None] * len(runs_in_minute)
    together = Tokens(*map(sum, zip(*tokens, strict=True))) if tokens else Tokens()
    cached = min(untold, together.input)
    read = (together.input - cached) * weights.input
    total = read + together.output * weights.output
    return Split(
        start=minute.start,
        end=minute.end,
        cost=cost,
        busy=busy,
        idle=idle,
        outside=outside,
        busy_us=sum(s.time_us for s in segments if s.calls or s.others),
        calls_us=sum(s.time_us * s.calls for s in segments),
        unobserved_us=_unobserved(segments, observed),
        tokens=together,
        input_nanousd=busy * read // total if total else 0,
        saved_nanousd=busy * (together.cache_read + cached) * weights.input // total if total else 0,
        power=power,
        shares={run.id: Shared(had, drew) for run, had, drew in zip(runs_in_minute, shares, joules, strict=True)},
        levels=_levels(segments),
    )


def _work(run: Run, minute: Span, weights: Weights) -> int:
    part = finely_within(run, *minute)
    return part.input * weights.input + part.output * weights.output


def _deal(total: int, parts: Sequence[int]) -> list[int]:
    return apportion(total, parts) if any(parts) else [0] * len(parts)


def _segments(minute: Span, rates: Rates, runs: Sequence[Run], others: Sequence[tuple[Span, int]]) -> list[_Segment]:
    """The minute, cut wherever something begins or ends. Every minute is cut at least where its price changes."""
    changes: dict[int, list[float]] = {}

    def change(at: int, calls: int, outsiders: int, input_rate: float, output_rate: float) -> None:
        row = changes.setdefault(min(max(at, minute.start), minute.end), [0, 0, 0.0, 0.0])
        row[0] += calls
        row[1] += outsiders
        row[2] += input_rate
        row[3] += output_rate

    for run in runs:
        change(run.start, 1, 0, 0.0, 0.0)
        change(run.end, -1, 0, 0.0, 0.0)
        for (began, ended), amounts in ((run.reads, (run.input, 0)), (run.writes, (0, run.output))):
            if began < ended and any(amounts):
                reading, writing = (amount / (ended - began) for amount in amounts)
                change(began, 0, 0, reading, writing)
                change(ended, 0, 0, -reading, -writing)
    for span, count in others:
        change(span.start, 0, count, 0.0, 0.0)
        change(span.end, 0, -count, 0.0, 0.0)
    prices = list(rates.pieces(*minute))
    for piece in prices:
        change(piece.start, 0, 0, 0.0, 0.0)
    times = sorted({minute.start, minute.end, *changes})
    starts = [piece.start for piece in prices]
    state: list[float] = [0.0] * 4
    segments = []
    for begin, until in pairwise(times):
        state = [a + b for a, b in zip(state, changes.get(begin, _NOTHING), strict=True)]
        price = prices[bisect_right(starts, begin) - 1].nanousd_per_hour
        calls, outsiders = int(state[0]), int(state[1])
        segments.append(_Segment(begin, until, calls, outsiders, (until - begin) * price, state[2], state[3]))
    return segments


def _by_time(segments: Sequence[_Segment], runs: Sequence[Run]) -> tuple[list[int], tuple[int, int, int]]:
    """Each run's weight, and the parts of ours, nobody and others. All are multiples of 1 / `common`, and so whole numbers.

    Where the machines cost nothing, time alone is the weight: energy is still shared by it.
    """
    free = not any(segment.amount for segment in segments)
    amounts = [segment.time_us if free else segment.amount for segment in segments]
    common = math.lcm(*{s.calls + s.others for s in segments if s.calls + s.others})
    each = [
        amount * common // (s.calls + s.others) if s.calls + s.others else 0
        for s, amount in zip(segments, amounts, strict=True)
    ]
    until = dict(zip([segments[0].start, *(s.end for s in segments)], accumulate(each, initial=0), strict=True))
    start, end = segments[0].start, segments[-1].end
    weights = [until[min(run.end, end)] - until[max(run.start, start)] for run in runs]
    idle = sum(a * common for s, a in zip(segments, amounts, strict=True) if not s.calls + s.others)
    outside = sum(one * s.others for s, one in zip(segments, each, strict=True))
    return weights, (sum(weights), idle, outside)


def _by_work(segments: Sequence[_Segment], own_work: int, other_work: int) -> tuple[int, int, int]:
    busy = sum(s.amount for s in segments if s.calls or s.others)
    idle = sum(s.amount for s in segments if not (s.calls or s.others))
    if not busy and not idle:  # it costs nothing
        return own_work, 0, other_work
    return busy * own_work, idle * (own_work + other_work), busy * other_work


def _unobserved(segments: Sequence[_Segment], observed: Sequence[Span] | None) -> int:
    if observed is None:
        return 0
    idle = [Span(s.start, s.end) for s in segments if not (s.calls or s.others)]
    return sum(s.end - s.start - overlap(s, observed) for s in idle)


def overlap(span: Span, spans: Sequence[Span]) -> int:
    """How much of it the others cover, which are apart from each other."""
    return sum(max(0, min(span.end, other.end) - max(span.start, other.start)) for other in spans)


def level_of(calls: int) -> int:
    """Up to eight calls at once are a level each; beyond, each level has twice the calls of the one before."""
    return calls if calls <= 8 else 1 << (calls - 1).bit_length()


def _levels(segments: Sequence[_Segment]) -> tuple[Level, ...]:
    sums: dict[int, list[float]] = {}
    for s in segments:
        if s.calls:
            row = sums.setdefault(level_of(s.calls), [0, 0, 0.0, 0.0])
            row[0] += s.time_us
            row[1] += s.amount
            row[2] += s.input * s.time_us
            row[3] += s.output * s.time_us
    return tuple(
        Level(level, int(row[0]), int(row[1]) // HOUR_US, round(row[2]), round(row[3]))
        for level, row in sorted(sums.items())
    )
