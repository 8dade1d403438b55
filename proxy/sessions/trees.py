"""The trees that sessions make, and whose each session is.

A session is a label within the key's team, never an identity: an id that two teams send is two sessions, so that nobody
can spend, or see, another team's. Where nothing is found, a call is a session of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from pricing.values import Value, frozen
from proxy.bounded_table import BoundedTable
from proxy.types import Identity

_MAX_DEPTH = 16
_MAX_SESSIONS = 200_000


@frozen
class Node(Value):
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
        self._nodes: BoundedTable[tuple[str, str], Node] = BoundedTable(max_sessions)
        self._owners: BoundedTable[str, str] = BoundedTable(max_sessions)

    def place(self, scope: str, session_id: str, parent: str | None) -> Node:
        """The place of a session of `scope` (a team, or a key that has none); `parent` counts at its first call only."""
        key = (scope, session_id)
        node = self._nodes.get(key)
        if node is not None:
            self._nodes.touch(key)
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
        return node

    def unknown(self, scope: str, session_ids: Iterable[str | None]) -> list[str]:
        """Of these sessions the names that they may have had before, where this is not known."""
        ids = [one for one in session_ids if one is not None and (scope, one) not in self._nodes]
        return [name for one in ids for name in (one, f"{one}@{scope}")]

    def recall(self, scope: str, session_id: str, node: Node) -> None:
        """Put a session where it stood in an earlier life, unless it stands somewhere by now."""
        if self._own(node.session_id, scope) and (scope, session_id) not in self._nodes:
            self._nodes[scope, session_id] = node

    def _name(self, scope: str, session_id: str) -> str:
        """The id itself, or what no other team has: another may have sent `id@team` as an id."""
        name = session_id
        while not self._own(name, scope):
            name = f"{name}@{scope}"
        return name

    def _own(self, name: str, scope: str) -> bool:
        """Whether the name is the scope's; a name that nobody has becomes so."""
        owner = self._owners.get(name)
        if owner is None:
            self._owners[name] = scope
            return True
        self._owners.touch(name)
        return owner == scope


def scope_of(identity: Identity) -> str:
    """Whose sessions these are: the team's, or the key's own where it has none."""
    return scope(identity.team, identity.key)


def scope(team: str | None, key: str | None) -> str:
    """A name for each team and for each key without one: teams may be called anything, so one like a key's is told apart."""
    if team is None:
        return f"key {key}"
    return f"team {team}" if team.startswith(("key ", "team ")) else team
