"""One process as a member of the shared store: its connection, its epoch, and what it has open and owes there.

Redis is written to in *epochs*. A server that may have lost writes (a restart, a flush, a fail-over) is in a new one, which
grants nothing until its counters are rebuilt. Every process joins it with the reservations that it has open. What ended before
it joined is in the ledger, from which the epoch is rebuilt; what ends later is delivered, in order, when it can be.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from proxy.budgets.redis.link import CommandError, Link, LinkLost, connect
from proxy.budgets.redis.scripts import EPOCHS, ROOT, bucket_of, end_of, facts, problems, scripts
from proxy.budgets.store import StoreUnavailable
from proxy.config.store_url import parse_address
from proxy.rate_limited_log import RateLimitedLog
from proxy.types import Claim

log = logging.getLogger("taximeter.store")
_refusals = RateLimitedLog(log, logging.ERROR)

_PAUSE_S = 0.1
_AT_ONCE = 100

_TRIES = 5

Value = str | bytes | int | float
Recall = Callable[[Sequence[tuple[str, str]]], Awaitable[Sequence[tuple[int, int]]]]
"""What the ledger says that groups have spent, by bucket and group; and how much of that is their base. Raises
`StoreUnavailable`."""


class Held(NamedTuple):
    """A reservation of ours that stands, as it would have to be restored."""

    claims: Sequence[Claim]
    amounts: Sequence[int]
    nanousd: int | None
    deadline_s: float
    record: bytes


class Owed(NamedTuple):
    """An end that could not be delivered."""

    epoch: str
    verb: str
    arguments: Sequence[Value]


class Member:
    """`run` keeps it connected until it is cancelled; while the store is away, or being rebuilt, verbs raise at once.

    on_epoch: told the epoch's id when this process joins it, before anything is reserved in it; once its open
    reservations are restored there, on_joined is awaited. hear: gets the news of counters that somebody waits for. on_trouble:
    nothing is known any more.
    """

    def __init__(
        self,
        url: str,
        *,
        on_epoch: Callable[[str], None] = lambda _: None,
        on_joined: Callable[[str], Awaitable[None]] | None = None,
        hear: Callable[[str], None] = lambda _: None,
        on_trouble: Callable[[], None] = lambda: None,
        deadline_s: float,
    ) -> None:
        self._address = parse_address(url)
        self._deadline_s = deadline_s
        self._on_epoch = on_epoch
        self._on_joined = on_joined
        self._hear = hear
        self._on_trouble = on_trouble
        self._link: Link | None = None
        self._trouble = asyncio.Event()
        self._waking: list[asyncio.Event] = []
        self._news = self.news()
        self._subscribed = ""
        self._unrestored: dict[str, None] = {}
        self._owed: deque[Owed] = deque()
        self.before_epoch: Callable[[], None] = lambda: None  # what else has to be in `held` before an epoch is joined
        self.recall: Recall | None = None
        self.root = ROOT
        self.epoch = ""
        self.held: dict[str, Held] = {}
        self.joined = asyncio.Event()
        self.ready = asyncio.Event()  # calls can be counted
        self.facts: Mapping[str, str] = {}

    # The connection

    async def run(self) -> None:
        """Connect, take part in the epoch that runs, and begin again whenever something is wrong."""
        down = False
        while True:
            self._trouble.clear()
            self._news.clear()
            _refusals.tell()
            try:
                link = self._link or await self._connect()
                await self._take_part(link)
            except (OSError, CommandError, StoreUnavailable) as error:
                if not down:
                    log.error(
                        "the budget store cannot be used: %s (%s)", error or type(error).__name__, self._address.where
                    )
                    down = True
                self._hang_up()
            if self.ready.is_set():
                if down:
                    log.warning("the budget store is back")
                down = False
                await self._trouble.wait()
                self._on_trouble()
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE_S):
                        await self._news.wait()

    def news(self) -> asyncio.Event:
        """An event that is set whenever an epoch begins or opens, or somebody has done his part in rebuilding one. It may be
        missed: whoever waits looks now and then all the same."""
        event = asyncio.Event()
        self._waking.append(event)
        return event

    def _hear_news(self, channel: str, message: str) -> None:
        if channel != EPOCHS:
            self._hear(message)
            return
        if message == "recovering":  # another epoch begins
            self.ready.clear()
            self._trouble.set()
        for event in self._waking:
            event.set()

    async def _connect(self) -> Link:
        link = await connect(self._address, self._hear_news, self._lose, self._deadline_s)
        try:
            link.subscribe(EPOCHS)
            await asyncio.gather(*[link.call("SCRIPT", "LOAD", text) for _, text in scripts().values()])
            self.facts = facts(await link.call("INFO", "everything"))
            unfit, _ = problems(self.facts)
            if unfit:
                raise StoreUnavailable("; ".join(unfit))
        except BaseException:
            link.close()
            raise
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
            await self.deliver()
        self._hang_up()

    # Epochs

    async def _take_part(self, link: Link) -> None:
        """Join the epoch that runs with what is open here; deliver what is owed to it; grant once it is open."""
        epoch, state, _ = await self.state()
        if epoch != self._subscribed:
            link.subscribe(f"{ROOT}:{epoch}:room")
            self._subscribed = epoch
        if epoch != self.epoch:
            # What ended before this line is in the ledger, from which this epoch is rebuilt; what ends after it is delivered.
            self.before_epoch()
            self._on_epoch(epoch)
            self.epoch = epoch
            self._unrestored = dict.fromkeys(self.held)
            self.joined.clear()
        await self._restore()
        if not self.joined.is_set():
            if self._on_joined is not None:
                await self._on_joined(epoch)
            self.joined.set()
        await self.deliver()
        if state == "open":
            self.ready.set()

    async def _restore(self) -> None:
        while self._unrestored:
            some = list(islice(self._unrestored, _AT_ONCE))
            await asyncio.gather(*[self.restore(name, self.held[name]) for name in some if name in self.held])
            for reservation_id in some:
                self._unrestored.pop(reservation_id, None)

    async def restore(self, reservation_id: str, held: Held) -> None:
        """Put a reservation into the epoch that runs, unless it is known there."""
        smaller = "" if held.nanousd is None else held.nanousd
        arguments: list[Value] = [reservation_id, repr(held.deadline_s), held.record, smaller]
        for claim, amount in zip(held.claims, held.amounts, strict=True):
            arguments += (bucket_of(claim), claim.group, end_of(claim), amount)
        await self.call("restore", self.epoch, *arguments)

    async def restore_anew(self, reservation_id: str, held: Held) -> None:
        """From now on this reservation is ours: it is restored, here or when the epoch is taken part in again."""
        epoch = self.epoch
        self.held[reservation_id] = held
        self._unrestored[reservation_id] = None
        await self.restore(reservation_id, held)
        if self.epoch == epoch:
            self._unrestored.pop(reservation_id, None)

    async def state(self) -> tuple[str, str, float]:
        """The epoch that runs, "open" or "recovering", and the store's clock."""
        epoch, state, now = await self.call("join", "", secrets.token_hex(4))
        if epoch != self.epoch:
            self.ready.clear()
            self._trouble.set()
        return epoch, state, float(now)

    async def seed(
        self,
        epoch: str,
        state: str,
        part: str,
        name: str = "",
        end: int | None = None,
        rows: Iterable[tuple[str, int, int]] = (),
    ) -> str:
        """Add what the ledger says was spent in a bucket, whose window has that end, once for each part, while that epoch is
        in `state`. Never into a later one: its sums would lack what is on its way to the ledger.

        rows: group, amount, and how much of that is the base. "older": an earlier version did it, and noted no bases.
        """
        arguments: list[Value] = [name, "" if end is None else end]
        for row in rows:
            arguments += row
        answer: Sequence[str] = await self.call("seed", epoch, state, part, *arguments)
        return answer[0]

    async def rebase(
        self,
        epoch: str,
        state: str,
        name: str,
        since: int,
        rows: Iterable[tuple[str, int, int]],
        *,
        how: str = "",
        end: int | None = None,
    ) -> bool:
        """Have a bucket's counters count by a definition's bases, in place of what they had; said again, it changes nothing.
        False where a later definition than this one is known there.

        since: when the definition was taken. rows: group, base, what the ledger has counted. how: "adopt" where the bases are
        in the counters already, "whole" where all that the ledger has counted is, "" where the epoch may say so. end: of the
        bucket's window.
        """
        arguments: list[Value] = [name, since, how, "" if end is None else end]
        for row in rows:
            arguments += row
        answer: Sequence[str] = await self.call("rebase", epoch, state, *arguments)
        return answer[0] == "rebased"

    async def open(self, epoch: str, known: Iterable[str] = ()) -> bool:
        """The counters of this epoch are complete: let it grant. False where somebody ships into the ledger that is not among
        the `known`, so that the sums which they were made of may lack something."""
        answer: Sequence[str] = await self.call("open", epoch, *known)
        if answer[0] == "more":
            return False
        self.ready.set()
        return True

    async def note(self, what: str, name: str, epoch: str = "") -> None:
        """Put a name among those that have done something in an epoch, and have everybody look who waits for that."""
        await self.command("SADD", self.name(what, epoch), name)
        self.tell(("PUBLISH", EPOCHS, what))

    async def renew(self, epoch: str) -> None:
        """Replace an epoch whose counters are wrong by a new one, which is rebuilt."""
        await self.call("renew", epoch, secrets.token_hex(4))

    # What is held and owed

    def must_charge(self, reservation_id: str) -> bool:
        """Whether a reservation of ours may not have come into this epoch yet, so that it cannot just be settled there."""
        return reservation_id in self._unrestored

    async def end(self, verb: str, reservation_id: str, *arguments: Value, epoch: str = "") -> Sequence[str]:
        """Deliver an end, or keep it until it can be: it is in the spool already, so nobody need wait for it. epoch: ours where
        none is said."""
        epoch = epoch or self.epoch
        try:
            answer: Sequence[str] = await self.call(verb, epoch, reservation_id, *arguments)
        except StoreUnavailable:
            self.owe(epoch, verb, reservation_id, *arguments)
            return ("",)
        except asyncio.CancelledError:
            self.owe(epoch, verb, reservation_id, *arguments)
            raise
        return answer

    def owe(self, epoch: str, verb: str, *arguments: Value) -> None:
        self._owed.append(Owed(epoch, verb, arguments))

    async def deliver(self) -> None:
        """Deliver what is owed, in order. What is owed to another epoch is in the ledger, from which this one was rebuilt."""
        while self._owed:
            message = self._owed[0]
            if message.epoch == self.epoch:
                await self.call(message.verb, message.epoch, *message.arguments, late=True)
            if self._owed and self._owed[0] is message:
                self._owed.popleft()

    # Calling

    async def command(self, *words: Value) -> Any:
        """A command that is no verb. Raises as `call`."""
        if self._link is None:
            raise StoreUnavailable("the budget store is away")
        try:
            return await self._link.call(*words)
        except (CommandError, LinkLost) as error:
            raise StoreUnavailable(str(error)) from None

    def tell(self, *commands: tuple[Value, ...]) -> None:
        """Commands whose answers nobody waits for, and which may be lost."""
        if self._link is not None:
            self._link.tell(commands)

    def flush(self) -> None:
        """Send what was told by now, and not in the loop's next turn."""
        if self._link is not None:
            self._link.flush()

    def name(self, what: str, epoch: str = "") -> str:
        """A name of an epoch, of ours where none is given."""
        return f"{ROOT}:{epoch or self.epoch}:{what}"

    async def call(self, verb: str, *arguments: Value, late: bool = False) -> Any:
        """Run a script; where it needs counters that were dropped, have them loaded, and run it again. late: it was owed.

        Raises `StoreUnavailable` where there is no answer, or none of the epoch that we are in.
        """
        for _ in range(_TRIES):
            if self._link is None:
                raise StoreUnavailable("the budget store is away")
            answer = await self._call_on(self._link, verb, (ROOT, "late") if late else (ROOT,), *arguments)
            if not answer or answer[0] != "unknown":
                return answer
            await self._load(str(arguments[0]), answer[1:])
        raise StoreUnavailable("groups of a budget were dropped from Redis as fast as they were loaded")

    async def _load(self, epoch: str, words: Sequence[str]) -> None:
        if self.recall is None:
            raise StoreUnavailable(
                "a group of a budget is not in Redis, and nothing here can load its spend from the ledger"
            )
        groups = list(zip(words[::3], words[1::3], strict=True))
        arguments: list[Value] = []
        for (name, group), times, (spent, base) in zip(groups, words[2::3], await self.recall(groups), strict=True):
            arguments += (name, group, times, spent, base)
        await self.call("load", epoch, *arguments)

    async def _call_on(self, link: Link, verb: str, keys: Sequence[str], *arguments: Value) -> Any:
        sha, text = scripts()[verb]
        try:
            try:
                answer = await link.call("EVALSHA", sha, len(keys), *keys, *arguments)
            except CommandError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
                await link.call("SCRIPT", "LOAD", text)
                answer = await link.call("EVALSHA", sha, len(keys), *keys, *arguments)
        except CommandError as error:
            _refusals.note(f"the budget store refuses {verb}: {error}")
            link.close()
            raise StoreUnavailable(str(error)) from None
        except LinkLost:
            raise StoreUnavailable("the budget store does not answer") from None
        if answer and answer[0] == "closed":
            self.ready.clear()
            self._trouble.set()
            raise StoreUnavailable("the budget store is being rebuilt")
        return answer
