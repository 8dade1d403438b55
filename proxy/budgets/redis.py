"""The budget store that several data planes share: counters and reservations in Redis 7, every verb one script, one round trip.

Redis decides by its own clock. It is written to in *epochs*: a server that may have lost writes (a restart, a flush, a
fail-over) is in a new one, which grants nothing until its counters are rebuilt from the ledger. Between a process and
its store there is one connection; while it is away every verb raises `StoreUnavailable` at once, and the ends of reservations
are kept and delivered, in order, when it is back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from proxy.budgets.redis_link import Address, CommandError, Link, LinkLost, connect, parse_address
from proxy.budgets.store import (
    MOST,
    CounterKey,
    Denied,
    Ending,
    Expired,
    Granted,
    Moved,
    Standing,
    StoreUnavailable,
    counter_key,
    granted_amounts,
    standing_of,
)
from proxy.budgets.waiting import WaitingRoom
from proxy.types import Claim

log = logging.getLogger("taximeter.store")

ROOT = "tm1"
_LUA = Path(__file__).parent / "lua"
_VERBS = (
    "reserve", "settle", "release", "charge", "sweep", "expired", "written", "join", "open", "seed", "restore",
    "standings", "forget",
)  # fmt: skip
_PAUSE_S = 0.1
_ASK_AGAIN_S = 30  # reserve.lua has the news of a counter told for 60 s after it was asked for
_MOST_NEWS = 10_000
_AT_ONCE = 100

Value = str | bytes | int | float


@cache
def scripts() -> Mapping[str, tuple[str, str]]:
    """The verbs: SHA-1 and text of each."""
    common = (_LUA / "common.lua").read_text(encoding="utf-8")
    texts = {verb: common + (_LUA / f"{verb}.lua").read_text(encoding="utf-8") for verb in _VERBS}
    return {verb: (hashlib.sha1(text.encode()).hexdigest(), text) for verb, text in texts.items()}  # noqa: S324 - Redis's names


def bucket(budget: str, measure: str, window_start: int) -> str:
    return f"{measure}:{window_start}:{budget}"


def unbucket(name: str) -> tuple[str, str, int]:
    """Budget, measure, window start."""
    measure, start, budget = name.split(":", 2)
    return budget, measure, int(start)


def _bucket_of(claim: Claim) -> str:
    return f"{claim.measure}:{claim.window_start}:{claim.budget}"


class _Held(NamedTuple):
    """A reservation of ours that stands, as it would have to be restored."""

    claims: Sequence[Claim]
    amounts: Sequence[int]
    nanousd: int | None
    deadline_s: float
    record: bytes


class _Owed(NamedTuple):
    """An end that could not be delivered."""

    epoch: str
    verb: str
    arguments: Sequence[Value]


class RedisStore:
    """One process's end of the shared store. `run` keeps it connected until it is cancelled.

    on_epoch: told the epoch's id when this process joins it, before anything is reserved in it; then, once its open reservations
    are restored there, on_joined is awaited.
    """

    def __init__(
        self,
        url: str,
        *,
        on_epoch: Callable[[str], None] = lambda _: None,
        on_joined: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._address: Address = parse_address(url)
        self._on_epoch = on_epoch
        self._on_joined = on_joined
        self._link: Link | None = None
        self._trouble = asyncio.Event()
        self._epoch = ""
        self._subscribed = ""
        self.joined = asyncio.Event()
        self._held: dict[str, _Held] = {}
        self._unrestored: dict[str, None] = {}
        self._owed: deque[_Owed] = deque()
        self._figures: dict[CounterKey, tuple[int, int]] = {}  # the last that an answer said: spent, reserved
        self._waiting = WaitingRoom()
        self._news = 0
        self._news_of: dict[CounterKey, int] = {}
        self._denied: dict[str, int] = {}
        self.ready = asyncio.Event()
        self.facts: Mapping[str, str] = {}

    # The connection

    async def run(self) -> None:
        """Connect, take part in the epoch that runs, and begin again whenever something is wrong."""
        down = False
        while True:
            self._trouble.clear()
            try:
                link = self._link or await self._connect()
                await self._take_part(link)
            except (OSError, CommandError, StoreUnavailable) as error:
                if not down:
                    log.error("the budget store cannot be used: %s", error or type(error).__name__)
                    down = True
                self._hang_up()
            if self.ready.is_set():
                if down:
                    log.warning("the budget store is back")
                down = False
                await self._trouble.wait()
                self._waiting.wake_all()
            else:
                await asyncio.sleep(_PAUSE_S)

    async def _connect(self) -> Link:
        link = await connect(self._address, self._hear, self._lose)
        for _, text in scripts().values():
            await link.call("SCRIPT", "LOAD", text)
        self.facts = facts(await link.call("INFO", "everything"))
        self._link = link
        return link

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _lose(self) -> None:
        self._link = None
        self._subscribed = ""
        self.ready.clear()
        self._trouble.set()

    async def close(self) -> None:
        """Deliver what is owed, if it can be, and hang up."""
        with suppress(StoreUnavailable):
            await self._deliver()
        self._hang_up()

    @property
    def up(self) -> bool:
        """Whether calls can be counted."""
        return self.ready.is_set()

    @property
    def epoch(self) -> str:
        return self._epoch

    # Epochs

    async def _take_part(self, link: Link) -> None:
        """Join the epoch that runs with what is open here; deliver what is owed to it; grant once it is open."""
        epoch, state, _ = await self.state()
        if epoch != self._subscribed:
            link.subscribe(f"{ROOT}:{epoch}:room")
            self._subscribed = epoch
        if epoch != self._epoch:
            # What ended before this line is in the ledger, from which this epoch is rebuilt; what ends after it is delivered.
            self._on_epoch(epoch)
            self._epoch = epoch
            self._unrestored = dict.fromkeys(self._held)
            self.joined.clear()
            self._figures.clear()
        await self._restore()
        if not self.joined.is_set():
            if self._on_joined is not None:
                await self._on_joined(epoch)
            self.joined.set()
        await self._deliver()
        if state == "open":
            self.ready.set()

    async def _restore(self) -> None:
        while self._unrestored:
            some = list(islice(self._unrestored, _AT_ONCE))
            await asyncio.gather(*[self._restore_one(one, self._held[one]) for one in some if one in self._held])
            for one in some:
                self._unrestored.pop(one, None)

    async def _restore_one(self, reservation_id: str, one: _Held) -> None:
        smaller = "" if one.nanousd is None else one.nanousd
        arguments: list[Value] = [reservation_id, repr(one.deadline_s), one.record, smaller]
        for claim, amount in zip(one.claims, one.amounts, strict=True):
            arguments += (_bucket_of(claim), claim.group, _end(claim), amount)
        await self._call("restore", self._epoch, *arguments)

    async def state(self) -> tuple[str, str, float]:
        """The epoch that runs, "open" or "recovering", and the store's clock."""
        epoch, state, now = await self._call("join", "", secrets.token_hex(4))
        return epoch, state, float(now)

    async def seed(self, part: str, rows: Iterable[tuple[str, str, int | None, int]]) -> None:
        """Add what the ledger says was spent, once for each part: bucket, group, window end and amount."""
        arguments: list[Value] = []
        for name, group, window_end, amount in rows:
            arguments += (name, group, "" if window_end is None else window_end, amount)
        await self._call("seed", self._epoch, part, *arguments)

    async def open(self) -> None:
        """The counters of this epoch are complete: let it grant."""
        await self._call("open", self._epoch)
        self.ready.set()

    # Verbs

    async def reserve(
        self, reservation_id: str, claims: Sequence[Claim], now_s: float, deadline_s: float, record: bytes = b""
    ) -> Granted | Denied | Moved:
        arguments: list[Value] = [reservation_id, repr(deadline_s), record]
        for claim in claims:
            arguments += (
                _bucket_of(claim), claim.group, claim.window_start, _end(claim), claim.limit, min(claim.amount, MOST),
                "" if claim.least is None else min(claim.least, MOST), "hard" if claim.hard else "soft",
            )  # fmt: skip
        if not self.ready.is_set():
            raise StoreUnavailable("the budget store is away, or being rebuilt")
        news, epoch = self._news, self._epoch
        try:
            answer = await self._call("reserve", epoch, *arguments)
        except (StoreUnavailable, asyncio.CancelledError):
            self._owed.append(_Owed(epoch, "release", (reservation_id,)))  # it may stand all the same
            raise
        if answer[0] == "denied":
            if self._waiting:
                self._waiting.turn_is_over(reservation_id)
            return self._why(reservation_id, claims, answer, news)
        if answer[0] == "moved":
            return Moved(float(answer[1]))
        nanousd = int(answer[1]) if answer[1] else None
        amounts = granted_amounts(claims, nanousd)
        self._held[reservation_id] = _Held(claims, amounts, nanousd, deadline_s, record)
        if self._waiting:
            self._waiting.took(reservation_id, claims, amounts)
        return Granted(nanousd, tuple(claims[int(number) - 1].budget for number in answer[2:]))

    def _why(self, reservation_id: str, claims: Sequence[Claim], answer: Sequence[str], news: int) -> Denied:
        exceeded, busy = [], []
        for at in range(1, len(answer), 4):
            why, number, spent, reserved = answer[at : at + 4]
            standing = standing_of(claims[int(number) - 1], int(spent), int(reserved))
            (exceeded if why == "exceeded" else busy).append(standing)
        if busy and not exceeded:
            if len(self._denied) >= _MOST_NEWS:
                self._denied.clear()
            self._denied[reservation_id] = news
        return Denied(tuple(exceeded), tuple(busy))

    async def settle(self, reservation_id: str, amounts: Sequence[int]) -> Ending | None:
        held = self._held.pop(reservation_id, None)
        if held is not None and reservation_id in self._unrestored:
            return await self.charge(reservation_id, held.claims, amounts)
        answer = await self._end("settle", reservation_id, *[min(amount, MOST) for amount in amounts])
        if held is not None:
            for index, claim in enumerate(held.claims):
                if len(answer) > 2 * index + 2:
                    self._note(counter_key(claim), int(answer[2 * index + 1]), int(answer[2 * index + 2]))
        return _ending(answer)

    async def release(self, reservation_id: str) -> Ending | None:
        self._held.pop(reservation_id, None)
        return _ending(await self._end("release", reservation_id))

    async def charge(self, reservation_id: str, claims: Sequence[Claim], amounts: Sequence[int]) -> Ending | None:
        self._held.pop(reservation_id, None)
        arguments: list[Value] = []
        for claim, amount in zip(claims, amounts, strict=True):
            arguments += (_bucket_of(claim), claim.group, _end(claim), min(amount, MOST))
        return _ending(await self._end("charge", reservation_id, *arguments))

    async def _end(self, verb: str, reservation_id: str, *arguments: Value) -> Sequence[str]:
        """Deliver an end, or keep it until it can be: it is in the spool already, so nobody need wait for it."""
        epoch = self._epoch
        try:
            answer: Sequence[str] = await self._call(verb, epoch, reservation_id, *arguments)
        except StoreUnavailable:
            self._owed.append(_Owed(epoch, verb, (reservation_id, *arguments)))
            return ("",)
        except asyncio.CancelledError:
            self._owed.append(_Owed(epoch, verb, (reservation_id, *arguments)))
            raise
        return answer

    async def _deliver(self) -> None:
        """Deliver what is owed, in order. What is owed to another epoch is in the ledger, from which this one was rebuilt."""
        while self._owed:
            one = self._owed[0]
            if one.epoch == self._epoch:
                await self._call(one.verb, one.epoch, *one.arguments)
            if self._owed and self._owed[0] is one:
                self._owed.popleft()

    async def sweep(self, now_s: float) -> int:
        await self._deliver()
        return int((await self._call("sweep", self._epoch, _AT_ONCE))[0])

    async def expired(self) -> Sequence[Expired]:
        answer = await self._call("expired", self._epoch, _AT_ONCE)
        found = []
        for reservation_id, smaller, record, count, *parts in answer[1:]:
            charged = []
            for at in range(0, 3 * int(count), 3):
                budget, measure, start = unbucket(parts[at])
                charged.append((budget, parts[at + 1], start, measure, int(parts[at + 2])))
            nanousd = int(smaller) if smaller else None
            found.append(Expired(reservation_id, nanousd, tuple(charged), record.encode()))
        return found

    async def written(self, reservation_ids: Sequence[str]) -> None:
        if reservation_ids:
            await self._call("written", self._epoch, *reservation_ids)

    async def forget_ended_windows(self) -> None:
        await self._call("forget", self._epoch)

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

    # What is told

    def _note(self, key: CounterKey, spent: int, reserved: int) -> None:
        if len(self._figures) >= _MOST_NEWS:
            self._figures.clear()
        self._figures[key] = (spent, reserved)

    def remaining(self, claim: Claim) -> int:
        """What was left to reserve when a call of this process last ended there."""
        spent, reserved = self._figures.get(counter_key(claim), (0, 0))
        return max(0, claim.limit - spent - reserved)

    async def standings_of(self, claims: Sequence[Claim]) -> list[Standing]:
        """The counters that these claims count in, as they stand."""
        arguments: list[Value] = []
        for claim in claims:
            arguments += (_bucket_of(claim), claim.group)
        answer = await self._call("standings", self._epoch, *arguments)
        return [
            standing_of(claim, int(answer[2 * index + 1]), int(answer[2 * index + 2]))
            for index, claim in enumerate(claims)
        ]

    # Calling

    async def _call(self, verb: str, *arguments: Value) -> Any:
        """Run a script. Raises `StoreUnavailable` where there is no answer, or none of the epoch that we are in."""
        if self._link is None:
            raise StoreUnavailable("the budget store is away")
        return await self._call_on(self._link, verb, *arguments)

    async def _call_on(self, link: Link, verb: str, *arguments: Value) -> Any:
        sha, text = scripts()[verb]
        try:
            try:
                answer = await link.call("EVALSHA", sha, 1, ROOT, *arguments)
            except CommandError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
                await link.call("SCRIPT", "LOAD", text)
                answer = await link.call("EVALSHA", sha, 1, ROOT, *arguments)
        except CommandError as error:
            log.error("the budget store refuses %s: %s", verb, error)
            link.close()
            raise StoreUnavailable(str(error)) from None
        except LinkLost:
            raise StoreUnavailable("the budget store does not answer") from None
        if answer and answer[0] == "closed":
            self.ready.clear()
            self._trouble.set()
            raise StoreUnavailable("the budget store is being rebuilt")
        return answer


def _end(claim: Claim) -> str | int:
    return "" if claim.window_end is None else claim.window_end


def _ending(answer: Sequence[str]) -> Ending | None:
    return answer[0] or None  # type: ignore[return-value]  # the scripts' words are the endings


def facts(info: str) -> dict[str, str]:
    """Redis's INFO as a mapping."""
    return dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
