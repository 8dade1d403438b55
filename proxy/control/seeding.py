"""What a budget's counters in Redis are made of, as the marks in an epoch's `seeded` say it; and what they lack of the ledger.

`<bucket>\\nwhole`: it was put in from the ledger as a whole. `<bucket>\\nbase <since>`: it has that definition's base.
`<measure>:<budget>`: some window of the budget was put in; an earlier version noted that, its parts and
`<measure>:<budget>\\ndefined <since>` alone, and no bases. `began <s>`: when this version made the epoch of the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, NamedTuple

from proxy.budgets.budget import Budget
from proxy.budgets.redis.member import Member
from proxy.budgets.redis.scripts import CONVERSATION, bucket
from proxy.budgets.redis.store import RedisStore

if TYPE_CHECKING:
    from proxy.ledger.planes.counters import Sum

_ROWS = 2000
_BEGAN = "began "
_OLDER = "older"  # see seed.lua


class Seeding(NamedTuple):
    """Of a budget's current window.

    taken_at: when its definition was taken, in epoch microseconds. noted: once all is done, in this order. is_counted: in an
    epoch that runs, every call of it was counted here, and none needs to be added. is_whole: the counters have all that the
    ledger counted. adopts: an earlier version put its base in. is_unclear: one put in a base that nobody can tell.
    """

    name: str
    counters: str
    end: int | None
    taken_at: int
    noted: tuple[str, str, str]
    is_done: bool
    is_counted: bool
    is_whole: bool
    adopts: bool
    is_unclear: bool

    @property
    def all_counted(self) -> tuple[str, str]:
        """What is noted where the counters have all that the ledger counted, and no definition's base yet."""
        name, whole, _ = self.noted
        return name, whole


def began_mark(now_s: float) -> str:
    """Windows that begin from then on are counted in this epoch from their first call on."""
    return f"{_BEGAN}{int(now_s) + 1}"


def began_in(marks: Set[str]) -> int | None:
    """When the epoch was made of the ledger, in epoch seconds; None where an earlier version made it."""
    return max((int(mark.removeprefix(_BEGAN)) for mark in marks if mark.startswith(_BEGAN)), default=None)


def seeding_of(budget: Budget, taken_at: int, now_s: float, marks: Set[str], began: int | None) -> Seeding:
    """began: see `began_in`."""
    start, end = budget.window_now(now_s)
    counters, name = bucket(budget.name, budget.measure, start), f"{budget.measure}:{budget.name}"
    base, whole = f"{counters}\nbase", f"{counters}\nwhole"
    done, began_before = f"{base} {taken_at}", began is not None and began <= start
    unclear = {at for at in _older(name, marks) if at >= start * 1_000_000 and f"{base} {at}" not in marks}
    is_bare = began is None and name in marks and whole not in marks
    # What keys are made with is counted from its first call on, too.
    is_counted = budget.keys is not None or (taken_at < start * 1_000_000 and (name in marks or began_before))
    return Seeding(
        name=name,
        counters=counters,
        end=end,
        taken_at=taken_at,
        noted=(name, whole, done),
        is_done=done in marks,
        is_counted=is_counted,
        is_whole=whole in marks or began_before,
        adopts=taken_at in unclear,
        is_unclear=not is_counted and taken_at not in unclear and bool(unclear or is_bare),
    )


def _older(name: str, marks: Set[str]) -> set[int]:
    """Of which definitions an earlier version put in a budget's sums."""
    prefix = f"{name}\ndefined "
    return {int(mark.removeprefix(prefix)) for mark in marks if mark.startswith(prefix)}


async def add_up(member: Member, epoch: str, state: str, seeding: Seeding, groups: Mapping[str, Sum]) -> Seeding:
    """Put in what the ledger has, into an epoch that does not run yet. Parts have the names that an earlier version gives them:
    during an upgrade one may be at it too, and each part is to be put in once."""
    rows, answers = [(group, sum(amounts), amounts.base) for group, amounts in groups.items()], set()
    for first in range(0, len(rows), _ROWS):
        some = rows[first : first + _ROWS]
        answers.add(await member.seed(epoch, state, f"{seeding.name}\n{first}", seeding.counters, seeding.end, some))
    adopts = False
    if _OLDER in answers:
        marks = set(await member.command("SMEMBERS", member.name("seeded", epoch)))
        adopts = answers == {_OLDER} and seeding.taken_at in _older(seeding.name, marks)
    return seeding._replace(is_whole=True, adopts=adopts, is_unclear=_OLDER in answers and not adopts)


async def exchange_bases(
    store: RedisStore, epoch: str, state: str, seeding: Seeding, groups: Mapping[str, Sum]
) -> None:
    """Have the counters count by the definition's bases, and note that they do, unless a later one is known there."""
    member, counters = store.member, seeding.counters
    how = "adopt" if seeding.adopts else "whole" if seeding.is_whole else ""

    async def rebase(rows: list[tuple[str, int, int]]) -> bool:
        return await member.rebase(epoch, state, counters, seeding.taken_at, rows, how=how, end=seeding.end)

    if not await rebase([]):  # from here on nobody loads an earlier base
        return
    had = await store.fields(f"b:{counters}", epoch)
    changed = [
        (group, amounts.base, amounts.counted)
        for group, amounts in groups.items()
        if amounts.base or not seeding.is_whole or group in had
    ]
    changed += [(group, 0, 0) for group in had if group not in groups]
    for first in range(0, len(changed), _ROWS):
        if not await rebase(changed[first : first + _ROWS]):
            return
    for mark in seeding.noted:
        await member.seed(epoch, state, mark)


async def drop_other_epochs(member: Member, epoch: str) -> None:
    cursor, kept = "0", (f"{member.root}:epoch", CONVERSATION, member.name("", epoch))
    while True:
        cursor, names = await member.command("SCAN", cursor, "MATCH", f"{member.root}:*", "COUNT", 1000)
        old = [name for name in names if not name.startswith(kept)]
        if old:
            await member.command("UNLINK", *old)
        if cursor == "0":
            return
