"""Several data planes lease slices of the same counters, while messages are lost, planes die and epochs end: whatever happens,
nothing passes a limit, and in the end the counters are what was settled.

What a spool would know is kept in lists here: every end with its lease, as `exchange/attempt.py` records it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from proxy.budgets.redis import leases
from proxy.budgets.redis.leased import LeasedStore, LeaseTerms
from proxy.budgets.redis.link import Link, LinkLost
from proxy.budgets.redis.scripts import scripts
from proxy.budgets.redis.store import LeasedEnd, RedisStore
from proxy.budgets.store import Denied, Granted, Moved, StoreUnavailable
from proxy.types import Claim
from tests.support.examples import tried
from tests.support.redis import RedisServer

RUNS = itertools.count()
SEEN: list[int] = []  # how many calls leases answered, in each history
LATER = time.time() + 3000
LIMITS = {"wide": 60_000, "team": 40_000, "key": 25_000}
_LONGEST_S = 3600.0
_MOST_CALLS = 150
_REPORT_TAKES_S = 0.2
_MOST_UNREPORTED, _REMEMBERED = 60, 70  # as 900 and 1000: of a dead one, the recorder knows no more ends out of leases
SHARE = 0.5  # of a limit that may be leased and free: much, so that leases matter


class End(NamedTuple):
    id: str
    epoch: str
    report: int | None
    claims: Sequence[Claim]


class Road:
    """A process's way to the store. loses: "request" or "answer" of a message, after so many in `spares`; with it the link is lost.
    slow: the verb whose next message takes its time, until `go_on` is set; it ends as `slow_ends` says: "answered", or lost."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.loses = self.slow = self.slow_ends = ""
        self.spares = 0
        self.go_on = asyncio.Event()

    async def up(self) -> None:
        """Connected, and its next messages go wrong as they are told to."""
        member = self.store.member
        async with asyncio.timeout(30):
            await member.ready.wait()
            while (link := member._link) is None:  # lost in the same turn of the loop as it was had
                await asyncio.sleep(0.005)
                await member.ready.wait()
        if not isinstance(link.call, _Lossy):
            link.call = _Lossy(link, self)  # type: ignore[method-assign]


class Plane:
    """A data plane: its end of the store, and its spool."""

    def __init__(self, url: str, name: str, share: float = SHARE) -> None:
        self.name = name
        self.store = LeasedStore(url, LeaseTerms(name, share, _LONGEST_S), on_epoch=self._mark, deadline_s=5)
        self.road = Road(self.store)
        self.running = asyncio.create_task(self.store.member.run())
        self.open: dict[str, list[Claim]] = {}
        self.jobs: set[str] = set()  # of these, the open ones that whoever rebuilds the counters puts back
        self.ends: list[End] = []
        self.marks: dict[str, int] = {}

    def _mark(self, epoch: str) -> None:
        self.marks[epoch] = len(self.ends)

    async def up(self) -> None:
        await self.road.up()

    async def end(self) -> None:
        self.running.cancel()
        link = self.store.member._link
        if link is not None:
            link.close()


class _Lossy:
    """A link that loses a request, or an answer, and is lost with it."""

    def __init__(self, link: Link, road: Road) -> None:
        self._link, self._road, self._call = link, road, link.call

    def __call__(self, *command: Any) -> Any:
        road = self._road
        if road.slow and command[1] == scripts()[road.slow][0]:
            road.slow = ""
            return self._under_way(road.slow_ends, command)
        if not road.loses:
            return self._call(*command)
        if road.spares:
            road.spares -= 1
            return self._call(*command)
        loses, road.loses = road.loses, ""
        if loses == "request":
            self._link.close()
            raise LinkLost
        return self._lose_answer(self._call(*command))

    async def _under_way(self, how: str, command: Any) -> Any:
        """A message that takes its time: calls go on meanwhile."""
        answer = None if how == "request" else await self._call(*command)
        await self._road.go_on.wait()
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
    def __init__(self, run: asyncio.Runner, server: RedisServer, control: RedisStore) -> None:
        super().__init__()
        self._run, self._server, self._control = run, server, control
        self._road = Road(control)
        self._prefix = f"{next(RUNS)}-"
        self._ids = itertools.count()
        self.planes: list[Plane] = []
        self.dead: list[tuple[Plane, bool]] = []
        self.buried: list[Plane] = []
        self.others: dict[str, list[Claim]] = {}
        self.unheard = False  # leases were charged whole

    @initialize(planes=st.sampled_from([2, 3, 3, 5]), share=st.sampled_from([SHARE, SHARE, 0.02]))
    def begins(self, planes: int, share: float) -> None:
        self.share = share
        for who in range(planes):
            self.begin()
            self.is_lively(who, 12, 10)

    def plane(self, who: int) -> Plane:
        return self.planes[who % len(self.planes)]

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._run.run(work)

    def claims(self, amount: int, names: Sequence[str]) -> list[Claim]:
        return [Claim(self._prefix + name, "", 0, None, LIMITS[name], amount, "usd", True) for name in names]

    def begin(self) -> None:
        async def up() -> Plane:
            plane = Plane(self._server.url, f"{self._prefix}run-{next(self._ids)}", self.share)
            await plane.up()
            return plane

        self.planes.append(self.wait(up()))

    def ask(self, plane: Plane, question: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return self.wait(asked(plane, question))

    # What happens

    @rule(who=st.integers(0, 4), count=st.integers(8, 16), amount=st.integers(1, 30))
    def is_lively(self, who: int, count: int, amount: int) -> None:
        """So many calls between two reports that leases are worth while; nobody waits for room any more."""
        self.wait(self._control.member.command("DEL", self._control.member.name("waited")))
        self.calls_begin(who, count, amount, 3)
        self.calls_end(who, count // 2, 50, 1)
        self.reports(who)
        self.calls_begin(who, count // 2, amount, 3)

    @rule(
        who=st.integers(0, 4),
        count=st.integers(1, 12),
        amount=st.sampled_from([0, 1, 5, 20, 30, 3000]),
        deep=st.integers(1, 3),
    )
    def calls_begin(self, who: int, count: int, amount: int, deep: int) -> None:
        plane = self.plane(who)
        for _ in range(count):
            self.wait(self._call_begins(plane, amount, deep))

    async def _call_begins(self, plane: Plane, amount: int, deep: int, deadline_s: float = LATER) -> None:
        name, claims = f"{self._prefix}{next(self._ids)}", self.claims(amount, list(LIMITS)[:deep])
        verdict = await asked(plane, lambda: plane.store.reserve(name, claims, time.time(), deadline_s))
        assert name not in plane.store.leases or deadline_s - time.time() <= _LONGEST_S
        assert not isinstance(verdict, Moved)
        if isinstance(verdict, Granted):
            plane.open[name] = claims
        elif verdict is None:
            await asked(plane, lambda: plane.store.release(name))  # what an attempt does then
        else:
            assert isinstance(verdict, Denied)

    @rule(who=st.integers(0, 4), count=st.integers(1, 12), part=st.integers(0, 100), lost=st.integers(0, 9))
    def calls_end(self, who: int, count: int, part: int, lost: int) -> None:
        plane = self.plane(who)
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

    @rule(who=st.integers(0, 4))
    def reports(self, who: int) -> None:
        plane = self.plane(who)
        plane.store.leases.measure()
        self.ask(plane, plane.store._tell)

    @rule(
        who=st.integers(0, 4),
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
        plane = self.plane(who)
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
            plane.road.slow, plane.road.slow_ends, plane.road.loses = "lease", how, ""
            plane.road.go_on.clear()
            telling = asyncio.create_task(plane.store._tell())
            await asyncio.sleep(0)
            going_on = asyncio.create_task(calls())
            await asyncio.wait([going_on], timeout=_REPORT_TAKES_S)  # one that wants room waits for the report
            plane.road.go_on.set()
            await asyncio.gather(telling, going_on)
            plane.road.slow = ""
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

    @rule(who=st.integers(0, 4), amount=st.sampled_from([0, 20]))
    def a_call_is_longer_than_a_lease(self, who: int, amount: int) -> None:
        self.wait(self._call_begins(self.plane(who), amount, 3, time.time() + _LONGEST_S + 60))

    @rule(who=st.integers(0, 4), ends=st.booleans(), how=st.sampled_from(["answered", "answer", "request"]))
    def calls_become_reservations_of_their_own(self, who: int, ends: bool, how: str) -> None:
        """Their deadline is over, or they are jobs now; they may end while Redis is told."""
        plane = self.plane(who)
        self.is_lively(who, 12, 20)

        async def told() -> None:
            await plane.up()
            names = [name for name in plane.open if name in plane.store.leases]
            if not names:
                return
            plane.road.slow, plane.road.slow_ends, plane.road.loses = "restore", how, ""
            plane.road.go_on.clear()
            telling = asyncio.create_task(plane.store._reserve_for_itself(names[0]))
            await asyncio.sleep(0)
            if ends:
                await self._call_ends(plane, names[0], 50, lost=False)
            plane.road.go_on.set()
            await asyncio.gather(telling, return_exceptions=True)
            plane.road.slow = ""
            await plane.up()
            for name in names[1:3]:
                await plane.store._let_go(name)
                plane.jobs.add(name)

        self.wait(told())
        self.nothing_passes_a_limit()

    @rule(who=st.integers(0, 4), amount=st.sampled_from([1, 5]))
    def ends_many_and_dies(self, who: int, amount: int) -> None:
        """More than whoever reads its spool remembers, if nothing bounds them."""
        for _ in range(2):
            self.uses_its_leases_up(who, amount)
            self.calls_end(who, _MOST_CALLS, 100, 1)
            self.reports(who)
        for _ in range(2):
            self.uses_its_leases_up(who, amount)
            self.calls_end(who, _MOST_CALLS, 100, 1)
        self.dies(who)
        self.spool_of_a_dead_one_is_read("", 0)
        for name in LIMITS:
            settled, flying = self.committed(name)
            spent, reserved = self.standing(name)
            assert settled + flying <= spent + reserved

    @rule(who=st.integers(0, 4), amount=st.sampled_from([20, 100]))
    def uses_its_leases_up(self, who: int, amount: int) -> None:
        """Whatever it takes for free is in flight now: had it too much of it, a limit would be passed, or Redis know less."""
        plane = self.plane(who)
        before = plane.store.asked_calls
        for _ in range(_MOST_CALLS):
            self.wait(self._call_begins(plane, amount, 3))
            if plane.store.asked_calls > before:
                break
        self.nothing_passes_a_limit()

    @rule(who=st.integers(0, 4))
    def a_slice_is_idle_while_a_report_tells_of_it(self, who: int) -> None:
        """Its answer still comes, and has what Redis gave."""
        plane = self.plane(who)
        self.is_lively(who, 12, 20)
        self.calls_end(who, 100, 50, 1)
        plane.store.leases.hand_back([lease.claim for lease in plane.store.leases.all()])

        async def told() -> None:
            await plane.up()
            plane.road.slow, plane.road.slow_ends, plane.road.loses = "lease", "answered", ""
            plane.road.go_on.clear()
            telling = asyncio.create_task(plane.store._tell())
            await asyncio.sleep(0)
            for _ in range(8):
                plane.store.leases.measure()
            plane.road.go_on.set()
            await telling
            plane.road.slow = ""

        self.wait(told())

    @rule(who=st.integers(0, 4), left=st.sampled_from([0, 100, 600]))
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

    @rule(who=st.integers(0, 4), what=st.sampled_from(["request", "answer"]))
    def loses_a_report(self, who: int, what: str) -> None:
        self.calls_end(who, 4, 50, 1)
        self.plane(who).road.loses = what
        self.reports(who)
        self.reports(who)

    @rule(who=st.integers(0, 4), what=st.sampled_from(["request", "answer"]))
    def loses_a_message(self, who: int, what: str) -> None:
        self.plane(who).road.loses = what

    @rule(who=st.integers(0, 4), count=st.integers(8, 16), what=st.sampled_from(["", "", "request", "answer"]))
    def lives_and_dies(self, who: int, count: int, what: str) -> None:
        """Some of its ends are told, some may be, and some are not."""
        self.is_lively(who, count, 20)
        self.calls_end(who, count // 2, 60, 1)
        self.plane(who).road.loses = what
        self.reports(who)
        self.calls_begin(who, 3, 20, 3)
        self.calls_end(who, 2, 60, 1)
        self.dies(who)

    @rule(who=st.integers(0, 4))
    def dies(self, who: int) -> None:
        plane = self.plane(who)
        self.wait(plane.end())
        self.dead.append((plane, False))
        self.planes.remove(plane)
        self.begin()

    @rule(loses=st.sampled_from(["", "request", "answer"]), spares=st.integers(0, 12))
    def spool_of_a_dead_one_is_read(self, loses: str, spares: int) -> None:
        """As the recorder does it: first what was settled, then what was in flight, charged whole. It may be told twice."""
        for plane, _ in self.dead:
            known = [end for end in plane.ends if end.report is not None][-_REMEMBERED:]
            ends = [LeasedEnd(end.id, end.epoch, end.report or 0, end.claims) for end in known]
            self._road.loses, self._road.spares = loses, spares
            self.wait(self._end_lease(plane, ends, counted=False))
            self.wait(self._arrives_late(plane))
            for end in plane.ends[-1000:]:
                if end.epoch == self._control.epoch:
                    self.wait(self._control.settle(end.id, [claim.amount for claim in end.claims]))
            for name, claims in plane.open.items():
                self.wait(self._control.charge(name, claims, [claim.amount for claim in claims]))
                plane.ends.append(End(name, self._control.epoch, None, claims))
            plane.open.clear()
            for _ in range(2):
                self.wait(self._end_lease(plane, ends, counted=True))
            self._road.loses = ""
            self.buried.append(plane)
        self.dead.clear()

    async def _end_lease(self, plane: Plane, ends: Sequence[LeasedEnd], *, counted: bool) -> None:
        """Again until it is done."""
        while True:
            await self._road.up()
            try:
                await self._control.end_lease(plane.name, ends, counted=counted)
            except StoreUnavailable:
                continue
            await self._control.member.deliver()
            return

    async def _arrives_late(self, plane: Plane) -> None:
        """What it had sent when it died, read by Redis only now: its spool has said all that by itself."""
        await self._road.up()
        report = plane.store.leases.report(anyhow=True)
        if report is not None and plane.store.epoch == self._control.epoch:
            with suppress(StoreUnavailable):
                await self._control.member.call("lease", self._control.epoch, *plane.store._words(report))
            await self._road.up()

    @rule()
    def nobody_was_heard_of_for_long(self) -> None:
        """Every lease expires: charged whole, until it is heard of again."""
        self.unheard = True

        async def expire() -> None:
            member = self._control.member
            for name in await member.command("ZRANGE", member.name("leases"), 0, -1):
                await member.command("ZADD", member.name("leases"), 0, name)
            await member.call("sweep", member.epoch, 1000)

        self.wait(expire())

    @rule()
    def redis_is_copied(self) -> None:
        """By a replica, or to a disk, which is then behind."""
        self._server.say("SAVE")

    @rule(how=st.sampled_from(["renewed", "restarted", "an older copy"]))
    def redis_forgets(self, how: str) -> None:
        """A new epoch, made of what the spools say: of everything before each one's marker. An older copy is what a replica
        has that was promoted while it was behind: it knows the epoch that was, with the leases of then."""
        self.spool_of_a_dead_one_is_read("", 0)
        before = self._control.epoch
        for plane in self.planes:
            plane.road.loses = ""
        if how == "renewed":
            self.wait(self._control.member.renew(before))
        else:
            self._server.down()
            if how == "restarted":
                self._server.lose_copies()
            self._server.up()
        self.wait(self._anew(before))

    async def _anew(self, before: str) -> None:
        member = self._control.member
        epoch = ""
        while True:
            stores = [plane.store.member for plane in self.planes]
            with suppress(StoreUnavailable):
                epoch, _, _ = await member.state()
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
            for name in plane.jobs & plane.open.keys():
                claims = plane.open[name]
                await self._control.restore(name, claims, [claim.amount for claim in claims], LATER, b"")
        for name, claims in self.others.items():
            await self._control.restore(name, claims, [claim.amount for claim in claims], LATER, b"")
        for budget, amount in spent.items():
            await member.seed(epoch, "recovering", budget, f"usd:0:{budget}", None, [("", amount, 0)])
        await member.open(epoch)
        for plane in self.planes:
            while plane.store.member.epoch != epoch or not plane.store.member.ready.is_set():
                link = plane.store.member._link
                if link is not None:
                    link.close()
                await asyncio.sleep(0.02)
            await plane.up()

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
            slices = [
                one
                for plane in self.planes
                for one in plane.store.leases.all()
                if one.claim.budget == self._prefix + name
            ]
            assert all(one.free >= 0 for one in slices), name
            assert settled + flying <= limit, name
            assert settled + flying + sum(one.free for one in slices) <= spent + reserved, name
            assert spent + reserved <= limit, name
            assert spent <= settled or self.unheard, name

    @invariant()
    def no_more_is_free_than_may_be(self) -> None:
        for name, limit in LIMITS.items():
            free = sum(
                one.free
                for plane in self.planes
                for one in plane.store.leases.all()
                if one.claim.budget == self._prefix + name
            )
            assert free <= limit * self.share

    def teardown(self) -> None:
        """Everybody comes to an end: then the counters are what was settled, and nothing is reserved."""
        self.spool_of_a_dead_one_is_read("", 0)
        for plane in self.planes:
            plane.road.loses = ""
        for who in range(len(self.planes)):
            self.calls_end(who, 10_000, 50, 1)
        for plane in self.planes:
            self.ask(plane, plane.store.close)
            self.wait(plane.end())
        SEEN.append(sum(plane.store.leased_calls for plane in [*self.planes, *self.buried]))
        for name in LIMITS:
            settled, flying = self.committed(name)
            assert flying == 0
            assert self.standing(name) == (settled, 0), name
            member = self._control.member
            free = member.name(f"f:usd:0:{self._prefix}{name}")
            assert self.wait(member.command("HLEN", free)) == 0, name
        leases_left = self.wait(self._control.member.command("ZRANGE", self._control.member.name("leases"), 0, -1))
        assert not [name for name in leases_left if name.startswith(f"lease:{self._prefix}")]


class World(NamedTuple):
    run: asyncio.Runner
    server: RedisServer
    control: RedisStore

    def machine(self) -> Instances:
        return Instances(self.run, self.server, self.control)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    patch = pytest.MonkeyPatch()
    patch.setattr(leases, "MOST_UNREPORTED", _MOST_UNREPORTED)
    with RedisServer(tmp_path_factory.mktemp("redis")) as server, asyncio.Runner() as run:

        async def begin() -> tuple[RedisStore, asyncio.Task[None]]:
            control = RedisStore(server.url, deadline_s=5)
            running = asyncio.create_task(control.member.run())
            await control.member.joined.wait()
            await control.member.open(control.epoch)
            return control, running

        control, running = run.run(begin())
        yield World(run, server, control)
        running.cancel()
        run.run(control.member.close())
    patch.undo()


pytestmark = pytest.mark.needs("redis-server")


def test_whatever_happens_leases_keep_to_the_limits(world: World) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    # A history that fails is told as it was: to make it smaller takes minutes, against a real server.
    phases = [Phase.explicit, Phase.reuse, Phase.generate]
    wanted = settings(
        max_examples=tried(20), stateful_step_count=30, deadline=None, suppress_health_check=checks, phases=phases
    )
    before = next(RUNS)
    SEEN.clear()
    run_state_machine_as_test(world.machine, settings=wanted)
    assert next(RUNS) - before > tried(20) / 2
    assert sum(SEEN) > 10 * len(SEEN)


# Histories of which each has to be played, and not only now and then: in each of them, some half of the account could go wrong
# without anything else showing it (`tests/torture/seeded.py` has what).

UNDER_WAY = list(itertools.product(("answered", "answer", "request"), (False, True), (False, True)))
HISTORIES: dict[str, Callable[[Instances], Iterator[object]]] = {}


def history(play: Callable[[Instances], Iterator[object]]) -> Callable[[Instances], Iterator[object]]:
    HISTORIES[play.__name__.replace("_", " ")] = play
    return play


@history
def calls_go_on_while_reports_are_under_way(m: Instances) -> Iterator[object]:
    for how, dies, crowded in UNDER_WAY:
        yield m.calls_go_on_while_a_report_is_under_way(0, 8, 2, 50, how, dies, crowded)
    yield m.calls_go_on_while_a_report_is_under_way(1, 8, 0, 0, "answered", False, True)
    yield m.calls_go_on_while_a_report_is_under_way(1, 0, 12, 0, "answered", False, True)


@history
def planes_die_with_ends_that_are_told_and_untold(m: Instances) -> Iterator[object]:
    for who, (what, loses, spares) in enumerate(
        [("", "", 0), ("answer", "answer", 1), ("request", "request", 2), ("", "request", 3)]
    ):
        yield m.lives_and_dies(who, 16, what)
        yield m.spool_of_a_dead_one_is_read(loses, spares)


@history
def planes_die_when_they_were_not_heard_of_for_long(m: Instances) -> Iterator[object]:
    for who in range(2):
        yield m.is_lively(who, 16, 20)
        yield m.reports(who)
        yield m.nobody_was_heard_of_for_long()
        yield m.calls_end(who, 4, 50, 1)
        if who:
            for _ in range(3):
                yield m.reports(who)
        yield m.nobody_was_heard_of_for_long()
        yield m.dies(who)
        yield m.spool_of_a_dead_one_is_read("", 0)


@history
def planes_die_with_many_ends(m: Instances) -> Iterator[object]:
    yield m.ends_many_and_dies(0, 1)
    yield m.ends_many_and_dies(0, 5)


@history
def redis_forgets_what_is_under_way(m: Instances) -> Iterator[object]:
    for who, how in enumerate(("renewed", "restarted", "an older copy")):
        yield m.redis_is_copied()
        yield m.is_lively(who, 16, 20)
        yield m.reports(who)
        yield m.calls_begin(who, 4, 20, 3)
        yield m.calls_end(who, 3, 50, 1)
        yield m.loses_a_message(who, "request")
        yield m.reports(who)
        yield m.redis_forgets(how)
        yield m.uses_its_leases_up(who, 20)
        yield m.reports(who)
        yield m.redis_forgets(how)
        yield m.is_lively(who, 16, 20)
        yield m.reports(who)
        yield m.dies(who)
        yield m.spool_of_a_dead_one_is_read("", 0)


@history
def calls_get_reservations_of_their_own(m: Instances) -> Iterator[object]:
    for ends, how in itertools.product((False, True), ("answered", "answer", "request")):
        yield m.calls_become_reservations_of_their_own(0, ends, how)
        yield m.reports(0)
        if ends:
            yield m.redis_forgets("renewed")
    yield m.calls_become_reservations_of_their_own(0, False, "answered")
    yield m.is_lively(1, 16, 20)
    yield m.a_call_is_longer_than_a_lease(1, 0)
    yield m.a_call_is_longer_than_a_lease(1, 1)


@history
def others_have_nearly_all(m: Instances) -> Iterator[object]:
    for who, left in enumerate((0, 100, 600)):
        yield m.somebody_reserves_nearly_all(who, left)
        yield m.uses_its_leases_up(who, 20)


@history
def slices_go_while_a_report_tells_of_them(m: Instances) -> Iterator[object]:
    yield m.a_slice_is_idle_while_a_report_tells_of_it(0)


@pytest.mark.parametrize("name", HISTORIES)
@pytest.mark.parametrize("share", [SHARE, 0.02])
def test_a_history_that_has_to_be_played(world: World, name: str, share: float) -> None:
    machine = world.machine()
    machine.begins(5 if share < SHARE else 3, share)
    before = len(SEEN)
    for _ in HISTORIES[name](machine):
        machine.nothing_passes_a_limit()
        machine.no_more_is_free_than_may_be()
    machine.teardown()
    assert SEEN[before:] > [0]  # leases answered some of its calls
