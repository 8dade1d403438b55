"""Any history of calls gives the same answers and the same counters, in every store and in the plain model."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from proxy.budgets.memory import MemoryStore
from proxy.budgets.redis.scripts import bucket_of, unbucket
from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import Granted, Moved, Store
from proxy.types import Claim
from tests.contract.model import Model, key_of
from tests.support.examples import tried
from tests.support.redis import RedisServer

NOW = time.time()
DEADLINES = (NOW - 1000, NOW + 100_000)
WINDOWS = ((0, None), (int(NOW) - 5000, int(NOW) + 50_000), (int(NOW) - 5000, int(NOW) - 1000))
NAMES = [f"id-{number}" for number in range(8)]
RUNS = itertools.count()

amounts = st.one_of(st.integers(0, 60), st.sampled_from([2**53 - 1, 9 * 10**15]))
limits = st.one_of(st.integers(1, 100), st.just(9 * 10**15))


@st.composite
def claims(draw: st.DrawFn) -> list[Claim]:
    """Of one call: budgets by name, with changing limits; few groups, so that they meet."""
    made = []
    for budget in draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3)):
        measure = draw(st.sampled_from(["usd", "usd", "tokens"]))
        amount = draw(amounts)
        least = draw(st.none() | st.integers(0, amount)) if measure == "usd" else None
        window = draw(st.sampled_from([WINDOWS[0], WINDOWS[0], WINDOWS[0], WINDOWS[1], WINDOWS[1], WINDOWS[2]]))
        group, limit, hard = draw(st.sampled_from(["", "x"])), draw(limits), draw(st.integers(0, 3)) > 0
        made.append(Claim(budget, group, *window, limit, amount, measure, hard, least is not None, least))
    return made


class Histories(RuleBasedStateMachine):
    """Every rule asks the model and the stores the same thing."""

    def __init__(self, run: asyncio.Runner, shared: RedisStore) -> None:
        super().__init__()
        self._run = run
        self._prefix = f"{next(RUNS)}-"
        self.model = Model()
        self.stores: list[Store] = [MemoryStore(), shared, MemoryStore(most_counters=4)]
        self.claims: dict[str, list[Claim]] = {}
        self.seen: dict[Any, Claim] = {}
        self.ledger: dict[Any, int] = {}
        shared.member.recall = self.recall

    async def recall(self, groups: Sequence[tuple[str, str]]) -> Sequence[tuple[int, int]]:
        """What the ledger has of groups that were dropped."""
        sums = []
        for name, group in groups:
            budget, measure, start = unbucket(name)
            sums.append((self.ledger.get((budget, group, measure, start), 0), 0))
        return sums

    def ask(self, question: str, *arguments: Any) -> Any:
        """The model's answer, after comparing it with the stores'."""
        self.ledger = dict(self.model.spent)  # it has what was, and not yet what is asked for
        expected = getattr(self.model, question)(*arguments)
        for store in self.stores:
            answer = self.wait(getattr(store, question)(*arguments))
            if isinstance(expected, Moved):
                assert isinstance(answer, Moved)
            else:
                assert answer == expected, f"{type(store).__name__} of {question}"
        return expected

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._run.run(work)

    def mine(self, made: Sequence[Claim]) -> list[Claim]:
        mine = [claim._replace(budget=self._prefix + claim.budget) for claim in made]
        self.seen |= {key_of(claim): claim for claim in mine}
        return mine

    @rule(name=st.sampled_from(NAMES), made=claims(), deadline_s=st.sampled_from(DEADLINES))
    def reserve(self, name: str, made: list[Claim], deadline_s: float) -> None:
        again = self._prefix + name in self.model.open  # the same call asks again: with the same claims
        taken = self.claims[name] if again else self.mine(made)
        answer = self.ask("reserve", self._prefix + name, taken, time.time(), deadline_s)
        if isinstance(answer, Granted) and not again:
            self.claims[name] = taken
            for claim in taken:
                standing = self.model.spent[key_of(claim)] + self.model.reserved[key_of(claim)]
                assert not claim.hard or standing <= claim.limit

    @rule(name=st.sampled_from(NAMES), used=st.lists(amounts, min_size=3, max_size=3))
    def settle(self, name: str, used: list[int]) -> None:
        self.ask("settle", self._prefix + name, used[: len(self.claims.get(name, ()))])

    @rule(name=st.sampled_from(NAMES))
    def release(self, name: str) -> None:
        self.ask("release", self._prefix + name)

    @rule(name=st.sampled_from(NAMES), made=claims(), used=st.lists(amounts, min_size=3, max_size=3))
    def charge(self, name: str, made: list[Claim], used: list[int]) -> None:
        known = self.claims.setdefault(name, self.mine(made))
        self.ask("charge", self._prefix + name, known, used[: len(known)])

    @rule()
    def sweep(self) -> None:
        self.ask("sweep", time.time())

    @rule(kept=st.sets(st.sampled_from(["a", "b", "c"]), max_size=2))
    def drop_groups(self, kept: set[str]) -> None:
        """The shared store forgets what nobody has reserved of budgets without an end, and what the ledger has all of."""
        member = self.stores[1].member  # type: ignore[attr-defined]
        self.ledger = dict(self.model.spent)
        for claim in self.seen.values():
            if claim.window_end is None and claim.budget.removeprefix(self._prefix) not in kept:
                said = self.ledger.get(key_of(claim), 0)
                self.wait(member.call("drop", member.epoch, bucket_of(claim), claim.group, said))

    @rule()
    def write_expired(self) -> None:
        expected = {name: sorted((*key, amount) for key, amount in held) for name, held in self.model.unwritten.items()}
        for store in self.stores:
            gone = self.wait(store.expired())
            told = {one.reservation_id: sorted((b, g, m, s, a) for b, g, s, m, a in one.charged) for one in gone}
            assert told == expected, type(store).__name__
            self.wait(store.written(list(told)))
        self.model.unwritten.clear()

    @invariant()
    def counters_are_equal(self) -> None:
        self.ledger = dict(self.model.spent)
        every = list(self.seen.values())
        expected = [(self.model.spent[key_of(claim)], self.model.reserved[key_of(claim)]) for claim in every]
        for store in self.stores:
            standings = self.wait(store.standings_of(every))
            assert [(one.spent, one.reserved) for one in standings] == expected, type(store).__name__

    def teardown(self) -> None:
        shared = self.stores[1]
        for name in NAMES:
            self.wait(shared.release(self._prefix + name))
        self.wait(shared.written([one.reservation_id for one in self.wait(shared.expired())]))


@pytest.mark.needs("redis-server")
def test_every_store_answers_as_the_model(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, asyncio.Runner() as run:

        async def begin() -> tuple[RedisStore, asyncio.Task[None]]:
            shared = RedisStore(server.url, deadline_s=5)
            running = asyncio.create_task(shared.member.run())
            await shared.member.joined.wait()
            await shared.member.open(shared.epoch)
            return shared, running

        shared, running = run.run(begin())
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
        wanted = settings(max_examples=tried(60), stateful_step_count=40, deadline=None, suppress_health_check=checks)
        before = next(RUNS)
        run_state_machine_as_test(lambda: Histories(run, shared), settings=wanted)
        assert next(RUNS) - before > tried(60) / 2
        running.cancel()
        run.run(shared.member.close())
