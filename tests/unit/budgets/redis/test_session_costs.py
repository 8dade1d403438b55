"""What is said of a session's cost between two answers of Redis, and what is told."""

from __future__ import annotations

from proxy.budgets.redis import session_costs
from proxy.budgets.redis.session_costs import FRESH_S, SharedSessionCosts


def test_what_was_said_lately_and_what_came_since_is_the_total() -> None:
    costs = SharedSessionCosts()
    costs.add("a", 5)
    assert costs.total("a", 10.0) is None
    assert costs.take("a") == [("a", 5)]
    costs.note_totals(["a"], [45], 10.0, "a")
    costs.add("a", 3)
    assert costs.total("a", 10.0 + FRESH_S) == 48
    assert costs.total("a", 10.1 + FRESH_S) is None


def test_everything_is_told_once_some_at_a_time() -> None:
    costs = SharedSessionCosts()
    for number in range(1000):
        costs.add(f"s{number % 700}", 1)
    told: dict[str, int] = {}
    for some in costs.take_all():
        assert not set(told) & {name for name, _ in some}
        told |= dict(some)
    assert (len(told), sum(told.values())) == (700, 1000)
    assert list(costs.take_all()) == []


def test_what_comes_while_some_is_told_waits_for_the_next_time() -> None:
    """Whoever told all there was went round and round for as long as there were calls."""
    costs = SharedSessionCosts()
    for number in range(500):
        costs.add(f"s{number}", 1)
    told = costs.take_all()
    first = next(told)
    costs.add("new", 1)
    assert costs.take("s499") == [("s499", 1)]  # somebody waits for that one
    assert len(first) + len(next(told)) == 499
    assert list(told) == []
    assert list(costs.take_all()) == [[("new", 1)]]


def test_a_store_that_is_away_for_long_costs_bounded_memory() -> None:
    costs = SharedSessionCosts()
    for number in range(session_costs._MOST + 50):
        costs.add(f"s{number}", 1)
    kept = [pair for some in costs.take_all() for pair in some]
    assert len(kept) == session_costs._MOST
    assert kept[-1] == (f"s{session_costs._MOST + 49}", 1)
