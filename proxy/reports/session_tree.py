"""One session as a tree: its agents, the sessions that it started, and what each came to with all below it. Pure.

A node is a session, or one agent in it. Where all calls of a session are one agent's, the session's node is that agent's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple

from pricing.values import slotted

Usage = dict[str, int]

MAX_DEPTH = 64
"""Who nests deeper (agents may, as they like) is shown beside the last one that fits: an answer is nested as its tree is."""


class Part(NamedTuple):
    """What the calls of one agent in one session came to, as the ledger has it. Times in epoch microseconds."""

    session: str
    parent_session: str | None
    agent: str | None
    parent_agent: str | None
    requests: int
    unpriced_requests: int
    cost_nanousd: int
    usage: Usage
    started_at: int
    ended_at: int


@slotted
class Node:
    """`own_…`: by its own calls; the other amounts and times are those of all that is below it, too."""

    session: str
    agent: str | None
    own_requests: int = 0
    own_cost_nanousd: int = 0
    requests: int = 0
    unpriced_requests: int = 0
    cost_nanousd: int = 0
    usage: Usage = field(default_factory=dict)
    started_at: int | None = None
    ended_at: int | None = None
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """This node and all below it, each after its parent, with how deep it lies."""
        stack = [(depth, self)]
        while stack:
            below, node = stack.pop()
            yield below, node
            stack += [(below + 1, child) for child in reversed(node.children)]


Name = tuple[str, str | None]


def tree_of(root: str, parts: Sequence[Part], calls: Iterable[Mapping[str, Any]]) -> Node:
    """The tree of the session `root`. A parent that is not in it, or that is below its own child, is taken to be the root."""
    agents: dict[str, set[str | None]] = {}
    for part in parts:
        agents.setdefault(part.session, set()).add(part.agent)
    agents.setdefault(root, {None})

    def name_of(session: str, agent: str | None) -> Name:
        return (session, agent) if agent in agents[session] and len(agents[session]) > 1 else (session, None)

    nodes: dict[Name, Node] = {
        (session, None): Node(session, next(iter(of)) if len(of) == 1 else None) for session, of in agents.items()
    }
    above: dict[Name, Name] = {}
    for part in parts:
        name = name_of(part.session, part.agent)
        node = nodes.setdefault(name, Node(part.session, part.agent))
        _add(node, part)
        if name[1] is not None:
            above[name] = name_of(part.session, part.parent_agent)
        if part.session != root:
            parent = part.parent_session if part.parent_session in agents else None
            above.setdefault((part.session, None), (parent or root, None))
    _mend(nodes, above, (root, None))
    for call in calls:
        nodes[name_of(call["session_id"], call["agent"])].calls.append(call)
    for name, node in sorted(nodes.items(), key=lambda item: (item[1].started_at or 0, item[0][0], item[0][1] or "")):
        if name != (root, None):
            nodes[above[name]].children.append(node)
    _roll_up(nodes[root, None])
    return nodes[root, None]


def _mend(names: Iterable[Name], above: dict[Name, Name], root: Name) -> None:
    """Make every way up reach the root, in at most `MAX_DEPTH` steps. Each name is walked over once, however they hang."""
    depth = {root: 0}
    for name in names:
        way: dict[Name, None] = {}
        while name not in depth:
            way[name] = None
            parent = above.get(name)
            if parent is None or parent in way:
                above[name] = parent = root
            name = parent  # noqa: PLW2901 - the way up
        for below in reversed(way):
            parent = above[below]
            if depth[parent] == MAX_DEPTH:
                parent = above[below] = above[parent]
            depth[below] = depth[parent] + 1


def _add(node: Node, part: Part) -> None:
    node.own_requests += part.requests
    node.own_cost_nanousd += part.cost_nanousd
    node.requests += part.requests
    node.unpriced_requests += part.unpriced_requests
    node.cost_nanousd += part.cost_nanousd
    _add_usage(node.usage, part.usage)
    _span(node, part.started_at, part.ended_at)


def _add_usage(usage: Usage, more: Usage) -> None:
    for unit, quantity in more.items():
        usage[unit] = usage.get(unit, 0) + quantity


def _span(node: Node, started_at: int | None, ended_at: int | None) -> None:
    if started_at is not None:
        node.started_at = started_at if node.started_at is None else min(node.started_at, started_at)
    if ended_at is not None:
        node.ended_at = ended_at if node.ended_at is None else max(node.ended_at, ended_at)


def _roll_up(root: Node) -> None:
    """Add to every node what is below it, from the leaves up."""
    for _, node in reversed(list(root.walk())):
        for child in node.children:
            node.requests += child.requests
            node.unpriced_requests += child.unpriced_requests
            node.cost_nanousd += child.cost_nanousd
            _add_usage(node.usage, child.usage)
            _span(node, child.started_at, child.ended_at)
