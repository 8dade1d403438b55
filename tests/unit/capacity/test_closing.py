"""A minute with the server's counters: what calls explain is theirs, what nobody explains is outside, and no edge is anybody's."""

from __future__ import annotations

from proxy.capacity.closing import Carried, close, late, union
from proxy.capacity.rates import Rates, Step
from proxy.capacity.runs import Run, tokens_within
from proxy.capacity.server_metrics import Increase
from proxy.capacity.split import Power, Span, Terms, Weights
from proxy.times import MINUTE_US

TERMS = Terms(Rates([Step(0, 2_000_000_000)], [Step(0, 1)]))
MINUTE = Span(0, MINUTE_US)
S = 1_000_000


def sample(start: int, end: int, prompt: int = 0, output: int = 0, **more: int | float) -> Increase:
    return Increase(start * S, end * S, prompt, 0, prompt, output, **more)  # type: ignore[arg-type]


def test_what_calls_explain_is_not_outside() -> None:
    run = Run("a", 10 * S, 20 * S, input=100, output=50, first=11 * S)

    closed, carried = close(MINUTE, TERMS, [run], [sample(0, 15, 100, 20), sample(15, 60, 0, 30)], None, Carried())

    assert closed.split.outside == 0
    assert (carried.prompt, carried.output) == (0, 0)


def test_what_nobody_explains_is_outside_and_takes_its_time() -> None:
    run = Run("a", 0, 20 * S, output=100)
    samples = [sample(0, 20, 0, 100, running=1), sample(20, 40, 0, 300, running=2), sample(40, 60)]

    closed, _ = close(MINUTE, TERMS, [run], samples, None, Carried())

    made = closed.split
    assert made.busy_us == 40 * S
    assert (made.busy, made.outside, made.idle) == (5_555_556, 16_666_666, 11_111_111)


def test_tokens_that_a_server_counts_before_or_after_we_spread_them_are_nobodys_else() -> None:
    """A call over two minutes: the server counts all of it in the first, then all in the second, then late in the third."""
    run = Run("a", 50 * S, 70 * S, input=1000, output=1000, first=51 * S)
    second, third = Span(MINUTE_US, 2 * MINUTE_US), Span(2 * MINUTE_US, 3 * MINUTE_US)
    for counted in ((1000, 0, 0), (0, 1000, 0), (400, 600, 0)):
        carried, outside = Carried(), 0
        for minute, tokens in zip((MINUTE, second, third), counted, strict=True):
            seen = [Increase(minute.start, minute.end, tokens, 0, tokens, tokens)]
            closed, carried = close(minute, TERMS, [run], seen, None, carried)
            outside += closed.split.outside
        assert outside == 0
        assert (carried.prompt, carried.output) == (0, 0)


def test_a_call_that_ends_with_the_minute_may_be_counted_in_the_next() -> None:
    run = Run("a", 50 * S, 59 * S, output=80)
    _, carried = close(MINUTE, TERMS, [run], [sample(0, 60)], None, Carried())
    assert carried.output == -80

    closed, carried = close(Span(MINUTE_US, 2 * MINUTE_US), TERMS, [], [sample(60, 120, 0, 80)], None, carried)

    assert closed.split.outside == 0
    assert carried.output == 0


def counted(start: int, end: int, prompt: int, cached: int, output: int = 0) -> Increase:
    return Increase(start * S, end * S, prompt, cached, prompt - cached, output)


def test_cached_input_that_calls_are_not_told_of_is_the_caches() -> None:
    """What a vLLM without its flag says: its calls' prompts have all of it as input."""
    told = [Run("a", 0, 20 * S, 360, 640, 100, S), Run("b", 20 * S, 40 * S, 500, 0, 100, 21 * S)]
    untold = [run._replace(input=run.input + run.cache_read, cache_read=0) for run in told]
    samples = [counted(0, 20, 1000, 640, 100), counted(20, 60, 500, 0, 100)]

    right, _ = close(MINUTE, TERMS, told, samples, None, Carried())
    made, carried = close(MINUTE, TERMS, untold, samples, None, Carried())

    assert (made.split.saved_nanousd, made.split.input_nanousd) == (
        right.split.saved_nanousd,
        right.split.input_nanousd,
    )
    assert made.split.saved_nanousd > 0
    assert (made.server["untold"], right.server.get("untold")) == (640, None)
    assert (made.split.outside, carried.cached) == (0, 0)


def test_what_others_had_from_the_cache_is_not_the_calls() -> None:
    run = Run("a", 0, 20 * S, 1000, 0, 100, S)
    made, _ = close(MINUTE, TERMS, [run], [counted(0, 60, 3000, 2000, 100)], None, Carried())
    assert "untold" not in made.server
    assert made.split.saved_nanousd == 0
    made, _ = close(MINUTE, TERMS, [run], [counted(0, 60, 1600, 1200, 100)], None, Carried())
    assert made.server["untold"] == 600  # the others' 600 may all have been cached


def test_what_is_cached_is_counted_once_whichever_minute_counts_it() -> None:
    run = Run("a", 50 * S, 70 * S, input=0, cache_read=1000, output=10, first=62 * S)
    for amounts in ((1000, 0), (0, 1000), (500, 500)):
        carried = Carried()
        for minute, cached in enumerate(amounts):
            span = Span(minute * MINUTE_US, (minute + 1) * MINUTE_US)
            samples = [counted(60 * minute, 60 * minute + 60, cached, cached, 10 * minute)]
            closed, carried = close(span, TERMS, [run], samples, None, carried)
            assert "untold" not in closed.server
        assert carried.cached == 0


def test_the_ratio_of_input_to_output_is_the_servers_once_it_has_enough_to_say() -> None:
    run = Run("a", 0, 60 * S, input=1000, output=250)
    times = {"prefill_us": 10 * S, "decode_us": 10 * S}

    closed, carried = close(MINUTE, TERMS, [run], [sample(0, 60, 1000, 250, **times)], None, Carried())
    again, _ = close(Span(MINUTE_US, 2 * MINUTE_US), TERMS, [], [], None, carried)
    unknown, _ = close(MINUTE, TERMS, [run], [sample(0, 60, 1000, 250)], None, Carried())

    assert closed.weights == Weights(10_000_000, 40_000_000, True)
    assert again.weights.measured
    assert unknown.weights == Weights(1, 4, False)


def test_stated_watts_go_by_what_runs_and_a_meter_by_what_it_says() -> None:
    run = Run("a", 0, 15 * S, output=10)
    stated = TERMS._replace(milliwatts=(700_000, 80_000), rates=Rates([Step(0, 1)], [Step(0, 2)]))
    metered = TERMS._replace(metered=True)

    closed, _ = close(MINUTE, stated, [run], [], None, Carried())
    assert closed.split.power == Power(2 * 15 * 700_000, 2 * 45 * 80_000, False)
    assert closed.split.shares["a"].millijoules == 21_000_000

    closed, _ = close(
        MINUTE, metered, [run],
        [Increase(0, 30 * S, millijoules=1000), Increase(30 * S, 60 * S, millijoules=400)], None, Carried(),
    )  # fmt: skip
    assert closed.split.power == Power(500, 900, True)

    closed, _ = close(MINUTE, metered, [run], [Increase(0, 30 * S, millijoules=1000)], None, Carried())
    assert closed.split.power is None
    assert closed.split.shares["a"].millijoules is None


def test_a_call_that_comes_late_has_only_what_was_idle() -> None:
    run = Run("a", 0, 60 * S)

    assert late(run, MINUTE, idle_us=60 * S, idle_nanousd=33) == (60 * S, 60 * S, 33)
    assert late(run, MINUTE, idle_us=15 * S, idle_nanousd=33) == (60 * S, 15 * S, 33)
    assert late(run, MINUTE, idle_us=0, idle_nanousd=0) == (60 * S, 0, 0)
    assert late(run._replace(end=30 * S), MINUTE, idle_us=60 * S, idle_nanousd=33).nanousd == 16


def test_a_union_is_in_order_and_apart() -> None:
    assert union([Span(5, 7), Span(0, 2), Span(2, 3), Span(6, 9), Span(4, 4)]) == [Span(0, 3), Span(5, 9)]


def test_a_call_of_one_moment_has_its_tokens_in_one_minute() -> None:
    run = Run("a", MINUTE_US - 1, MINUTE_US, input=5, output=7, first=MINUTE_US)

    assert tokens_within(run, 0, MINUTE_US) == (5, 0, 7)
    assert tokens_within(run, MINUTE_US, 2 * MINUTE_US) == (0, 0, 0)
