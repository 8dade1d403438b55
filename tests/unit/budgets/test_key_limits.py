"""Limits of keys are budgets in which only those keys count, each with a limit of its own."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from proxy.budgets.budget import Amounts, BudgetIndex, Raise
from proxy.budgets.key_limits import WINDOWS, KeyLimits, key_budgets
from proxy.config.checks import load_config
from proxy.config.problems import ConfigError
from proxy.control.runtime_settings import runtime_settings
from proxy.ledger.database import open_ledger
from proxy.ledger.planes import keys
from proxy.types import Identity, Route

ROUTE = Route("m", "up", "p", "m")
AMOUNTS = Amounts(5, {"input": 7})


def taken(index: BudgetIndex, key: str, *, trusted: bool = False) -> dict[str, tuple[str, int]]:
    """Budget -> the group and the limit of what a call of this key takes."""
    identity = Identity(key_id=key, key=key, trust_labels=trusted)
    _, claims = index.claims(identity, ROUTE, {"key": key}, AMOUNTS, 1_800_000_000.0)
    return {claim.budget: (claim.group, claim.limit) for claim in claims}


@pytest.mark.parametrize("trusted", [False, True])
def test_each_key_counts_in_its_own_limits_and_no_other_key_does(*, trusted: bool) -> None:
    limits = [
        KeyLimits("a", 100, "month", 60, None),
        KeyLimits("b", 200, "month", None, 1000),
        KeyLimits("c*", 300, "day"),
        KeyLimits("d", requests_a_minute=5),
        KeyLimits("e", 0, "month"),
    ]
    index = BudgetIndex(key_budgets(limits, [Raise("key:month", "a", 7, None), Raise("key:day", None, 1, None)]))
    assert taken(index, "a", trusted=trusted) == {"key:month": ("a", 107), "key:rpm": ("a", 60)}
    assert taken(index, "b", trusted=trusted) == {"key:month": ("b", 200), "key:tpm": ("b", 1000)}
    assert taken(index, "c*", trusted=trusted) == {"key:day": ("c*", 301)}
    assert taken(index, "cat", trusted=trusted) == {}
    assert taken(index, "d", trusted=trusted) == {"key:rpm": ("d", 5)}
    assert taken(index, "e", trusted=trusted) == {"key:month": ("e", 0)}
    assert taken(index, "", trusted=trusted) == {}


def test_of_many_raises_each_group_has_its_own_and_those_of_all() -> None:
    chance = random.Random(1)
    groups = [None, *"abcdef"]
    raised = [
        Raise("key:month", chance.choice(groups), chance.randrange(1, 9), chance.choice([None, 5.0, 15.0]))
        for _ in range(200)
    ]
    (budget,) = key_budgets([KeyLimits(name, 100, "month") for name in "abc"], raised)
    for group in "abcdef":
        for now_s in (4.0, 5.0, 20.0):
            more = [one.by for one in raised if one.group in (None, group) and now_s < (one.until_s or now_s + 1)]
            assert budget.limit_for(group, now_s) == 100 + sum(more)


def test_what_a_budget_counts_is_the_same_whoever_has_a_key() -> None:
    definitions = {key_budgets([KeyLimits(name, 5, window)])[0].definition for window in WINDOWS for name in ("a", "b")}
    assert len(definitions) == len(WINDOWS)


def test_a_revoked_key_leaves_its_budget_and_no_limit(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    keys.create_key(engine, "plain")
    assert runtime_settings(engine).limits == []
    for name in ("gone", "gone-too", "lives"):
        keys.create_key(engine, name, limits=keys.limits_named(name, "0.5", "week", 3))
    keys.create_key(engine, "once", limits=keys.limits_named("once", "0.25", tpm=10))
    for name in ("gone", "gone-too", "once"):
        keys.revoke_key(engine, name)
    made = runtime_settings(engine)
    assert len([limit for limit in made.limits if not limit.live]) == 2
    budgets = {budget.name: budget for budget in key_budgets(made.limits)}
    assert list(budgets) == ["key:week", "key:total", "key:rpm", "key:tpm"]
    assert {name: set(budget.keys or ()) for name, budget in budgets.items()} == {
        "key:week": {"lives"}, "key:total": set(), "key:rpm": {"lives"}, "key:tpm": set(),
    }  # fmt: skip
    rotated = keys.rotate_key(engine, "lives", grace_s=60)
    assert rotated is not None
    assert (rotated[0]["budget_usd"], rotated[0]["budget_window"], rotated[0]["rpm"]) == ("0.5", "week", 3)
    assert [limit.nanousd for limit in runtime_settings(engine).limits if limit.live] == [500_000_000] * 2
    engine.dispose()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"budget_usd": "-1"}, "finite amount"),
        ({"budget_usd": "NaN"}, "finite amount"),
        ({"budget_usd": "much"}, "not an amount"),
        ({"budget_usd": "0.0000000001"}, "nano-dollar"),
        ({"budget_usd": "1e9"}, "at most"),
        ({"budget_usd": "1", "window": "fortnight"}, "minute, hour, day, week, month, total"),
        ({"rpm": 0}, "whole number"),
        ({"tpm": 2**60}, "whole number"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(keys.KeyProblem, match=said):
        keys.limits_named("k", **given)  # type: ignore[arg-type]  # as a form has it


def test_no_configured_budget_has_such_a_name(tmp_path: Path) -> None:
    file = tmp_path / "taximeter.yaml"
    file.write_text("budgets: [{name: 'key:month', limit_usd: 1, window: month}]\n")
    with pytest.raises(ConfigError) as refused:
        load_config(file, {})
    assert "budgets[0].name" in str(refused.value)
