"""Step four of an exchange: under which session, agent, user and labels a call is counted."""

from __future__ import annotations

from proxy.cohort import COHORT
from proxy.dialects import turns
from proxy.downstream.client import Client
from proxy.exchange.configured import Configured
from proxy.exchange.plane import Plane, Recall
from proxy.sessions.attribution import attribute, named, says_nothing
from proxy.sessions.chains import Beginning, Conversation
from proxy.sessions.known_clients import ClientSession, client_of
from proxy.sessions.trees import Node, scope, scope_of
from proxy.types import Attribution, Call, Identity

_NO_HEADERS: dict[bytes, bytes] = {}


async def attributed(
    plane: Plane, configured: Configured, client: Client, call: Call, identity: Identity
) -> tuple[Attribution, Conversation | Beginning | None]:
    """What the call is counted under; and its conversation, where only that can tell its session.

    A session that is guessed from the conversation is shown, but counts in budgets and guards as the call's own, unless
    `session_guess: enforce`.
    """
    headers, notes = client.headers, client.notes
    kind = notes.client
    if kind is None:
        kind = notes.client = client_of(headers)
        notes.silent = says_nothing(headers)
    if notes.silent:
        headers = _NO_HEADERS
    session = named(headers, call.body, kind, client.request_id)
    conversation: Conversation | Beginning | None = None
    guessed = elsewhere = False
    if session is None and call.held:
        holder = plane.stored_owners.find(identity, call.held[0])
        session = ClientSession(holder.session_id, "previous_response_id") if holder.session_id else None
    if session is None and turns.is_conversation(call):
        whose = f"{identity.key_id} {kind}"
        if not COHORT.crowded and turns.has_no_answer(call):  # of many that move together each waits for all
            conversation = Beginning(call, whose)
        else:
            conversation = extended = plane.chains.conversation(call, whose)
            session_id = plane.chains.session(extended)
            if session_id is None and extended.replies and plane.shares_conversations:
                session_id = await plane.session_elsewhere(plane.chains.asked_elsewhere(extended))
                elsewhere = session_id is not None
            extended.let_go()
            guessed = session_id is not None
            session = ClientSession(session_id, "prefix") if session_id is not None else None
    if session is None:
        own = Node(client.request_id, client.request_id, None, 1)
        return attribute(headers, call.body, identity, kind, own, "none", None, own.root), conversation
    if plane.recall is not None and (elsewhere or session.source not in _KNOWN_HERE):
        await _recall(plane, plane.recall, identity, session, client.request_id)
    node = plane.trees.place(scope_of(identity), session.session_id, session.parent)
    budgeted = client.request_id if guessed and configured.config.session_guess == "show" else node.root
    made = attribute(headers, call.body, identity, kind, node, session.source, session, budgeted)
    return made, conversation


# Sessions that are found in memory, and one that is new with every call: nothing is asked about them.
_KNOWN_HERE = frozenset({"prefix", "previous_response_id", "traceparent"})


async def _recall(plane: Plane, recall: Recall, identity: Identity, session: ClientSession, own_id: str) -> None:
    """At the first call of a session in this process: whose it is, where it stood and what it had cost before."""
    mine, trees = scope_of(identity), plane.trees
    ids = (session.session_id if session.session_id != own_id else None, session.parent)
    names = trees.unknown(mine, ids)
    if not names:
        return
    rows = {row["name"]: row for row in await recall(names) or ()}
    for name in names:
        if (row := rows.get(name)) is None:
            continue
        owner, plain = scope(row["team"], row["key"]), name.removesuffix(f"@{mine}")
        plane.session_costs.begin(row["team"], row["root"], row["tree_nanousd"])
        node = Node(name, row["root"], row["parent"], row["depth"])
        if name in ids:
            trees.recall(owner, name, node)
        elif owner == mine and plain in rows and scope(rows[plain]["team"], rows[plain]["key"]) != mine:
            trees.recall(mine, plain, node)  # the plain name was another team's by then
