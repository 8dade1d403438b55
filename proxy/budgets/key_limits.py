"""Limits that belong to one key: what it may spend in a window, and its calls and tokens a minute. Pure.

Keys come and go while budgets are configured. So all keys with a limit of one kind share one budget (`key:month`, `key:rpm`,
…) in which each has a group and a limit of its own, and no other key's call counts. A key that is made again under an old name
goes on in the group of that name. A budget that was there once stays when its last key is revoked: it begins with nothing
spent, and its counters are the ledger's ever after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, get_args
from zoneinfo import ZoneInfo

from proxy.budgets.budget import Budget, Measure, Raise
from proxy.config.fields import KEY_BUDGETS, Window

WINDOWS: tuple[str, ...] = get_args(Window)
_UTC = ZoneInfo("UTC")
_ALERT_AT = (0.5, 0.8, 1.0)


class KeyLimits(NamedTuple):
    """What the key of this name may take; None: no limit. nanousd: in the calendar window (UTC) `window`.

    live: False where the key is revoked, so that it stands for its kinds of limits only.
    """

    key: str
    nanousd: int | None = None
    window: str = "total"
    requests_a_minute: int | None = None
    tokens_a_minute: int | None = None
    live: bool = True

    @property
    def is_any(self) -> bool:
        return any(limit is not None for limit in (self.nanousd, self.requests_a_minute, self.tokens_a_minute))


def key_budgets(limits: Iterable[KeyLimits], raises: Sequence[Raise] = ()) -> tuple[Budget, ...]:
    """A budget for each kind of limit that any key has."""
    members: dict[tuple[str, Measure, str], dict[str, int]] = {}
    for limit in limits:
        for kind, amount in _kinds(limit):
            keys = members.setdefault(kind, {})
            if limit.live:
                keys[limit.key] = amount
    return tuple(_budget(*kind, members[kind], raises) for kind in sorted(members, key=_order))


def _kinds(limit: KeyLimits) -> Iterator[tuple[tuple[str, Measure, str], int]]:
    """Name, measure and window of each budget that the limit needs, and how much."""
    if limit.nanousd is not None:
        yield (limit.window, "usd", limit.window), limit.nanousd
    if limit.requests_a_minute is not None:
        yield ("rpm", "requests", "minute"), limit.requests_a_minute
    if limit.tokens_a_minute is not None:
        yield ("tpm", "tokens", "minute"), limit.tokens_a_minute


def _order(kind: tuple[str, Measure, str]) -> tuple[bool, int, str]:
    return kind[1] != "usd", WINDOWS.index(kind[2]), kind[0]


def _budget(kind: str, measure: Measure, window: str, members: Mapping[str, int], raises: Sequence[Raise]) -> Budget:
    name = KEY_BUDGETS + kind
    return Budget(
        name=name,
        match=(),
        per=("key",),
        measure=measure,
        limit=max(members.values(), default=0),
        overrides=members,
        units=frozenset(),
        window=window,
        zone=_UTC,
        hard=True,
        clamp=True,
        alert_at=_ALERT_AT if measure == "usd" else (),
        on_store_down="deny",
        raises=tuple(one for one in raises if one.budget == name),
        keys=frozenset(members),
    )
