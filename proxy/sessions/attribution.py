"""Which session, agent and client a call belongs to, and the trees that sessions make.

A session is a label within the key's team, never an identity: an id that two teams send is two sessions, so that nobody
can spend, or see, another team's. Where nothing is found, a call is a session of its own.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from proxy.errors import invalid_request
from proxy.sessions import known_clients as clients
from proxy.sessions.known_clients import Found
from proxy.types import Attribution, Identity

_SESSION_ID = re.compile(r"[\x21-\x7e]{1,200}\Z")
_MAX_LABELS = 32
_MAX_LABEL_CHARS = 200
_MAX_DEPTH = 16
_MAX_SESSIONS = 200_000


class Node(NamedTuple):
    """A session's place: its name here, its tree's root, its parent, and how deep it lies (a root: 1)."""

    session_id: str
    root: str
    parent: str | None
    depth: int


class SessionTrees:
    """Where each session stands, fixed at its first call; the latest sessions only. No I/O.

    An id that another team uses already is a session of another name: `id@team`.
    """

    def __init__(self, max_sessions: int = _MAX_SESSIONS) -> None:
        self._max = max_sessions
        self._nodes: OrderedDict[tuple[str, str], Node] = OrderedDict()
        self._owners: OrderedDict[str, str] = OrderedDict()

    def place(self, scope: str, session_id: str, parent: str | None) -> Node:
        """The place of a session of `scope` (a team, or a key that has none); `parent` counts at its first call only."""
        key = (scope, session_id)
        node = self._nodes.get(key)
        if node is not None:
            self._nodes.move_to_end(key)
            self._own(node.session_id, scope)
            return node
        name = self._name(scope, session_id)
        above = None
        if parent is not None and parent != session_id:
            above = self._nodes.get((scope, parent)) or self.place(scope, parent, None)
        if above is None:
            node = Node(name, name, None, 1)
        elif above.depth < _MAX_DEPTH:
            node = Node(name, above.root, above.session_id, above.depth + 1)
        else:  # however deep it nests, it stays in its tree, and in its tree's budget
            node = Node(name, above.root, above.parent, _MAX_DEPTH)
        self._nodes[key] = node
        if len(self._nodes) > self._max:
            self._nodes.popitem(last=False)
        return node

    def strange(self, scope: str, session_ids: Iterable[str | None]) -> list[str]:
        """Of these sessions the names that they may have had before, where this is not known."""
        ids = [one for one in session_ids if one is not None and (scope, one) not in self._nodes]
        return [name for one in ids for name in (one, f"{one}@{scope}")]

    def recall(self, scope: str, session_id: str, node: Node) -> None:
        """Put a session where it stood in an earlier life, unless it stands somewhere by now."""
        if self._own(node.session_id, scope):
            self._nodes.setdefault((scope, session_id), node)

    def _name(self, scope: str, session_id: str) -> str:
        """The id itself, or what no other team has: another may have sent `id@team` as an id."""
        name = session_id
        while not self._own(name, scope):
            name = f"{name}@{scope}"
        return name

    def _own(self, name: str, scope: str) -> bool:
        """Whether the name is the scope's; a name that nobody has becomes so."""
        owner = self._owners.setdefault(name, scope)
        self._owners.move_to_end(name)
        if len(self._owners) > self._max:
            self._owners.popitem(last=False)
        return owner == scope


def scope_of(identity: Identity) -> str:
    """Whose sessions these are: the team's, or the key's own where it has none."""
    return scope(identity.team, identity.key)


def scope(team: str | None, key: str | None) -> str:
    return team if team is not None else f"key {key}"


def named(headers: Mapping[bytes, bytes], body: Mapping[str, Any], client: str, own_id: str) -> Found | None:
    """The session that the call names: by our own headers, else by what its client sends; None where by nothing.

    A call that names nothing but a parent is a session of its own (`own_id`) below that one.
    """
    parent = _text(headers, b"x-taximeter-parent-session-id")
    agent = _text(headers, b"x-taximeter-agent")
    own = _text(headers, b"x-taximeter-session-id")
    found = clients.find(headers, body, client)
    if own:
        found = found._replace(session_id=own, source="taximeter", parent=None) if found else Found(own, "taximeter")
    if found is None:
        return Found(own_id, "none", parent, agent) if parent else None
    if agent:
        found = found._replace(agent=agent, parent_agent=None)
    return found._replace(parent=parent) if parent else found


def attribute(
    headers: Mapping[bytes, bytes],
    body: Mapping[str, Any],
    identity: Identity,
    client: str,
    node: Node,
    source: str,
    found: Found | None,
    budgeted: str,
) -> Attribution:
    """What the call is counted under; `budgeted` is the session that budgets and guards count it in."""
    claimed_user = _text(headers, b"x-taximeter-user")
    claimed_customer = _text(headers, b"x-taximeter-customer") or _claimed_in_body(body)
    claimed = _labels(headers)
    trusted = identity.trust_labels
    untrusted = dict(claimed) if not trusted else {}
    if not trusted:
        if claimed_user:
            untrusted["user"] = claimed_user
        if claimed_customer:
            untrusted["customer"] = claimed_customer
    return Attribution(
        session_id=node.session_id,
        session_source=source,
        root_session_id=node.root,
        budgeted_session_id=budgeted,
        parent_session_id=node.parent,
        agent=(found.agent if found else None) or _text(headers, b"x-taximeter-agent"),
        parent_agent=found.parent_agent if found else None,
        user=identity.user or (claimed_user if trusted else None),
        customer=identity.customer or (claimed_customer if trusted else None),
        labels={**claimed, **identity.labels} if trusted and claimed else identity.labels,
        untrusted_labels=untrusted,
        client=client,
    )


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    """A header's value as an id: visible ASCII, at most 200 characters; anything else is refused, not shortened."""
    raw = headers.get(name)
    if not raw:
        return None
    value = raw.decode("latin-1").strip()
    if not _SESSION_ID.match(value):
        shown = name.decode()
        raise invalid_request(f"The header {shown} must be 1 to 200 visible ASCII characters.", shown)
    return value


def _claimed_in_body(body: Mapping[str, Any]) -> str | None:
    for name in ("user", "safety_identifier"):
        value = body.get(name)
        if isinstance(value, str) and 0 < len(value) <= _MAX_LABEL_CHARS and value.isprintable():
            return value
    return None


def _labels(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    raw = headers.get(b"x-taximeter-labels")
    if not raw:
        return {}
    labels: dict[str, str] = {}
    for pair in raw.decode("latin-1").split(","):
        name, equals, value = pair.strip().partition("=")
        if not equals or not name or not pair.isprintable() or max(len(name), len(value)) > _MAX_LABEL_CHARS:
            raise invalid_request("The header x-taximeter-labels must read a=b,c=d.", "x-taximeter-labels")
        labels[name] = value
    if len(labels) > _MAX_LABELS:
        raise invalid_request(f"At most {_MAX_LABELS} labels are taken.", "x-taximeter-labels")
    return labels
