"""The split of a difference: parts add up to the nano-dollar, turn their signs with the periods, and go to what changed.

PAIRS=1000 pytest tests/unit/reports/explain/test_split.py: as many random pairs of periods.
"""

from __future__ import annotations

import os
import random
from decimal import Decimal

import pytest

from proxy.reports.explain.split import PARTS, Group, split

PAIRS = int(os.environ.get("PAIRS", "40"))
UNITS = ("input", "cache_read", "cache_write_5m", "output", "reasoning", "web_search", "audio_in")

Period = dict[tuple[str, str], Group]


def period(chance: random.Random) -> Period:
    """Groups of any kind: unpriced ones, free ones, without usage, with costs below 0 or without calls."""
    groups = {}
    for name in chance.sample(range(12), chance.randrange(9)):
        calls = chance.choice([0, 1, 2, 7, 1000, 123_457])
        unpriced = chance.choice([0, 0, 0, calls, calls // 2])
        used = chance.sample(UNITS, chance.randrange(len(UNITS)))
        usage = {unit: Decimal(chance.choice(["1", "0.25", "1000003", "17"])) * max(1, calls) for unit in used}
        cost = chance.choice([0, 1, 7, 10**9 + 1, 123_456_789_012, -5])
        if calls and unpriced == calls and chance.random() < 0.9:
            cost = 0
        priced = {unit: Decimal(chance.choice(["0.1", "2.5", "0"])) for unit in chance.sample(UNITS, 5)}
        groups["customer", str(name)] = Group(cost, calls, unpriced, usage, priced)
    return groups


def test_parts_add_up_and_turn_with_the_periods() -> None:
    chance = random.Random(18)
    for _ in range(PAIRS):
        was, now = period(chance), period(chance)

        there, back = split(was, now), split(now, was)

        for group in {*was, *now}:
            difference = (now[group].cost if group in now else 0) - (was[group].cost if group in was else 0)
            assert sum(there[group].values()) == difference
            assert back[group] == {part: -amount for part, amount in there[group].items() if part not in ("new", "gone")} | {
                "new": -there[group]["gone"], "gone": -there[group]["new"],
            }  # fmt: skip


def test_groups_in_another_order_split_alike() -> None:
    chance = random.Random(3)
    was, now = period(chance), period(chance)

    assert split(was, now) == split(dict(reversed(was.items())), dict(reversed(now.items())))


PRICES = {"input": Decimal(2), "cache_read": Decimal("0.2"), "output": Decimal(10)}


def group(calls: int, fresh: int, cached: int, output: int, *, factor: int = 1, unpriced: int = 0) -> Group:
    """So many calls, each with these tokens, at 2, 0.2 and 10 USD a million (times `factor`)."""
    usage = {"input": Decimal(fresh * calls), "cache_read": Decimal(cached * calls), "output": Decimal(output * calls)}
    usage = {unit: amount for unit, amount in usage.items() if amount}
    each = fresh * 2000 + cached * 200 + output * 10_000
    return Group(each * (calls - unpriced) * factor, calls, unpriced, usage, PRICES)


def only(was: Group, now: Group) -> dict[str, int]:
    (parts,) = split({"g": was}, {"g": now}).values()
    return {part: amount for part, amount in parts.items() if amount}


def test_what_alone_changed_gets_all() -> None:
    """1,000 fresh tokens, 100 out: 3,000,000 nano-USD a call."""
    call = group(10, 1000, 0, 100)
    assert only(call, group(30, 1000, 0, 100)) == {"volume": 60_000_000}
    assert only(call, group(10, 1000, 0, 300)) == {"tokens": 20_000_000}
    assert only(call, group(10, 500, 500, 100)) == {"cache": -9_000_000}
    assert only(call, group(10, 1000, 0, 100, factor=2)) == {"price": 30_000_000}
    assert only(call, group(10, 1000, 0, 100, unpriced=4)) == {"unpriced": -12_000_000}
    assert only(call, call) == {}


def test_a_model_without_a_price_before_is_unpriced_not_dearer() -> None:
    assert only(group(10, 1000, 0, 100, unpriced=10), group(10, 1000, 0, 100)) == {"unpriced": 30_000_000}


def test_two_factors_share_what_both_made_alike() -> None:
    """Twice the calls at twice the price: 3 + 3 for either alone, 3 more for both together."""
    assert only(group(1, 1000, 0, 100), group(2, 1000, 0, 100, factor=2)) == {"volume": 4_500_000, "price": 4_500_000}


def test_mix_is_between_groups_and_volume_over_all_of_them() -> None:
    """Ten calls as before, five of them moved from the cheap group to the dear one."""
    cheap, dear = group(8, 1000, 0, 0), group(2, 10_000, 0, 0)

    parts = split({"cheap": cheap, "dear": dear}, {"cheap": group(3, 1000, 0, 0), "dear": group(7, 10_000, 0, 0)})

    assert {name: {part: a for part, a in of.items() if a} for name, of in parts.items()} == {
        "cheap": {"mix": -10_000_000}, "dear": {"mix": 100_000_000},
    }  # fmt: skip


def test_new_and_gone_are_whole() -> None:
    parts = split({"old": group(2, 1000, 0, 0)}, {"fresh": group(3, 1000, 0, 0)})

    assert parts["old"] == dict.fromkeys(PARTS, 0) | {"gone": -4_000_000}
    assert parts["fresh"] == dict.fromkeys(PARTS, 0) | {"new": 6_000_000}


@pytest.mark.parametrize(("was", "now"), [(10, 11), (11, 10)])
def test_calls_that_say_nothing_of_their_use_are_split_by_number_and_price(was: int, now: int) -> None:
    parts = only(Group(1000, was, 0, {}, {}), Group(1000, now, 0, {}, {}))

    assert sum(parts.values()) == 0
    assert set(parts) == {"volume", "price"}
