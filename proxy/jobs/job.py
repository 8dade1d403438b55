"""One job as a value: what is kept of it from its creation to its last correction. Pure, and plain data in records.

It holds everything that its settlement needs, so that any process can make that: its INTENT (who pays, out of which budgets),
what of its request its price depends on, and where its provider is asked. No prompt is among it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from proxy.jobs.machine import RUNNING, State
from proxy.types import Identity, Route


class Job(NamedTuple):
    """One job. Times are epoch microseconds, money is nano-USD.

    id: of its entry and its reservation. api: a name in `apis.APIS`. digest: of its provider's id together with its owner.
    provider_id: what the provider calls it. asked: of its request, what its price depends on. attributes: what prices and
    budgets can name. intent: its INTENT, as it was reserved. settled: what each of the INTENT's budgets was charged with.
    revision: how often it was settled or corrected by now. flags: beside those of its reading. withdrawn: its owner has deleted
    or cancelled it at its provider.
    """

    id: str
    api: str
    digest: str
    provider_id: str
    created_at: int
    deadline_at: int
    asked: Mapping[str, Any]
    attributes: Mapping[str, str | None]
    intent: Mapping[str, Any]
    flags: Sequence[str] = ()
    state: State = RUNNING
    ended: bool = False
    revision: int = 0
    cost_nanousd: int | None = None
    settled: Sequence[int] = ()
    withdrawn: bool = False

    @property
    def upstream(self) -> str:
        return str(self.intent["upstream"])

    @property
    def model(self) -> str:
        return str(self.intent["model"])

    @property
    def reserved_nanousd(self) -> int | None:
        amount: int | None = self.intent["reserved_nanousd"]
        return amount

    @property
    def amounts(self) -> Sequence[int]:
        """What each of its budgets is charged with now: of a running job nothing, of an overdue one its reservation."""
        if self.settled:
            return self.settled
        return [0 if self.state == RUNNING else int(item[4]) for item in self.intent["budgets"]]

    @property
    def owner(self) -> Identity:
        """Whose it is, as far as that decides who may see it."""
        return Identity(self.intent["key_id"], self.intent["key"] or "", team=self.intent["team"])

    @property
    def route(self) -> Route:
        intent = self.intent
        return Route(intent["model_requested"], intent["upstream"], intent["provider"], intent["model"])

    def record(self) -> dict[str, Any]:
        """As JSON can hold it; `of` reads it again."""
        return self._asdict()


def of(record: Mapping[str, Any], **newer: Any) -> Job:
    """The job that `record` was made of, with what is known better by now. Keys that a later version adds are left out."""
    return Job(**{name: value for name, value in {**record, **newer}.items() if name in Job._fields})
