"""Which budgets the calls in another gateway's log would have passed here. Pure.

A call is refused where its own cost would not fit any more; here it would be its ceiling, which is more. So this is the least
that is refused: with generous output caps it is more, and a call whose cap may be lowered is clamped instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pricing.values import slotted
from proxy.budgets.budget import Amounts, Budget
from proxy.types import Identity


class LoggedCall(NamedTuple):
    """at_s: epoch seconds. key_id: the hex SHA-256 of its key. customer: as the call said."""

    at_s: float
    key_id: str
    nanousd: int
    tokens: int
    model: str | None
    provider: str | None
    customer: str | None


@slotted
class ExceededBudget:
    """Calls beyond a budget's limit. first_at_s: when the first of them began."""

    budget: Budget
    calls: int = 0
    nanousd: int = 0
    first_at_s: float | None = None

    def add(self, call: LoggedCall) -> None:
        self.calls += 1
        self.nanousd += call.nanousd
        self.first_at_s = call.at_s if self.first_at_s is None else self.first_at_s


@slotted
class Replayed:
    """refused: calls that a budget would have blocked, each once. unknown: of keys that are not known here."""

    calls: int = 0
    nanousd: int = 0
    refused: int = 0
    refused_nanousd: int = 0
    unknown: int = 0
    unknown_nanousd: int = 0
    exceeded: Sequence[ExceededBudget] = ()


def replay(budgets: Sequence[Budget], identities: Mapping[str, Identity], calls: Iterable[LoggedCall]) -> Replayed:
    """calls: in the order of their times; each window begins at 0. What is refused counts nowhere else."""
    made = Replayed()
    exceeded = {budget.name: ExceededBudget(budget) for budget in budgets}
    counters: dict[tuple[str, str], tuple[int, int]] = {}
    for call in calls:
        made.calls += 1
        made.nanousd += call.nanousd
        identity = identities.get(call.key_id)
        if identity is None:
            made.unknown += 1
            made.unknown_nanousd += call.nanousd
            continue
        blocked, counted = False, []
        attributes = _attributes(identity, call)
        for budget in budgets:
            if not budget.matches(attributes):
                continue
            key, amount = (budget.name, budget.group(attributes)), _amount(budget, call)
            start, _ = budget.window_now(call.at_s)
            begun, total = counters.get(key, (start, 0))
            total = total if begun == start else 0
            if total + amount > budget.limit_for(key[1], call.at_s):
                exceeded[budget.name].add(call)
                blocked = blocked or budget.hard
            counted.append((key, (start, total + amount)))
        if blocked:
            made.refused += 1
            made.refused_nanousd += call.nanousd
        else:
            counters.update(counted)
    made.exceeded = [one for one in exceeded.values() if one.calls]
    return made


def _attributes(identity: Identity, call: LoggedCall) -> dict[str, str | None]:
    """As `proxy.exchange.plan` has them, of what the log says."""
    return {
        "key": identity.key,
        "team": identity.team,
        "user": identity.user,
        "customer": identity.customer or (call.customer if identity.trust_labels else None),
        "model": call.model,
        "provider": call.provider,
        **{f"label.{name}": value for name, value in identity.labels.items()},
    }


def _amount(budget: Budget, call: LoggedCall) -> int:
    """The log's tokens are of no unit of their own: a budget of some units counts them all."""
    return Amounts(call.nanousd, {"input": call.tokens}).of(budget.measure, frozenset())
