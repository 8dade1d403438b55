"""What a budget store is, written as plainly as it can be: sums in dictionaries. The stores are compared with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from proxy.budgets.store import Denied, Granted, Moved, Standing
from proxy.types import Claim

Key = tuple[str, str, str, int]


def key_of(claim: Claim) -> Key:
    return claim.budget, claim.group, claim.measure, claim.window_start


class Model:
    def __init__(self) -> None:
        self.spent: dict[Key, int] = defaultdict(int)
        self.reserved: dict[Key, int] = defaultdict(int)
        self.open: dict[str, tuple[list[tuple[Key, int]], float, Granted]] = {}
        self.expired: dict[str, list[tuple[Key, int]]] = {}
        self.closed: set[str] = set()
        self.unwritten: dict[str, list[tuple[Key, int]]] = {}

    def reserve(self, name: str, claims: Sequence[Claim], now_s: float, deadline_s: float) -> Granted | Denied | Moved:
        self.sweep(now_s)
        if name in self.open:
            return self.open[name][2]
        if name in self.expired or name in self.closed:
            return Denied((), ())
        if any(c.window_start > now_s or (c.window_end is not None and c.window_end <= now_s) for c in claims):
            return Moved(now_s)
        exceeded, busy, soft, rooms = [], [], [], []
        for c in claims:
            spent, reserved = self.spent[key_of(c)], self.reserved[key_of(c)]
            standing = Standing(c.budget, c.group, c.window_start, c.window_end, c.measure, c.limit, spent, reserved)
            least = c.amount if c.least is None else c.least
            if spent + reserved + c.amount <= c.limit:
                continue
            if not c.hard:
                soft.append(c.budget)
            elif spent + reserved + least <= c.limit:
                rooms.append(c.limit - spent - reserved)
            elif spent + least > c.limit:
                exceeded.append(standing)
            else:
                busy.append(standing)
        if exceeded or busy:
            return Denied(tuple(exceeded), tuple(busy))
        most = min(rooms, default=None)
        held = [(key_of(c), c.amount if most is None or c.measure != "usd" else min(c.amount, most)) for c in claims]
        for key, amount in held:
            self.reserved[key] += amount
        granted = Granted(most, tuple(soft))
        self.open[name] = (held, deadline_s, granted)
        return granted

    def settle(self, name: str, amounts: Sequence[int] | None) -> str | None:
        """amounts None: release."""
        if name in self.open:
            held, _, _ = self.open.pop(name)
            for index, (key, amount) in enumerate(held):
                self.reserved[key] -= amount
                self.spent[key] += amounts[index] if amounts is not None else 0
            return "released" if amounts is None else "settled"
        if name in self.expired:
            for index, (key, amount) in enumerate(self.expired.pop(name)):
                self.spent[key] += (amounts[index] if amounts is not None else 0) - amount
            self.closed.add(name)
            return "expired"
        return None

    def release(self, name: str) -> str | None:
        ending = self.settle(name, None)
        if ending is None:
            self.closed.add(name)
        return ending

    def charge(self, name: str, claims: Sequence[Claim], amounts: Sequence[int]) -> str | None:
        ending = self.settle(name, amounts)
        if ending is None and name not in self.closed:
            for claim, amount in zip(claims, amounts, strict=True):
                self.spent[key_of(claim)] += amount
            ending = "settled"
        self.closed.add(name)
        return ending

    def sweep(self, now_s: float) -> int:
        due = [name for name, (_, deadline_s, _) in self.open.items() if deadline_s <= now_s]
        for name in due:
            held, _, _ = self.open.pop(name)
            for key, amount in held:
                self.reserved[key] -= amount
                self.spent[key] += amount
            self.expired[name] = self.unwritten[name] = held
        return len(due)
