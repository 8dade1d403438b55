"""Closing a minute: what the machines cost in it, for whose calls, and what is carried over to the next minutes. Pure.

Tokens that a server counted and no call explains are somebody else's (`outside`). Cached ones that no call was told of (by a
vLLM without `--enable-prompt-tokens-details`) count as the cache's, not as read. A call's tokens are spread evenly over its
time, and a server counts when it likes, so at the edge of a minute the two differ by what calls there have in hand: what is
unexplained is carried over to the next minute until it cannot be theirs any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from proxy.capacity.runs import Run, Tokens, tokens_within
from proxy.capacity.server_metrics import GAUGES, Increase
from proxy.capacity.split import Others, Power, Span, Split, Terms, Weights, overlap, split

_LAG_US = 15_000_000  # a server is read every five seconds; what a call had may be counted that much later
_FEW = 50  # tokens: below it no ratio is worth measuring
_WINDOW = 60  # minutes over which it is
_PRECISION = 1000
_WELL_METERED = 0.9
_SUMMED = (
    "prompt", "cached", "computed", "output", "prefill_us", "decode_us", "drafts", "drafted", "accepted", "preemptions",
    "steps",
)  # fmt: skip


class Carried(NamedTuple):
    """From minute to minute. prompt, output, cached: tokens that the server counted more than calls explain (less where
    negative). The others: times and tokens of the last hour, of which older ones count less; microseconds and thousandths of
    tokens."""

    prompt: int = 0
    output: int = 0
    prefill_us: int = 0
    computed: int = 0
    decode_us: int = 0
    written: int = 0
    cached: int = 0


class Closed(NamedTuple):
    """One minute in the books. server: what its counters came to; empty where nobody could ask it."""

    split: Split
    weights: Weights
    server: Mapping[str, float]


def close(
    minute: Span,
    terms: Terms,
    runs: Iterable[Run],
    samples: Sequence[Increase],
    observed: Sequence[Span] | None,
    carried: Carried,
) -> tuple[Closed, Carried]:
    """samples: of this minute, in order. runs: all that touch it. observed: when somebody looked; None is always."""
    runs_in_minute = [run for run in runs if run.start < minute.end and run.end > minute.start]
    server = _summed(samples)
    carried = _timed(carried, server)
    weights = weights_of(carried)
    others, untold, carried = _unexplained(minute, runs_in_minute, samples, server, carried)
    made = split(
        minute,
        terms,
        runs_in_minute,
        weights=weights,
        others=others,
        observed=observed,
        power=_power(minute, terms, runs_in_minute, others, samples),
        untold=untold,
    )
    if untold:
        server["untold"] = min(untold, made.tokens.input)
    return Closed(made, weights, server), carried


def _summed(samples: Sequence[Increase]) -> dict[str, float]:
    """Sums of the counters; means of the gauges by time."""
    sums: dict[str, float] = {}
    for name in _SUMMED:
        values = [value for one in samples if (value := getattr(one, name)) is not None]
        if values:
            sums[name] = sum(values)
    for name in GAUGES:
        values = [(value, one.end - one.start) for one in samples if (value := getattr(one, name)) is not None]
        if time := sum(length for _, length in values):
            sums[name] = sum(value * length for value, length in values) / time
    return sums


def _timed(carried: Carried, server: Mapping[str, float]) -> Carried:
    """The last hour's times and tokens, with this minute's."""

    def moved(was: int, name: str, scale: int = 1) -> int:
        return was * (_WINDOW - 1) // _WINDOW + round(server.get(name, 0) * scale)

    if "prefill_us" not in server or "decode_us" not in server:
        return carried
    return carried._replace(
        prefill_us=moved(carried.prefill_us, "prefill_us"),
        computed=moved(carried.computed, "computed", _PRECISION),
        decode_us=moved(carried.decode_us, "decode_us"),
        written=moved(carried.written, "output", _PRECISION),
    )


def weights_of(carried: Carried) -> Weights:
    """What a token of input and one of output take, in nanoseconds by the server's own times; else 1 : 4."""
    few = _FEW * _PRECISION
    if carried.computed < few or carried.written < few or carried.prefill_us <= 0 or carried.decode_us <= 0:
        return Weights()
    scale = 1000 * _PRECISION
    return Weights(
        max(1, carried.prefill_us * scale // carried.computed),
        max(1, carried.decode_us * scale // carried.written),
        True,
    )


class _Unexplained(NamedTuple):
    """What others had, and cached input that calls were not told of; and what is carried over."""

    others: Others
    untold: int
    carried: Carried


def _unexplained(
    minute: Span, runs: Sequence[Run], samples: Sequence[Increase], server: Mapping[str, float], carried: Carried
) -> _Unexplained:
    if "prompt" not in server and "output" not in server:
        return _Unexplained(Others(), 0, carried._replace(prompt=0, output=0, cached=0))
    within = [tokens_within(run, *minute) for run in runs]
    at_the_edge = [run for run in runs if run.end > minute.end - _LAG_US]
    seen = [tokens_within(run, min(run.start, minute.start), minute.end) for run in at_the_edge]

    def beyond(name: str, was: int, ours: int, ahead: int, behind: int) -> tuple[int, int]:
        """What the server counted and no call explains, and what is left to carry over. ahead, behind: of calls at the edge,
        what it may have counted already, and what it may not have counted yet."""
        difference = was + round(server.get(name, 0)) - ours
        sure = max(0, difference - ahead)
        return sure, max(difference - sure, -behind)

    prompts, outputs = sum(_prompt(part) for part in seen), sum(part.output for part in seen)
    unread = sum(run.input + run.cache_read for run in at_the_edge) - prompts
    unwritten = sum(run.output for run in at_the_edge) - outputs
    prompt, prompt_left = beyond("prompt", carried.prompt, sum(_prompt(part) for part in within), unread, prompts)
    output, output_left = beyond("output", carried.output, sum(part.output for part in within), unwritten, outputs)
    reported = sum(part.cache_read for part in within), sum(part.cache_read for part in seen)
    cached, cached_left = beyond("cached", carried.cached, reported[0], unread, reported[1])
    carried = carried._replace(prompt=prompt_left, output=output_left, cached=cached_left)
    others = Others()
    if prompt or output:
        counted = round(server.get("prompt", 0))
        fresh = prompt * round(server.get("computed", counted)) // counted if counted else 0
        others = Others(_spans(minute, runs, samples), fresh, output)
    return _Unexplained(others, max(0, cached - prompt), carried)  # what others had may have been cached, all of it


def _prompt(tokens: Tokens) -> int:
    return tokens.input + tokens.cache_read


def _spans(minute: Span, runs: Sequence[Run], samples: Sequence[Increase]) -> list[tuple[Span, int]]:
    """When others were served, and how many at once: the server worked, and fewer calls of ours ran than it says."""
    spans = []
    for sample in samples:
        span = Span(max(sample.start, minute.start), min(sample.end, minute.end))
        if span.start >= span.end or not (sample.prompt or sample.output):
            continue
        ran = sum(overlap(span, [Span(run.start, run.end)]) for run in runs) / (span.end - span.start)
        count = round((sample.running or 0) - ran) if ran else max(1, round(sample.running or 1))
        if count > 0:
            spans.append((span, count))
    return spans


def _power(
    minute: Span, terms: Terms, runs: Sequence[Run], others: Others, samples: Sequence[Increase]
) -> Power | None:
    busy = union(
        [Span(max(run.start, minute.start), min(run.end, minute.end)) for run in runs] + [s for s, _ in others.spans]
    )
    if terms.metered:
        return _metered(minute, busy, samples)
    if terms.milliwatts is None:
        return None
    working, waiting = terms.milliwatts
    active = idle = 0
    for piece in terms.rates.pieces(*minute):
        used = overlap(Span(piece.start, piece.end), busy)
        active += used * piece.units * working
        idle += (piece.end - piece.start - used) * piece.units * waiting
    return Power(active // 1_000_000, idle // 1_000_000)


def _metered(minute: Span, busy: Sequence[Span], samples: Sequence[Increase]) -> Power | None:
    active = idle = metered = 0
    for sample in samples:
        if sample.millijoules is None or sample.start >= sample.end:
            continue
        used = sample.millijoules * overlap(Span(sample.start, sample.end), busy) // (sample.end - sample.start)
        active += used
        idle += sample.millijoules - used
        metered += overlap(Span(sample.start, sample.end), [minute])
    return Power(active, idle, True) if metered >= _WELL_METERED * (minute.end - minute.start) else None


def union(spans: Iterable[Span]) -> list[Span]:
    """The same times, in order and apart."""
    made: list[Span] = []
    for span in sorted(span for span in spans if span.start < span.end):
        if made and span.start <= made[-1].end:
            made[-1] = Span(made[-1].start, max(made[-1].end, span.end))
        else:
            made.append(span)
    return made


class Late(NamedTuple):
    """What a call has of a minute that was closed before it was known: of its idle time, and of nothing that others have."""

    time_us: int
    idle_us: int
    nanousd: int


def late(run: Run, minute: Span, *, idle_us: int, idle_nanousd: int) -> Late:
    """A call that came late is taken to have run in the minute's idle time as far as there is some."""
    time_us = overlap(minute, [Span(run.start, run.end)])
    taken = min(time_us, idle_us)
    return Late(time_us, taken, idle_nanousd * taken // idle_us if idle_us else 0)
