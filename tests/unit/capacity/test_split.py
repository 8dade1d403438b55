"""The split of a minute, as mathematics: against a slow and obvious reference that looks at every microsecond."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.capacity.rates import Rates, Step
from proxy.capacity.runs import Run, tokens_within
from proxy.capacity.split import Others, Power, Share, Span, Split, Terms, Weights, level_of, split
from proxy.times import HOUR_US, MINUTE_US

LENGTH = 60  # microseconds: the reference looks at each of them
DOLLAR_A_US = HOUR_US * 1_000_000_000  # nano-USD an hour, of something that costs a dollar a microsecond
TWO_DOLLARS_AN_HOUR = Rates([Step(0, 2_000_000_000)], [Step(0, 1)])

moments = st.integers(-20, LENGTH + 20)
tokens = st.integers(0, 50)


@st.composite
def schedules(draw: st.DrawFn) -> list[Run]:
    runs = []
    for number in range(draw(st.integers(0, 8))):
        start, end = sorted((draw(moments), draw(moments)))
        first = draw(st.none() | moments)
        runs.append(Run(f"r{number}", start, end + 1, draw(tokens), draw(tokens), draw(tokens), first))
    return runs


rates = st.builds(
    lambda prices, units: Rates(sorted(prices), sorted(units)),
    st.lists(st.builds(Step, moments, st.integers(0, 9).map(lambda n: n * DOLLAR_A_US // 7)), min_size=1, max_size=3),
    st.lists(st.builds(Step, st.integers(-20, 10), st.integers(0, 3)), min_size=1, max_size=2),
)
outside = st.lists(st.tuples(moments, moments, st.integers(1, 3)), max_size=3).map(
    lambda spans: [(Span(min(a, b), max(a, b) + 1), count) for a, b, count in spans]
)


class Exact:
    """What each would have, were there parts of nano-dollars."""

    def __init__(self, rates: Rates, runs: Sequence[Run], others: Others, share: Share, weights: Weights) -> None:
        self.idle, self.outside, self.busy_us, self.calls_us = Fraction(), Fraction(), 0, 0
        self.shares: dict[str, Fraction] = defaultdict(Fraction)
        pool = Fraction()
        for at in range(LENGTH):
            price = Fraction(sum(p.nanousd_per_hour for p in rates.pieces(at, at + 1)), HOUR_US)
            running = [run.id for run in runs if run.start <= at < run.end]
            outsiders = sum(count for span, count in others.spans if span.start <= at < span.end)
            self.busy_us += bool(running or outsiders)
            self.calls_us += len(running)
            if not running and not outsiders:
                self.idle += price
            elif share == "tokens":
                pool += price
            else:
                each = price / (len(running) + outsiders)
                self.outside += each * outsiders
                for name in running:
                    self.shares[name] += each
        work = {run.id: self._work(run, weights) for run in runs if run.start < LENGTH and run.end > 0}
        of_others = others.input * weights.input + others.output * weights.output
        if share == "tokens" and (everything := sum(work.values()) + of_others):
            self.outside = pool * of_others / everything
            self.shares = {name: pool * amount / everything for name, amount in work.items()}
        elif share == "tokens":
            by_time = Exact(rates, runs, others, "time", weights)
            self.shares, self.outside = by_time.shares, by_time.outside

    @staticmethod
    def _work(run: Run, weights: Weights) -> Fraction:
        """Spread evenly over its microseconds; what takes no time lies where it begins, or in the run's last microsecond."""
        total = Fraction()
        for (began, ended), amount in (
            (run.reads, run.input * weights.input), (run.writes, run.output * weights.output),
        ):  # fmt: skip
            if began < ended:
                total += Fraction(amount * len(range(max(0, began), min(LENGTH, ended))), ended - began)
            elif 0 <= min(began, run.end - 1) < LENGTH:
                total += amount
        return total


@pytest.mark.parametrize("share", ["time", "tokens"])
@given(runs=schedules(), rates=rates, spans=outside, extra=st.tuples(tokens, tokens), seed=st.integers(0, 99))
def test_any_minute_adds_up_and_is_what_the_reference_says(
    share: Share, runs: list[Run], rates: Rates, spans: list[tuple[Span, int]], extra: tuple[int, int], seed: int
) -> None:
    others, weights = Others(spans, *extra), Weights(2, 7)
    shuffled = random.Random(seed).sample(runs, len(runs))

    made = split(Span(0, LENGTH), Terms(rates, share), runs, weights=weights, others=others)

    assert made == split(Span(0, LENGTH), Terms(rates, share), shuffled, weights=weights, others=others)
    assert made.cost == rates.cost(0, LENGTH)
    assert made.busy + made.idle + made.outside == made.cost
    assert sum(shared.nanousd for shared in made.shares.values()) == made.busy
    exact = Exact(rates, runs, others, share, weights)
    assert (made.busy_us, made.calls_us) == (exact.busy_us, exact.calls_us)
    # A part differs by its own rounding and that of the sums above it.
    assert abs(made.idle - exact.idle) < 2
    assert abs(made.outside - exact.outside) < 2
    for name, shared in made.shares.items():
        assert abs(shared.nanousd - exact.shares[name]) < 3


@given(runs=schedules(), power=st.builds(Power, st.integers(0, 10**6), st.integers(0, 10**6)))
def test_power_is_shared_as_money_is_and_what_it_costs_is_added(runs: list[Run], power: Power) -> None:
    rates = Rates([Step(0, 10**12)], [Step(0, 1)])
    made = split(Span(0, LENGTH), Terms(rates, nanousd_per_kwh=10**12), runs, power=power)

    assert made.busy + made.idle + made.outside == made.cost
    paid = made.cost - rates.cost(0, LENGTH)
    used = power.busy + power.idle if made.busy_us else power.idle
    assert paid == used * 10**12 // 3_600_000_000
    joules = [shared.millijoules for shared in made.shares.values()]
    assert sum(one or 0 for one in joules) == (power.busy if made.busy_us else 0)


@given(runs=schedules(), cuts=st.lists(st.integers(1, LENGTH - 1), unique=True, max_size=4))
def test_the_work_of_a_call_is_the_sum_of_its_parts(runs: list[Run], cuts: list[int]) -> None:
    edges = [-100, *sorted(cuts), LENGTH + 100]
    for run in runs:
        parts = [tokens_within(run, a, b) for a, b in zip(edges, edges[1:], strict=False)]
        assert tuple(map(sum, zip(*parts, strict=True))) == (run.input, run.cache_read, run.output)


def minute(*runs: Run, share: Share = "time", others: Others | None = None, **more: object) -> Split:
    return split(Span(0, MINUTE_US), Terms(TWO_DOLLARS_AN_HOUR, share), runs, others=others, **more)  # type: ignore[arg-type]


def test_alone_a_call_pays_its_time_and_the_rest_is_idle() -> None:
    made = minute(Run("a", 0, MINUTE_US // 4))

    assert (made.shares["a"].nanousd, made.idle) == (8_333_333, 25_000_000)
    assert made.cost == 33_333_333


def test_two_at_once_share_equally_by_time_and_by_their_work_by_tokens() -> None:
    a, b = Run("a", 0, MINUTE_US, input=400), Run("b", 0, MINUTE_US, output=100, first=1)

    by_time, by_tokens = minute(a, b), minute(a, b, share="tokens", weights=Weights(1, 12))

    assert {name: one.nanousd for name, one in by_time.shares.items()} == {"a": 16_666_667, "b": 16_666_666}
    assert {name: one.nanousd for name, one in by_tokens.shares.items()} == {"a": 8_333_333, "b": 25_000_000}
    assert by_tokens.input_nanousd == 8_333_333


def test_cached_input_is_free_and_its_saving_is_shown() -> None:
    made = minute(Run("a", 0, MINUTE_US, input=100, cache_read=300), share="tokens")

    assert made.busy == made.cost
    assert made.saved_nanousd == 3 * made.cost


def test_what_nobody_of_ours_did_is_outside() -> None:
    a = Run("a", 0, MINUTE_US // 2, output=100)
    others = Others([(Span(MINUTE_US // 2, MINUTE_US // 4 * 3), 1)], output=300)

    made = minute(a, share="tokens", others=others)

    assert (made.busy, made.outside, made.idle) == (6_250_000, 18_750_000, 8_333_333)
    assert made.busy_us == MINUTE_US // 4 * 3


def test_time_that_nobody_looked_at_is_idle_and_marked() -> None:
    a = Run("a", 10_000_000, 20_000_000)

    made = minute(a, observed=[Span(0, 5_000_000), Span(30_000_000, 40_000_000)])

    assert made.unobserved_us == 5_000_000 + 10_000_000 + 20_000_000
    assert minute(a).unobserved_us == 0


def test_levels_say_what_it_costs_at_each_number_of_calls_at_once() -> None:
    runs = [
        Run("a", 0, 30_000_000, output=300, first=1),
        Run("b", 15_000_000, 30_000_000, output=300, first=15_000_001),
    ]

    levels = {level.calls: level for level in minute(*runs).levels}

    assert (levels[1].time_us, levels[2].time_us) == (15_000_000, 15_000_000)
    assert (levels[1].output, levels[2].output) == (150, 450)
    assert levels[1].nanousd == levels[2].nanousd == 8_333_333


def test_many_calls_at_once_are_told_apart_by_powers_of_two() -> None:
    assert Counter(level_of(calls) for calls in range(1, 33)) == dict.fromkeys(range(1, 9), 1) | {16: 8, 32: 16}
