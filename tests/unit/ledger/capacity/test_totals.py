"""The sums that metrics show: none falls, and the parts come to the cost, late calls or not."""

from __future__ import annotations

import random
from collections.abc import Mapping

from proxy.capacity.closing import Carried, close
from proxy.capacity.rates import Rates, Step
from proxy.capacity.runs import Run, Tokens
from proxy.capacity.split import Span, Terms
from proxy.ledger.capacity.totals import Totals
from proxy.times import MINUTE_US
from tests.support.rows import each_row

TERMS = Terms(Rates([Step(0, 10**10)], [Step(0, 1)]), milliwatts=(7000, 800))


class Dear:
    """A nano-dollar a token, and as much again for each beyond a hundred of a call's input."""

    def nanousd(self, tokens: Tokens) -> Mapping[str, int]:
        return {"m": sum(tokens)}

    def beyond(self, call: Tokens) -> Mapping[str, int]:
        return {"m": max(0, call.input - 100)}


@each_row("seed", range(20))
def test_the_parts_come_to_the_cost_and_nothing_falls(seed: int) -> None:
    chance, stored, cost, late, tokens = random.Random(seed), {}, 0, 0, 0
    owed = 0
    for minute in range(60):
        span = Span(minute * MINUTE_US, (minute + 1) * MINUTE_US)
        runs = [
            Run(
                f"{n}",
                span.start + chance.randrange(MINUTE_US),
                span.end,
                chance.randrange(300),
                0,
                chance.randrange(30),
            )
            for n in range(chance.randrange(3))
        ]
        closed, _ = close(span, TERMS, runs, (), None, Carried())
        totals = Totals(stored, Dear())
        if minute and chance.random() < 0.2:
            had = chance.randrange(10**8)
            late += had
            tokens += 50
            totals.add_late(had, Tokens(40, 0, 10))
        totals.add_minute(closed)
        for run in runs:
            totals.add_call(Tokens(run.input, 0, run.output))
        before, stored = stored, totals.stored()
        cost += closed.split.cost
        tokens += sum(run.input + run.output + max(0, run.input - 100) for run in runs)
        owed = stored["owed"]
        assert stored["busy"] + stored.get("late", 0) + stored["idle"] + stored["outside"] - owed == cost
        assert owed >= 0
        assert all(stored[name] >= before.get(name, 0) for name in stored if name not in ("owed", "elsewhere"))
    assert (stored.get("late", 0), stored["elsewhere"]) == (late, {"m": tokens})
    assert stored["millijoules"] > 0


def test_a_late_call_is_out_of_the_next_idle_time() -> None:
    totals = Totals({"busy": 5, "idle": 10**9}, None)
    totals.add_late(1000, Tokens(1, 2, 3))
    closed, _ = close(Span(0, MINUTE_US), TERMS, (), (), None, Carried())
    totals.add_minute(closed)

    stored = totals.stored()
    assert (stored["busy"], stored["late"], stored["owed"]) == (5, 1000, 0)
    assert stored["idle"] == 10**9 + closed.split.cost - 1000
    assert (stored["input"], stored["cache_read"], stored["output"]) == (1, 2, 3)
