"""The budget store that several data planes share: counters and reservations in Redis 7, every verb one script, one round trip.

Redis decides, by its own clock; here is only what it is asked and what its answers mean.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from proxy.budgets.budget import Budget
from proxy.budgets.redis.member import Held, Member, Value
from proxy.budgets.redis.scripts import CONVERSATION, ROOT, bucket_of, end_of, scripts, unbucket
from proxy.budgets.redis.session_costs import SharedSessionCosts
from proxy.budgets.store import (
    MOST,
    CounterKey,
    Denied,
    Ending,
    Expired,
    Granted,
    GuardLimits,
    Keep,
    Lease,
    Moved,
    Seen,
    Standing,
    StoreUnavailable,
    Unanswered,
    counter_key,
    granted_amounts,
    standing_of,
)
from proxy.budgets.totals import Totals
from proxy.budgets.waiting import WaitingRoom
from proxy.types import Claim

_ASK_AGAIN_S = 30  # reserve.lua has the news of a counter told for 60 s after it was asked for
_MOST_NEWS = 10_000
_NOTHING = (0, 0)
_AT_ONCE = 100
_TOLD_EVERY_S = 0.25
_SESSIONS_NOTED_S = 3600  # at most three names of some 150 bytes for each call that names no session


class LeasedEnd(NamedTuple):
    """How a call ended that was granted out of a lease: `claims` with what was used. report: of its run, that tells of it."""

    id: str
    epoch: str
    report: int
    claims: Sequence[Claim]


class RedisStore:
    """One process's end of the shared store; see `Member` for what the arguments are."""

    def __init__(
        self,
        url: str,
        *,
        on_epoch: Callable[[str], None] = lambda _: None,
        on_joined: Callable[[str], Awaitable[None]] | None = None,
        deadline_s: float,
    ) -> None:
        self._waiting = WaitingRoom()
        self.member = Member(
            url,
            on_epoch=on_epoch,
            on_joined=on_joined,
            hear=self._hear,
            on_trouble=self._waiting.wake_all,
            deadline_s=deadline_s,
        )
        self._figures: dict[CounterKey, tuple[int, int]] = {}  # the last that an answer said: spent, reserved
        self._news = 0
        self._news_of: dict[CounterKey, int] = {}
        self._denied: dict[str, int] = {}
        self._session_costs = SharedSessionCosts()
        self._untold = asyncio.Event()
        self.asked_calls = 0

    @property
    def epoch(self) -> str:
        return self.member.epoch

    # Verbs

    async def reserve(
        self,
        reservation_id: str,
        claims: Sequence[Claim],
        now_s: float,
        deadline_s: float,
        record: bytes = b"",
        keep: Keep | None = None,
    ) -> Granted | Denied | Moved:
        if keep is not None:
            keep()
        arguments: list[Value] = [reservation_id, repr(deadline_s), record]
        for claim in claims:
            arguments += (
                bucket_of(claim), claim.group, claim.window_start, end_of(claim), claim.limit, min(claim.amount, MOST),
                "" if claim.least is None else min(claim.least, MOST), "hard" if claim.hard else "soft",
            )  # fmt: skip
        if not self.member.ready.is_set():
            raise StoreUnavailable("the budget store is away, or being rebuilt")
        self.asked_calls += 1
        news, epoch = self._news, self.member.epoch
        try:
            answer = await self.member.call("reserve", epoch, *arguments)
        except (StoreUnavailable, asyncio.CancelledError) as error:
            self.member.owe(epoch, "release", reservation_id)  # the reservation may have been made nevertheless
            if isinstance(error, StoreUnavailable):
                raise Unanswered(str(error)) from None
            raise
        if answer[0] == "denied":
            if self._waiting:
                self._waiting.turn_is_over(reservation_id)
            return self._why(reservation_id, claims, answer, news)
        if answer[0] == "moved":
            return Moved(float(answer[1]))
        nanousd = int(answer[1]) if answer[1] else None
        amounts = granted_amounts(claims, nanousd)
        self.member.held[reservation_id] = Held(claims, amounts, nanousd, deadline_s, record)
        if self._waiting:
            self._waiting.took(reservation_id, claims, amounts)
        return Granted(nanousd, tuple(claims[int(number) - 1].budget for number in answer[2:]))

    def _why(self, reservation_id: str, claims: Sequence[Claim], answer: Sequence[str], news: int) -> Denied:
        exceeded: list[Standing] = []
        busy: list[Standing] = []
        for at in range(1, len(answer), 4):
            why, number, spent, reserved = answer[at : at + 4]
            among = exceeded if why == "exceeded" else busy
            among.append(standing_of(claims[int(number) - 1], int(spent), int(reserved)))
        if busy and not exceeded:
            if len(self._denied) >= _MOST_NEWS:
                self._denied.clear()
            self._denied[reservation_id] = news
        return Denied(tuple(exceeded), tuple(busy))

    async def settle(self, reservation_id: str, amounts: Sequence[int]) -> Ending | None:
        held = self.member.held.pop(reservation_id, None)
        if held is not None and self.member.must_charge(reservation_id):
            return await self.charge(reservation_id, held.claims, amounts)
        answer = await self.member.end("settle", reservation_id, *[min(amount, MOST) for amount in amounts])
        if held is not None:
            for index, claim in enumerate(held.claims):
                if len(answer) > 2 * index + 2:
                    self._note(counter_key(claim), int(answer[2 * index + 1]), int(answer[2 * index + 2]))
        return _ending(answer)

    async def release(self, reservation_id: str) -> Ending | None:
        self.member.held.pop(reservation_id, None)
        return _ending(await self.member.end("release", reservation_id))

    async def charge(self, reservation_id: str, claims: Sequence[Claim], amounts: Sequence[int]) -> Ending | None:
        return await self.charge_in(self.member.epoch, reservation_id, claims, amounts)

    async def charge_in(
        self, epoch: str, reservation_id: str, claims: Sequence[Claim], amounts: Sequence[int]
    ) -> Ending | None:
        """As `charge`, but nothing in any later epoch, whose sums have it."""
        self.member.held.pop(reservation_id, None)
        arguments: list[Value] = []
        for claim, amount in zip(claims, amounts, strict=True):
            arguments += (bucket_of(claim), claim.group, end_of(claim), min(amount, MOST))
        return _ending(await self.member.end("charge", reservation_id, *arguments, epoch=epoch))

    async def restore(
        self, reservation_id: str, claims: Sequence[Claim], amounts: Sequence[int], deadline_s: float, record: bytes
    ) -> None:
        await self.member.restore(reservation_id, Held(claims, amounts, None, deadline_s, record))

    def ends_here(self, reservation_id: str) -> bool:
        return False

    def lease(self, reservation_id: str) -> Lease | None:
        """Nothing is leased here."""
        return None

    async def end_lease(self, run: str, ends: Sequence[LeasedEnd], *, counted: bool) -> None:
        """The data plane of this run is gone: charge those of its ends that no report has told; and, once whatever it had in
        flight is counted too, give its lease back. Raises `StoreUnavailable`; said again, it changes nothing more.

        ends: those that it settled out of its lease and did not know to be told.
        """
        epoch = self.member.epoch
        answer = await self.member.call("unlease", epoch, run, "ask")
        if answer[0]:  # else it has no lease in this epoch, and so everything is told
            for end in ends:
                if end.report > int(answer[1]) and end.epoch == epoch:
                    await self.charge_in(epoch, end.id, end.claims, [claim.amount for claim in end.claims])
        await self.member.deliver()
        if counted:
            await self.member.call("unlease", epoch, run, "end")

    def outlives(self, reservation_id: str) -> None:
        """Whoever rebuilds the counters puts it back, from the ledger; unless this process has still to do that."""
        if not self.member.must_charge(reservation_id):
            self.member.held.pop(reservation_id, None)

    async def sweep(self, now_s: float) -> int:
        await self.member.deliver()
        return int((await self.member.call("sweep", self.member.epoch, _AT_ONCE))[0])

    async def expired(self) -> Sequence[Expired]:
        answer = await self.member.call("expired", self.member.epoch, _AT_ONCE)
        expired = []
        for reservation_id, smaller, record, count, *parts in answer[1:]:
            charged = []
            for at in range(0, 3 * int(count), 3):
                budget, measure, start = unbucket(parts[at])
                charged.append((budget, parts[at + 1], start, measure, int(parts[at + 2])))
            expired.append(Expired(reservation_id, int(smaller) if smaller else None, tuple(charged), record.encode()))
        return expired

    async def written(self, reservation_ids: Sequence[str]) -> None:
        if reservation_ids:
            await self.member.call("written", self.member.epoch, *reservation_ids)

    async def forget_ended_windows(self, now_s: float) -> None:
        """Whoever rebuilds the counters asks for it (`forget`)."""

    async def forget(self) -> None:
        """Forget the counters of windows that are over, by Redis' own clock."""
        await self.member.call("forget", self.member.epoch)

    # Its life in a process. Counters are seeded by whoever opens an epoch (`control/rebuilding`), and read by the control
    # process itself, so that a data plane has nothing to say of them.

    @property
    def up(self) -> bool:
        return self.member.ready.is_set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.member.run())
            tasks.create_task(self._keep_telling())

    async def close(self) -> None:
        await self.member.close()

    @property
    def answered(self) -> Mapping[str, int]:
        return {"redis": self.asked_calls}

    async def wait_until_up(self) -> None:
        await self.member.ready.wait()

    def seed(self, standing: Standing, base: int = 0) -> None:
        """Nothing to do: the control process seeds shared counters."""

    def begin_anew(self, budget: str, measure: str, window_start: int, window_end: int | None) -> bool:
        return False

    def standings(self, budget: str | None = None, group: str | None = None) -> Sequence[Standing]:
        return ()

    def fullest(self, most: int, now_s: float) -> tuple[Sequence[Standing], dict[str, int]]:
        return (), {}

    def totals(self, budgets: Sequence[Budget], now_s: float) -> Sequence[Totals]:
        return ()

    # Waiting

    def _hear(self, message: str) -> None:
        """Somebody waited for this counter, here or elsewhere, and it changed."""
        counter, spent, reserved = message.rsplit("\n", 2)
        name, group = counter.split("\n", 1)
        budget, measure, start = unbucket(name)
        key = (budget, group, measure, start)
        self._news += 1
        if len(self._news_of) >= _MOST_NEWS:
            self._news_of.clear()
        self._news_of[key] = self._news
        self._waiting.changed(key, int(spent), int(reserved))

    async def wait_for_room(self, reservation_id: str, claims: Sequence[Claim], timeout_s: float) -> bool:
        asked_at = self._denied.pop(reservation_id, self._news)
        if any(self._news_of.get(counter_key(claim), 0) > asked_at for claim in claims):
            return True  # it changed between the answer and now
        woken = await self._waiting.wait(reservation_id, claims, min(timeout_s, _ASK_AGAIN_S))
        return woken or timeout_s > _ASK_AGAIN_S

    def limits_changed(self) -> None:
        """A budget was raised: whoever waits may look again."""
        self._waiting.wake_all()

    # What is told

    def _note(self, key: CounterKey, spent: int, reserved: int) -> None:
        if len(self._figures) >= _MOST_NEWS:
            self._figures.clear()
        self._figures[key] = (spent, reserved)

    def remaining(self, claim: Claim) -> int:
        """What was left to reserve when a call of this process last ended there."""
        spent, reserved = self._figures.get(counter_key(claim), _NOTHING)
        return max(0, claim.limit - spent - reserved)

    def least_remaining(self, claims: Sequence[Claim]) -> int | None:
        least: int | None = None
        figures = self._figures
        for claim in claims:
            if claim.measure == "usd":
                key = (claim.budget, claim.group, claim.measure, claim.window_start)
                spent, reserved = figures.get(key, _NOTHING)
                left = claim.limit - spent - reserved
                if least is None or left < least:
                    least = left
        return least if least is None or least > 0 else 0

    async def session_cost(self, team: str | None, session_id: str, nanousd: int, *, alone: bool = False) -> int | None:
        """What it has cost in all processes. One that is a single call is only told of, soon and with others: nobody else has
        a total of it yet."""
        name = f"{team or ''}\n{session_id}"  # sessions are a team's
        self._session_costs.add(name, nanousd)
        self._untold.set()
        return None if alone else await self._session_total(name)

    async def _session_total(self, name: str) -> int:
        return (await self.add_to_sessions(self._session_costs.take(name), name))[0]

    async def add_to_sessions(self, amounts: Sequence[tuple[str, int]], asked: str = "") -> list[int]:
        """The total of each. What goes on its way and is lost is not told again: it is for headers, not for budgets."""
        words = [word for pair in amounts for word in pair]
        totals = [int(total) for total in await self.member.call("session", self.member.epoch, *words)]
        self._session_costs.note_totals([name for name, _ in amounts], totals, time.monotonic(), asked)
        return totals

    async def _keep_telling(self) -> None:
        while True:
            await self._untold.wait()
            await asyncio.sleep(_TOLD_EVERY_S)
            await self.member.ready.wait()
            with suppress(StoreUnavailable):
                await self._tell_sessions()

    async def _tell_sessions(self) -> None:
        """What comes meanwhile is told the next time: else this would not end while there are calls."""
        self._untold.clear()
        for some in self._session_costs.take_all():
            await self.add_to_sessions(some)

    def note_session(self, names: Sequence[str], session_id: str) -> None:
        self.member.tell(*[("SET", CONVERSATION + name, session_id, "EX", _SESSIONS_NOTED_S) for name in names])

    def send_notes(self) -> None:
        """Its client may have all of the answer before the loop's next turn, and ask another process then."""
        self.member.flush()

    async def noted_sessions(self, names: Sequence[str]) -> Sequence[str | None]:
        answer: list[str | None] = await self.member.command("MGET", *(CONVERSATION + name for name in names))
        return answer

    async def guarded(self, session_id: str, request: str, limits: GuardLimits) -> Seen | None:
        most: list[Value] = ["" if limit is None else min(limit, MOST) for limit in limits[:3]]
        arguments: list[Value] = [session_id, "ask", *most, repr(limits.within_s), request]
        return Seen(*map(int, await self.member.call("guard", self.member.epoch, *arguments)))

    def note_bill(self, session_id: str, nanousd: int) -> None:
        """The script is there: whoever notes a bill has asked with it before."""
        sha, _ = scripts()["guard"]
        self.member.tell(("EVALSHA", sha, 1, ROOT, self.member.epoch, session_id, "bill", min(nanousd, MOST)))

    async def counters(self, name: str) -> tuple[dict[str, int], dict[str, int]]:
        """What is spent and what is reserved in a bucket, by group; read in parts where it is large."""
        return await self.fields(f"s:{name}"), await self.fields(f"r:{name}")

    async def fields(self, what: str, epoch: str = "") -> dict[str, int]:
        """A hash of amounts, of this epoch where none is given; read in parts where it is large."""
        member, cursor = self.member, "0"
        totals: dict[str, int] = {}
        while True:
            cursor, fields = await member.command("HSCAN", member.name(what, epoch), cursor, "COUNT", 1000)
            totals.update(zip(fields[::2], map(int, fields[1::2]), strict=True))
            if cursor == "0":
                return totals

    async def standings_of(self, claims: Sequence[Claim]) -> list[Standing]:
        """The counters that these claims count in, as they stand."""
        arguments: list[Value] = []
        for claim in claims:
            arguments += (bucket_of(claim), claim.group)
        answer = await self.member.call("standings", self.member.epoch, *arguments)
        return [
            standing_of(claim, int(answer[2 * index + 1]), int(answer[2 * index + 2]))
            for index, claim in enumerate(claims)
        ]


def _ending(answer: Sequence[str]) -> Ending | None:
    return answer[0] or None  # type: ignore[return-value]  # the scripts' words are the endings
