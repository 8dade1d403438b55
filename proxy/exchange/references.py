"""What calls refer to at their provider (stored responses and the items in them): whose it is, and where."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.access.stored_owners import Holder, digest, digests_of
from proxy.dialects.responses import forget_ids
from proxy.errors import stored_not_found
from proxy.exchange.attempt import Attempt
from proxy.exchange.plane import Plane
from proxy.types import Call, Identity

_ASK_AGAIN_S = (0, 0.25, 0.75)  # what another worker has just been answered is in the ledger within a second
_ASKED_AT_ONCE = 256


async def recall_stored(plane: Plane, identity: Identity, call: Call) -> None:
    """What the call refers to and this process does not know: another worker may have made it, or this one before a restart.

    Raises `Refused` (404) for a mention of what is another's. Nothing is asked about the mentions of a client that has the
    provider store nothing: they are left out.
    """
    owners = plane.stored_owners
    stateless = call.body.get("store") is False
    digests = {digest(identity, stored_id): stored_id for stored_id in call.mentioned}
    await recall_ids(plane, identity, [*call.held, *(() if stateless else call.mentioned)])
    foreign = frozenset(digests[key] for key in owners.unknown(digests))
    if foreign and not stateless:
        raise stored_not_found("input")
    if foreign:
        forget_ids(call.body, foreign)


async def recall_ids(plane: Plane, identity: Identity, ids: Iterable[str], *, patient: bool = True) -> None:
    """Ask the ledger about those of these that are not known here. patient: another worker may have made one just now."""
    owners = plane.stored_owners
    unknown = owners.unknown(digest(identity, one) for one in ids)
    for pause_s in _ASK_AGAIN_S if patient else _ASK_AGAIN_S[:1]:
        if not unknown or plane.recall_stored is None:
            return
        await asyncio.sleep(pause_s)
        for start in range(0, len(unknown), _ASKED_AT_ONCE):
            for row in await plane.recall_stored(unknown[start : start + _ASKED_AT_ONCE]) or ():
                owners.note(
                    (row["digest"],), Holder(row["upstream"], row["model"], row["session_id"], row.get("facts"))
                )
        unknown = owners.unknown(unknown)


def with_its_size(plane: Plane, identity: Identity, call: Call) -> Call:
    """The call with the tokens of the caches that it reads, where their creation said how many they are."""
    if call.dialect != "gemini" or not call.held:
        return call
    sizes = [(plane.stored_owners.find(identity, one).facts or {}).get("tokens") for one in call.held]
    known = [size for size in sizes if type(size) is int]
    return call._replace(stored_tokens=sum(known)) if len(known) == len(sizes) else call


def note_stored(attempt: Attempt, answer: Iterable[object], facts: Mapping[str, Any] | None = None) -> Sequence[str]:
    """Note the owner of what this answer, or its events, say was stored, with `facts` about it. Returns digests of what the
    provider keeps, for the ledger."""
    exchange, route = attempt.exchange, attempt.route
    digests = digests_of(exchange.identity, *answer, dialect=exchange.call.dialect)
    holder = Holder(route.upstream, route.requested, exchange.attribution.session_id, facts)
    exchange.plane.stored_owners.note(digests, holder)
    return digests if exchange.call.body.get("store") is not False else ()
