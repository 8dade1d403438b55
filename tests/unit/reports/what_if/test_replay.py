"""Another gateway's log against budgets of ours."""

from __future__ import annotations

from typing import Any

from proxy.access.keys import identity_of
from proxy.budgets.budget import compile_budgets
from proxy.config import model as config
from proxy.config.reading import read_section
from proxy.money import NANO
from proxy.reports.what_if.replay import LoggedCall, Replayed, replay

DAY = 1_800_000_000 // 86_400 * 86_400.0


def call(at_s: float, usd: float, key: str = "a", customer: str | None = None) -> LoggedCall:
    return LoggedCall(DAY + at_s, key * 64, int(usd * NANO), 1000, "gpt-5", "openai", customer)


def replayed(budgets: list[dict[str, Any]], calls: list[LoggedCall], **key: Any) -> Replayed:
    keys = [read_section(config.Key, {"name": name, "key_sha256": name * 64, "team": "search", **key}) for name in "ab"]
    rows = [read_section(config.Budget, {"name": f"b{number}", **row}) for number, row in enumerate(budgets)]
    return replay(compile_budgets(rows), {key.key_id: identity_of(key) for key in keys}, calls)


def test_what_is_refused_counts_nowhere() -> None:
    """Of 5 USD a day 4 are spent: 2 do not fit, 1 does, and it does on the next day again. The other budget has 1 of 2 calls."""
    made = replayed(
        [
            {"match": {"team": "search"}, "limit_usd": 5, "window": "day"},
            {"per": ["key"], "limit_requests": 3, "window": "day"},
        ],
        [call(0, 4), call(1, 2), call(2, 1), call(3, 0.5, "b"), call(86_400, 5), call(86_401, 0, "c")],
    )

    assert (made.calls, made.refused, made.refused_nanousd / NANO, made.unknown) == (6, 2, 2.5, 1)
    assert [(one.budget.name, one.calls, one.nanousd / NANO, one.first_at_s) for one in made.exceeded] == [
        ("b0", 2, 2.5, DAY + 1)
    ]


def test_a_warning_refuses_nothing() -> None:
    made = replayed([{"limit_usd": 1, "window": "total", "action": "warn"}], [call(0, 1), call(1, 1), call(2, 1)])

    assert (made.refused, [one.calls for one in made.exceeded]) == (0, [2])


def test_tokens_of_a_minute() -> None:
    made = replayed([{"limit_tokens": 2000, "window": "minute"}], [call(second, 1) for second in (0, 1, 59, 60)])

    assert made.refused == 1


def test_a_customer_counts_where_the_key_is_trusted() -> None:
    budget = {"match": {"customer": "acme"}, "limit_usd": 1, "window": "day"}

    assert replayed([budget], [call(0, 2, customer="acme")]).refused == 0
    assert replayed([budget], [call(0, 2, customer="acme")], trust_labels=True).refused == 1
