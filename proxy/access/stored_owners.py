"""Which team owns what is stored at a provider, and at which provider: no other team may use its ids. No I/O.

The latest are in memory; all of the last month are in the ledger (`ledger/beside/stored.py`), for other workers and after a
restart. There and here only digests are kept, of an id together with its owner: a team, or a key that has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from proxy.bounded_table import BoundedTable
from proxy.dialects.references import NAMES, made_by
from proxy.errors import stored_not_found
from proxy.types import Identity

_MAX_IDS = 200_000
_MAX_IDS_OF_ONE = 256


class Holder(NamedTuple):
    """Where something is stored: the upstream, the name of the model by which a client reached it, and in which session.

    facts: of a file, what a batch of it may cost (`proxy.jobs.bounds.Bounds`); of a cache, its `tokens`.
    """

    upstream: str
    model: str
    session_id: str = ""
    facts: Mapping[str, Any] | None = None


class StoredOwners:
    """Holders by digest."""

    def __init__(self, max_ids: int = _MAX_IDS) -> None:
        self._holders: BoundedTable[str, Holder] = BoundedTable(max_ids)

        self._sessions: BoundedTable[str, str] = BoundedTable(max_ids)

    def note_session(self, identity: Identity, handle: str) -> None:
        """A provider has given this owner a handle by which a spoken session can be gone on with."""
        self._sessions[_digest(handle)] = digest(identity, handle)

    def check_session(self, identity: Identity, handle: str) -> None:
        """Raises `Refused` (404) for a handle that another team was given here. One that nobody was, is its holder's secret."""
        if self._sessions.get(_digest(handle)) not in (None, digest(identity, handle)):
            raise stored_not_found("setup.sessionResumption.handle")

    def note(self, digests: Iterable[str], holder: Holder) -> None:
        for digest in digests:
            self._holders[digest] = holder

    def unknown(self, digests: Iterable[str]) -> list[str]:
        return [one for one in digests if one not in self._holders]

    def find(self, identity: Identity, object_id: str) -> Holder:
        """Raises `Refused` (404) for an id that is unknown or another team's."""
        holder = self._holders.get(digest(identity, object_id))
        if holder is None:
            raise stored_not_found("id")
        return holder


def digest(identity: Identity, object_id: str) -> str:
    """What an id is known by: another team's same id has another digest."""
    owner = ("team", identity.team) if identity.team is not None else ("key", identity.key_id)
    parts = (part.encode("utf-8", "surrogatepass") for part in (*owner, object_id))
    return hashlib.blake2b(b"".join(b"%d:" % len(part) + part for part in parts), digest_size=16).hexdigest()


def _digest(handle: str) -> str:
    return hashlib.blake2b(handle.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def digests_of(identity: Identity, *answer: object, dialect: str = "openai.responses") -> Sequence[str]:
    """Those of the ids by which an answer, whole or as events, can be referred to later: its own and its items', files'."""
    ids = dict.fromkeys(one for part in answer for one in _ids_in(part, dialect))
    return [digest(identity, one) for one in islice(ids, _MAX_IDS_OF_ONE)]


def _ids_in(answer: object, dialect: str) -> list[str]:
    if not isinstance(answer, dict):
        return []
    if dialect == "gemini.cachedContents":  # its name alone: what a client wrote may stand in the answer too
        return [answer["name"]] if isinstance(answer.get("name"), str) else []
    if dialect == "anthropic.messages":
        message = answer.get("message", answer)  # as a stream's first event has it
        whole = isinstance(message, dict) and message.get("type") == "message" and isinstance(message.get("id"), str)
        return [*([message["id"]] if whole else []), *made_by(answer, NAMES[dialect])]
    if dialect != "openai.responses":
        return made_by(answer, NAMES[dialect])
    response = answer.get("response", answer)  # as a stream's last event has it
    output = response.get("output") if isinstance(response, dict) else None
    items = output if isinstance(output, list) else []
    ids = [one["id"] for one in (response, *items) if isinstance(one, dict) and isinstance(one.get("id"), str)]
    return ids + made_by(items, NAMES[dialect])
