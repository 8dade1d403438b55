"""Several data planes lease slices of the same counters, while messages are lost, planes die and epochs end: whatever happens,
nothing passes a limit, and in the end the counters are what was settled.

What a spool would know is kept in lists here: every end with its lease, as `exchange/attempt.py` records it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from proxy.budgets.redis.leased import LeasedStore, LeaseTerms
from proxy.budgets.redis.link import Link, LinkLost
from proxy.budgets.redis.scripts import scripts
from proxy.budgets.redis.store import LeasedEnd, RedisStore
from proxy.budgets.store import Denied, Granted, Moved, StoreUnavailable
from proxy.types import Claim
from tests.support.redis import RedisServer

RUNS = itertools.count()
SEEN: list[int] = []  # how many calls leases answered, in each history
LATER = time.time() + 3000
LIMITS = {"wide": 60_000, "team": 40_000, "key": 25_000}
_MOST_CALLS = 150
_REPORT_TAKES_S = 0.2
SHARE = 0.5  # of a limit that may be leased and free: much, so that leases matter


class End(NamedTuple):
    id: str
    epoch: str
    report: int | None
    claims: Sequence[Claim]


class Plane:
    """A data plane: its end of the store, and its spool."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.store = LeasedStore(url, LeaseTerms(name, SHARE, 3600), on_epoch=self._mark, deadline_s=5)
        self.running = asyncio.create_task(self.store.member.run())
        self.open: dict[str, list[Claim]] = {}
        self.ends: list[End] = []
        self.marks: dict[str, int] = {}
        self.loses = ""
        self.report_ends = ""  # how the next report does, once `go_on` is set: "answered", or what of it is lost
        self.go_on = asyncio.Event()

    def _mark(self, epoch: str) -> None:
        self.marks[epoch] = len(self.ends)

    async def up(self) -> None:
        """Connected, and its next messages go wrong as they are told to."""
        await asyncio.wait_for(self.store.member.ready.wait(), 5)
        link = self.store.member._link
        assert link is not None
        if not isinstance(link.call, _Lossy):
            link.call = _Lossy(link, self)  # type: ignore[method-assign]

    async def end(self) -> None:
        self.running.cancel()
        link = self.store.member._link
        if link is not None:
            link.close()


class _Lossy:
    """A link that loses a request, or an answer, and is lost with it."""

    def __init__(self, link: Link, plane: Plane) -> None:
        self._link, self._plane, self._call = link, plane, link.call

    def __call__(self, *command: Any) -> Any:
        if self._plane.report_ends and command[1] == scripts()["lease"][0]:
            how, self._plane.report_ends = self._plane.report_ends, ""
            return self._under_way(how, command)
        loses, self._plane.loses = self._plane.loses, ""
        if not loses:
            return self._call(*command)
        if loses == "request":
            self._link.close()
            raise LinkLost
        return self._lose_answer(self._call(*command))

    async def _under_way(self, how: str, command: Any) -> Any:
        """A report that takes its time: calls go on meanwhile."""
        answer = None if how == "request" else await self._call(*command)
        await self._plane.go_on.wait()
        if how != "answered":
            self._link.close()
            raise LinkLost
        return answer

    async def _lose_answer(self, answer: Any) -> None:
        await answer
        self._link.close()
        raise LinkLost


async def asked(plane: Plane, question: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """The answer, or None where it was lost."""
    await plane.up()
    try:
        return await question()
    except StoreUnavailable:
        return None
    finally:
        await plane.up()


class Instances(RuleBasedStateMachine):
    def __init__(self, run: asyncio.Runner, url: str, control: RedisStore) -> None:
        super().__init__()
        self._run, self._url, self._control = run, url, control
        self._prefix = f"{next(RUNS)}-"
        self._ids = itertools.count()
        self.planes: list[Plane] = []
        self.dead: list[tuple[Plane, bool]] = []
        self.buried: list[Plane] = []
        self.others: dict[str, list[Claim]] = {}
        for who in range(3):
            self.begin()
            self.is_lively(who, 12, 10)

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._run.run(work)

    def claims(self, amount: int, names: Sequence[str]) -> list[Claim]:
        return [Claim(self._prefix + name, "", 0, None, LIMITS[name], amount, "usd", True) for name in names]

    def begin(self) -> None:
        async def up() -> Plane:
            plane = Plane(self._url, f"{self._prefix}run-{next(self._ids)}")
            await plane.up()
            return plane

        self.planes.append(self.wait(up()))

    def ask(self, plane: Plane, question: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return self.wait(asked(plane, question))

    # What happens

    @rule(who=st.integers(0, 2), count=st.integers(8, 16), amount=st.integers(1, 30))
    def is_lively(self, who: int, count: int, amount: int) -> None:
        """So many calls between two reports that leases are worth while; nobody waits for room any more."""
        self.wait(self._control.member.command("DEL", self._control.member.name("waited")))
        self.calls_begin(who, count, amount, 3)
        self.calls_end(who, count // 2, 50, 1)
        self.reports(who)
        self.calls_begin(who, count // 2, amount, 3)

    @rule(
        who=st.integers(0, 2),
        count=st.integers(1, 12),
        amount=st.sampled_from([1, 5, 20, 30, 3000]),
        deep=st.integers(1, 3),
    )
    def calls_begin(self, who: int, count: int, amount: int, deep: int) -> None:
        plane = self.planes[who]
        for _ in range(count):
            self.wait(self._call_begins(plane, amount, deep))

    async def _call_begins(self, plane: Plane, amount: int, deep: int) -> None:
        name, claims = f"{self._prefix}{next(self._ids)}", self.claims(amount, list(LIMITS)[:deep])
        verdict = await asked(plane, lambda: plane.store.reserve(name, claims, time.time(), LATER))
        assert not isinstance(verdict, Moved)
        if isinstance(verdict, Granted):
            plane.open[name] = claims
        elif verdict is None:
            await asked(plane, lambda: plane.store.release(name))  # what an attempt does then
        else:
            assert isinstance(verdict, Denied)

    @rule(who=st.integers(0, 2), count=st.integers(1, 12), part=st.integers(0, 100), lost=st.integers(0, 9))
    def calls_end(self, who: int, count: int, part: int, lost: int) -> None:
        plane = self.planes[who]
        for name in list(plane.open)[:count]:
            self.wait(self._call_ends(plane, name, part, lost=lost == 0))

    async def _call_ends(self, plane: Plane, name: str, part: int, *, lost: bool) -> None:
        claims = plane.open.pop(name)
        if lost:
            await asked(plane, lambda: plane.store.release(name))
            return
        used = [claim._replace(amount=claim.amount * part // 100) for claim in claims]
        plane.ends.append(End(name, plane.store.epoch, plane.store.lease(name).report, used))
        await asked(plane, lambda: plane.store.settle(name, [claim.amount for claim in used]))

    @rule(who=st.integers(0, 2))
    def reports(self, who: int) -> None:
        plane = self.planes[who]
        plane.store.leases.measure()
        self.ask(plane, plane.store._tell)

    @rule(
        who=st.integers(0, 2),
        began=st.integers(0, 8),
        ended=st.integers(0, 12),
        part=st.sampled_from([0, 50, 100]),
        how=st.sampled_from(["answered", "answered", "answer", "request"]),
        dies=st.booleans(),
        crowded=st.booleans(),
    )
    def calls_go_on_while_a_report_is_under_way(
        self, who: int, began: int, ended: int, part: int, how: str, dies: bool, crowded: bool
    ) -> None:
        """What they begin and end belongs to the next report, whatever becomes of this one; and of a process that dies then.
        crowded: others have all the rest, so that what is free here may stay, and no more is given."""
        plane = self.planes[who]
        self.is_lively(who, 12, 20)
        self.reports(who)  # now there is something free
        self.calls_end(who, 3, 50, 1)
        others = self._others_reserve("key", 0) if crowded else None

        async def calls() -> None:
            for _ in range(began):
                await self._call_begins(plane, 20, 3)
            for name in list(plane.open)[-ended:] if ended else ():
                await self._call_ends(plane, name, part, lost=False)

        async def both() -> None:
            await plane.up()
            plane.report_ends, plane.loses = how, ""
            plane.go_on.clear()
            telling = asyncio.create_task(plane.store._tell())
            await asyncio.sleep(0)
            going_on = asyncio.create_task(calls())
            await asyncio.wait([going_on], timeout=_REPORT_TAKES_S)  # one that wants room waits for the report
            plane.go_on.set()
            await asyncio.gather(telling, going_on)
            plane.report_ends = ""
            await plane.up()

        self.wait(both())
        self.nothing_passes_a_limit()
        if others is not None:
            self._others_end(others)
        if dies:
            self.dies(who)
        else:
            self.uses_its_leases_up(who, 20)
            self.reports(who)

    @rule(who=st.integers(0, 2), amount=st.sampled_from([20, 100]))
    def uses_its_leases_up(self, who: int, amount: int) -> None:
        """Whatever it takes for free is in flight now: had it too much of it, a limit would be passed, or Redis know less."""
        plane = self.planes[who]
        before = plane.store.asked_calls
        for _ in range(_MOST_CALLS):
            self.wait(self._call_begins(plane, amount, 3))
            if plane.store.asked_calls > before:
                break
        self.nothing_passes_a_limit()

    @rule(who=st.integers(0, 2), left=st.sampled_from([0, 100, 600]))
    def somebody_reserves_nearly_all(self, who: int, left: int) -> None:
        """What others have reserved is no room for leases."""
        others = self._others_reserve("key", left)
        self.is_lively(who, 16, 30)
        self.reports(who)
        self.nothing_passes_a_limit()
        self._others_end(others)

    def _others_reserve(self, budget: str, left: int) -> str:
        """All of it but so much; the reservation's id."""
        name = f"{self._prefix}{next(self._ids)}"
        spent, reserved = self.standing(budget)
        claims = self.claims(max(0, LIMITS[budget] - spent - reserved - left), [budget])
        if claims[0].amount:
            assert isinstance(self.wait(self._control.reserve(name, claims, time.time(), LATER)), Granted)
            self.others[name] = claims
        return name

    def _others_end(self, name: str) -> None:
        if self.others.pop(name, None) is not None:
            self.wait(self._control.release(name))

    @rule(who=st.integers(0, 2), what=st.sampled_from(["request", "answer"]))
    def loses_a_report(self, who: int, what: str) -> None:
        self.calls_end(who, 4, 50, 1)
        self.planes[who].loses = what
        self.reports(who)
        self.reports(who)

    @rule(who=st.integers(0, 2), what=st.sampled_from(["request", "answer"]))
    def loses_a_message(self, who: int, what: str) -> None:
        self.planes[who].loses = what

    @rule(who=st.integers(0, 2), count=st.integers(8, 16), what=st.sampled_from(["", "", "request", "answer"]))
    def lives_and_dies(self, who: int, count: int, what: str) -> None:
        """Some of its ends are told, some may be, and some are not."""
        self.is_lively(who, count, 20)
        self.calls_end(who, count // 2, 60, 1)
        self.planes[who].loses = what
        self.reports(who)
        self.calls_begin(who, 3, 20, 3)
        self.calls_end(who, 2, 60, 1)
        self.dies(who)

    @rule(who=st.integers(0, 2))
    def dies(self, who: int) -> None:
        plane = self.planes[who]
        self.wait(plane.end())
        self.dead.append((plane, False))
        del self.planes[who]
        self.begin()

    @rule()
    def spool_of_a_dead_one_is_read(self) -> None:
        """As the recorder does it: first what was settled, then what was in flight, charged whole."""
        for plane, _ in self.dead:
            ends = [LeasedEnd(e.id, e.epoch, e.report, e.claims) for e in plane.ends[-1000:] if e.report is not None]
            self.wait(self._control.end_lease(plane.name, ends, counted=False))
            self.wait(self._arrives_late(plane))
            for end in plane.ends[-1000:]:
                if end.epoch == self._control.epoch and end.report is None:
                    self.wait(self._control.settle(end.id, [claim.amount for claim in end.claims]))
            for name, claims in plane.open.items():
                self.wait(self._control.charge(name, claims, [claim.amount for claim in claims]))
                plane.ends.append(End(name, self._control.epoch, None, claims))
            plane.open.clear()
            self.wait(self._control.end_lease(plane.name, ends, counted=True))
            self.buried.append(plane)
        self.dead.clear()

    async def _arrives_late(self, plane: Plane) -> None:
        """What it had sent when it died, read by Redis only now: its spool has said all that by itself."""
        report = plane.store.leases.report(anyhow=True)
        if report is not None and plane.store.epoch == self._control.epoch:
            await self._control.member.call("lease", self._control.epoch, *plane.store._words(report))

    @rule()
    def nobody_was_heard_of_for_long(self) -> None:
        """Every lease expires: charged whole, until it is heard of again."""

        async def expire() -> None:
            member = self._control.member
            for name in await member.command("ZRANGE", member.name("leases"), 0, -1):
                await member.command("ZADD", member.name("leases"), 0, name)
            await member.call("sweep", member.epoch, 1000)

        self.wait(expire())

    @rule()
    def redis_forgets(self) -> None:
        """A new epoch, made of what the spools say: of everything before each one's marker."""
        self.spool_of_a_dead_one_is_read()

        async def anew() -> None:
            member = self._control.member
            before = member.epoch
            await member.renew(before)
            for plane in self.planes:
                plane.loses = ""
            while True:
                epoch, _, _ = await member.state()
                stores = [plane.store.member for plane in self.planes]
                if epoch != before and all(one.epoch == epoch and one.joined.is_set() for one in [member, *stores]):
                    break
                for one in stores:
                    if one.epoch != epoch and one._link is not None:
                        one._link.close()  # it would notice with its next call
                await asyncio.sleep(0.01)
            spent: dict[str, int] = defaultdict(int)
            for plane in [*self.planes, *self.buried]:
                for end in plane.ends[: plane.marks.get(epoch)]:
                    for claim in end.claims:
                        spent[claim.budget] += claim.amount
            for budget, amount in spent.items():
                await member.seed(epoch, "recovering", budget, f"usd:0:{budget}", None, [("", amount)])
            await member.open(epoch)
            for plane in self.planes:
                while plane.store.member.epoch != epoch or not plane.store.member.ready.is_set():
                    link = plane.store.member._link
                    if link is not None:
                        link.close()
                    await asyncio.sleep(0.02)
                await plane.up()

        self.wait(anew())

    # What holds

    def committed(self, name: str) -> tuple[int, int]:
        """What was settled, and what may still be."""
        every = [*self.planes, *(plane for plane, _ in self.dead), *self.buried]
        budget = self._prefix + name
        settled = sum(c.amount for plane in every for end in plane.ends for c in end.claims if c.budget == budget)
        reserved = [*self.others.values(), *(claims for plane in every for claims in plane.open.values())]
        flying = sum(claim.amount for claims in reserved for claim in claims if claim.budget == budget)
        return settled, flying

    def standing(self, name: str) -> tuple[int, int]:
        (standing,) = self.wait(self._control.standings_of(self.claims(0, [name])))
        return standing.spent, standing.reserved

    @invariant()
    def nothing_passes_a_limit(self) -> None:
        for name, limit in LIMITS.items():
            settled, flying = self.committed(name)
            spent, reserved = self.standing(name)
            assert settled + flying <= limit, name
            assert settled + flying <= spent + reserved, name
            assert spent + reserved <= limit, name

    @invariant()
    def no_more_is_free_than_may_be(self) -> None:
        for name, limit in LIMITS.items():
            free = sum(
                one.free
                for plane in self.planes
                for one in plane.store.leases.all()
                if one.claim.budget == self._prefix + name
            )
            assert free <= limit * SHARE

    def teardown(self) -> None:
        """Everybody comes to an end: then the counters are what was settled, and nothing is reserved."""
        self.spool_of_a_dead_one_is_read()
        for plane in self.planes:
            plane.loses = ""
        for who in range(3):
            self.calls_end(who, 10_000, 50, 1)
        for plane in self.planes:
            self.ask(plane, plane.store.close)
            self.wait(plane.end())
        SEEN.append(sum(plane.store.leased_calls for plane in [*self.planes, *self.buried]))
        for name in LIMITS:
            settled, flying = self.committed(name)
            assert flying == 0
            assert self.standing(name) == (settled, 0), name


@pytest.mark.needs("redis-server")
def test_whatever_happens_leases_keep_to_the_limits(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, asyncio.Runner() as run:

        async def begin() -> tuple[RedisStore, asyncio.Task[None]]:
            control = RedisStore(server.url, deadline_s=5)
            running = asyncio.create_task(control.member.run())
            await control.member.joined.wait()
            await control.member.open(control.epoch)
            return control, running

        control, running = run.run(begin())
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
        wanted = settings(max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=checks)
        before = next(RUNS)
        run_state_machine_as_test(lambda: Instances(run, server.url, control), settings=wanted)
        assert next(RUNS) - before > 15
        assert sum(SEEN) > 10 * len(SEEN)
        running.cancel()
        run.run(control.member.close())
