"""Which team made what is stored at a provider, and where: its ids are nobody else's.

Kept in memory, the latest only: after a restart, or in another worker, an id is unknown, and unknown is 404. No I/O.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from proxy.errors import stored_not_found
from proxy.types import Identity

_MAX_IDS = 200_000


class Holder(NamedTuple):
    """Where something is stored: the upstream, the name of the model by which a client reached it, and in which session."""

    upstream: str
    model: str
    session_id: str = ""


class Held:
    """Ids of responses and their items, by their owner: a team, or a key that has none."""

    def __init__(self, max_ids: int = _MAX_IDS) -> None:
        self._max = max_ids
        self._holders: OrderedDict[tuple[str | None, str, str], Holder] = OrderedDict()

    def note(self, identity: Identity, ids: Iterable[str], holder: Holder) -> None:
        for one in ids:
            self._holders[_key(identity, one)] = holder
        while len(self._holders) > self._max:
            self._holders.popitem(last=False)

    def find(self, identity: Identity, one: str) -> Holder:
        """Raises `Refused` (404) for an id that is unknown or another team's."""
        holder = self._holders.get(_key(identity, one))
        if holder is None:
            raise stored_not_found("id")
        return holder


def _key(identity: Identity, one: str) -> tuple[str | None, str, str]:
    return identity.team, "" if identity.team is not None else identity.key_id, one


def ids_of(response: object) -> list[str]:
    """The ids that a response can be referred to by later: its own and its items'."""
    if not isinstance(response, dict):
        return []
    output = response.get("output")
    found = [response, *(output if isinstance(output, list) else [])]
    return [one["id"] for one in found if isinstance(one, dict) and isinstance(one.get("id"), str)]
