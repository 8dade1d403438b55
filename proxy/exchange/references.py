"""What calls refer to at their provider (stored responses and the items in them): whose it is, and where."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from proxy.access.stored_owners import Holder, digest, digests_of
from proxy.exchange.attempt import Attempt
from proxy.exchange.plane import Plane
from proxy.types import Call, Identity

_ASK_AGAIN_S = (0, 0.25, 0.75)  # what another worker has just been answered is in the ledger within a second


async def recall_stored(plane: Plane, identity: Identity, call: Call) -> None:
    """What the call refers to and this process does not know: another worker may have made it, or this one before a restart."""
    if plane.recall_stored is None:
        return
    owners = plane.stored_owners
    unknown = owners.unknown(digest(identity, stored_id) for stored_id in call.held)
    for pause_s in _ASK_AGAIN_S:
        if not unknown:
            return
        await asyncio.sleep(pause_s)
        for row in await plane.recall_stored(unknown) or ():
            owners.note((row["digest"],), Holder(row["upstream"], row["model"], row["session_id"]))
        unknown = owners.unknown(unknown)


def note_stored(attempt: Attempt, response: object) -> Sequence[str]:
    """Whose this stored response is, and of which session; digests of what the ledger keeps of it, as long as the provider
    keeps the response."""
    exchange, route = attempt.exchange, attempt.route
    digests = digests_of(exchange.identity, response)
    holder = Holder(route.upstream, route.requested, exchange.attribution.session_id)
    exchange.plane.stored_owners.note(digests, holder)
    return digests if exchange.call.body.get("store") is not False else ()
