"""Random nests of budgets under random calls, judged by a bill that the upstream keeps: the invariants of proxy/CONTRACT.md.

The bill is added up here, apart from the product: what each answer cost, under which key, team, user, customer and
session. At every instant each hard budget's bill stays within its limit; a refusal is only right where the call would not
have fitted with nothing in flight; in the end nothing is reserved and every counter is the sum of its calls.

`TAXIMETER_NESTS=100` runs that many seeds of 2,000 calls; as it stands, a few short ones.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.flow.house import House, whole

LONG = int(os.environ.get("TAXIMETER_NESTS", "0"))
SEEDS = range(1, (LONG or 4) + 1)
CALLS = 2000 if LONG else 250
NANO = 1_000_000_000
INPUT_NANO, OUTPUT_NANO = 1_000, 5_000  # a token
TEMPLATE_TOKENS = 128 + 16
LEAST_TOKENS = 1024  # below which no cap is lowered
SCOPES = ("key", "team", "user", "customer", "session")


class Bill:
    """What the upstream charged, by budget and group, in nano-dollars, tokens and calls."""

    def __init__(self, budgets: list[dict[str, Any]]) -> None:
        self.budgets = budgets
        self.totals: Counter[tuple[str, str]] = Counter()
        self.most_over = 0

    def counters(self, who: dict[str, str]) -> list[tuple[dict[str, Any], tuple[str, str]]]:
        return [
            (budget, (budget["name"], "|".join(who[name] for name in budget.get("per", ()))))
            for budget in self.budgets
            if all(who[name] in wanted for name, wanted in budget.get("match", {}).items())
        ]

    def charge(self, who: dict[str, str], tokens_in: int, tokens_out: int) -> None:
        for budget, counter in self.counters(who):
            cost = tokens_in * INPUT_NANO + tokens_out * OUTPUT_NANO
            amounts = {"limit_usd": cost, "limit_tokens": tokens_in + tokens_out, "limit_requests": 1}
            kind = next(kind for kind in amounts if kind in budget)
            self.totals[counter] += amounts[kind]
            if budget["action"] == "block":
                self.most_over = max(self.most_over, self.totals[counter] - limit_of(budget))

    def fits(self, who: dict[str, str], least: dict[str, int]) -> bool:
        """Whether a call that takes at most `least` fits with nothing in flight."""
        return all(
            budget["action"] != "block"
            or self.totals[counter] + next(least[kind] for kind in least if kind in budget) <= limit_of(budget)
            for budget, counter in self.counters(who)
        )


def limit_of(budget: dict[str, Any]) -> int:
    return (
        round(float(budget["limit_usd"]) * NANO)
        if "limit_usd" in budget
        else int(budget.get("limit_tokens") or budget["limit_requests"])
    )


def nest(rng: random.Random) -> list[dict[str, Any]]:
    budgets: list[dict[str, Any]] = [
        {
            "name": "all",
            "limit_usd": f"{rng.uniform(0.3, 1):.6f}",
            "window": "total",
            "action": "block",
            "ceiling": "strict",
        }
    ]
    for number in range(rng.randint(2, 5)):
        budget: dict[str, Any] = {
            "name": f"b{number}",
            "window": "total",
            "action": rng.choice(["block", "block", "warn"]),
            "ceiling": "strict",
        }
        kind = rng.choice(["limit_usd", "limit_usd", "limit_usd", "limit_tokens", "limit_requests"])
        budget[kind] = {
            "limit_usd": f"{rng.uniform(0.02, 0.3):.6f}",
            "limit_tokens": rng.randint(20_000, 200_000),
            "limit_requests": rng.randint(5, 60),
        }[kind]
        if rng.random() < 0.7:
            budget["per"] = rng.sample(SCOPES, rng.randint(1, 2))
        if rng.random() < 0.4:
            budget["match"] = {"team": ["t0", "t1"]} if rng.random() < 0.5 else {"key": ["k0", "k2"]}
        budgets.append(budget)
    return budgets


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
async def test_no_nest_is_passed_and_none_refuses_what_fits(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    budgets = nest(rng)
    keys = [
        {
            "name": f"k{n}",
            "key": f"sk-test-nest-{n:012d}",
            "team": f"t{n % 2}",
            "user": f"u{n % 3}",
            "customer": f"c{n % 4}",
        }
        for n in range(5)
    ]
    house = House(
        tmp_path,
        budgets=budgets,
        keys=keys,
        prices=[{"provider": "acme", "model": "m", "input": "1", "output": "5"}],
        server={"busy_wait_s": 5},
    )
    bill = Bill(budgets)
    wrong: list[str] = []

    wanted: dict[str, tuple[dict[str, str], int, float, int]] = {}

    async def answer(body: dict[str, Any]) -> Any:
        who, tokens_in, share, naps = wanted[body["messages"][0]["content"].split()[0]]
        for _ in range(naps):
            await asyncio.sleep(0)
        tokens_out = max(1, int(body["max_tokens"] * share))
        bill.charge(who, tokens_in, tokens_out)
        return whole(usage={"prompt_tokens": tokens_in, "completion_tokens": tokens_out})

    house.answering = answer

    async def one(number: int) -> None:
        key = rng.choice(keys)
        who = {name: key[name] for name in ("team", "user", "customer")} | {"key": key["name"]}
        who["session"] = f"{key['team']}-s{rng.randint(0, 4)}"
        text, cap = f"{number} " + "x" * rng.randint(1, 3000), rng.choice([50, 500, 2000])
        wanted[str(number)] = who, rng.randint(1, len(text) + 20), rng.random(), rng.randint(0, 6)
        messages = [{"role": "user", "content": text}]
        session = {"x-taximeter-session-id": who["session"]}
        told = await house.ask(key=key["key"], headers=session, messages=messages, max_tokens=cap)
        if told.status == 402 or (told.status == 429 and told.code != "budget_busy"):
            tokens = len(orjson.dumps({"model": "m", "messages": messages, "max_tokens": cap})) + TEMPLATE_TOKENS
            least = {
                "limit_usd": tokens * INPUT_NANO + min(cap, LEAST_TOKENS) * OUTPUT_NANO,
                "limit_tokens": tokens + cap,
                "limit_requests": 1,
            }
            if bill.fits(who, least):
                wrong.append(f"call {number} of {who} was refused, and would have fitted")
        elif told.status not in (200, 429):
            wrong.append(f"call {number}: {told.status} {told.body!r}")

    pending = [one(number) for number in range(CALLS)]
    while pending:
        batch, pending = pending[:25], pending[25:]
        await asyncio.gather(*batch)
    assert wrong == []
    assert bill.most_over <= 0
    standings = house.plane.store.standings()
    assert all(standing.reserved == 0 for standing in standings)
    counted = {
        (one.budget, "|".join(orjson.loads(one.group)) if one.group.startswith("[") else one.group): one.spent
        for one in standings
    }
    assert {counter: spent for counter, spent in counted.items() if spent} == dict(bill.totals)
    ends = Counter(record["t"] for record in house.records() if record["t"] in ("intent", "settle", "void", "refused"))
    assert ends["intent"] == ends["settle"] + ends["refused"] == CALLS
    assert ends["settle"] == len(house.sent)
    house.plane.spool.close()
