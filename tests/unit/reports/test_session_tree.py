"""Trees of sessions and agents from the ledger's sums: everything is somewhere below the root, once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from proxy.reports.session_tree import MAX_DEPTH, Node, Part, tree_of


def part(
    session: str, parent: str | None = None, agent: str | None = None, above: str | None = None, **more: Any
) -> Part:
    made: dict[str, Any] = {
        "requests": 1, "unpriced_requests": 0, "cost_nanousd": 10, "usage": {"input": 5}, "started_at": 100, "ended_at": 200,
    } | more  # fmt: skip
    return Part(session, parent, agent, above, **made)


def drawn(node: Node) -> list[str]:
    """The tree in lines: `  name own/all`."""
    return [
        f"{'  ' * depth}{one.agent or one.session} {one.own_cost_nanousd}/{one.cost_nanousd}"
        for depth, one in node.walk()
    ]


def test_agents_of_one_session_are_below_it() -> None:
    """As Claude Code and Codex send it: one session id, and who calls."""
    parts = [part("s"), part("s", agent="a1"), part("s", agent="a2", above="a1", cost_nanousd=7)]
    assert drawn(tree_of("s", parts, [])) == ["s 10/27", "  a1 10/17", "    a2 7/7"]


def test_sessions_below_sessions() -> None:
    """As opencode sends it: a session of its own for each, with its parent's id."""
    parts = [part("root"), part("child", "root"), part("leaf", "child"), part("other", "root", cost_nanousd=1)]
    tree = tree_of("root", parts, [])
    assert drawn(tree) == ["root 10/31", "  child 10/20", "    leaf 10/10", "  other 1/1"]
    assert (tree.requests, tree.own_requests, tree.usage) == (4, 1, {"input": 20})


def test_a_session_of_one_agent_is_that_agent() -> None:
    parts = [part("root"), part("child", "root", agent="reviewer")]
    assert drawn(tree_of("root", parts, [])) == ["root 10/20", "  reviewer 10/10"]


def test_a_root_that_never_called_is_there_all_the_same() -> None:
    tree = tree_of("root", [part("child", "root")], [])
    assert drawn(tree) == ["root 0/10", "  child 10/10"]
    assert (tree.started_at, tree.ended_at) == (100, 200)


def test_times_are_those_of_all_below() -> None:
    parts = [part("r", started_at=50, ended_at=60), part("c", "r", started_at=40, ended_at=400)]
    tree = tree_of("r", parts, [])
    assert (tree.started_at, tree.ended_at) == (40, 400)


def test_an_unknown_parent_is_taken_to_be_the_root() -> None:
    assert drawn(tree_of("r", [part("r"), part("c", "gone")], [])) == ["r 10/20", "  c 10/10"]


def test_calls_are_at_who_made_them() -> None:
    calls: list[dict[str, Any]] = [
        {"id": "1", "session_id": "s", "agent": None},
        {"id": "2", "session_id": "s", "agent": "a1"},
        {"id": "3", "session_id": "c", "agent": "x"},
    ]
    tree = tree_of("s", [part("s"), part("s", agent="a1"), part("c", "s", agent="x", started_at=150)], calls)
    assert [(node.agent or node.session, [call["id"] for call in node.calls]) for _, node in tree.walk()] == [
        ("s", ["1"]),
        ("a1", ["2"]),
        ("x", ["3"]),
    ]


@pytest.mark.parametrize(
    "parts",
    [
        [part("a", "b"), part("b", "a"), part("r")],
        [part("r"), part("r", agent="x", above="y"), part("r", agent="y", above="x")],
        [part("r"), part("r", agent="x", above="x")],
        [part("r", "r"), part("r", "a"), part("a", "a")],
        [part("a", "r"), part("a", "b"), part("b", "a")],
    ],
)
def test_circles_end_at_the_root(parts: list[Part]) -> None:
    tree = tree_of("r", parts, [])
    assert tree.cost_nanousd == 10 * len(parts)


def test_nothing_is_lost_or_counted_twice_whatever_clients_claim() -> None:
    rng = random.Random(7)
    for _ in range(200):
        names, agents = [f"s{n}" for n in range(rng.randint(1, 8))], [None, "a", "b", "c"]
        parts = [
            part(rng.choice(names), rng.choice([None, "gone", *names]), rng.choice(agents), rng.choice(agents), cost_nanousd=rng.randint(0, 99))
            for _ in range(rng.randint(1, 20))
        ]  # fmt: skip
        tree = tree_of("s0", parts, [])
        nodes = [node for _, node in tree.walk()]
        assert (
            tree.cost_nanousd == sum(one.cost_nanousd for one in parts) == sum(node.own_cost_nanousd for node in nodes)
        )
        assert len({id(node) for node in nodes}) == len(nodes)


def test_agents_that_nest_without_end_are_shown_to_a_depth() -> None:
    """A chain of any length, in time that grows with it: 20,000 names are walked over once each."""
    parts = [
        Part("s", None, f"a{number}", f"a{number - 1}" if number else None, 1, 0, 1, {}, number, number)
        for number in range(20_000)
    ]
    tree = tree_of("s", parts, [])

    assert max(depth for depth, _ in tree.walk()) == MAX_DEPTH
    assert sum(1 for _ in tree.walk()) == 20_001
    assert tree.cost_nanousd == 20_000
