"""Trees of sessions: fixed at the first call, within one team, bounded in depth and number."""

from __future__ import annotations

import pytest

from proxy.errors import Refused
from proxy.sessions.attribution import named
from proxy.sessions.trees import Node, SessionTrees, scope, scope_of
from proxy.types import Identity


def test_a_session_without_a_parent_is_its_own_root() -> None:
    assert SessionTrees().place("t", "a", None) == Node("a", "a", None, 1)


def test_children_count_in_their_root() -> None:
    trees = SessionTrees()
    trees.place("t", "root", None)
    trees.place("t", "child", "root")
    assert trees.place("t", "grandchild", "child") == Node("grandchild", "root", "child", 3)


def test_an_unknown_parent_becomes_the_root() -> None:
    trees = SessionTrees()
    assert trees.place("t", "child", "never seen") == Node("child", "never seen", "never seen", 2)
    assert trees.place("t", "never seen", "another") == Node("never seen", "never seen", None, 1)


def test_the_first_call_decides() -> None:
    trees = SessionTrees()
    trees.place("t", "a", None)
    trees.place("t", "b", "a")
    assert trees.place("t", "b", "elsewhere").root == "a"
    assert trees.place("t", "a", "b").root == "a"


def test_a_session_that_is_its_own_parent_is_a_root() -> None:
    assert SessionTrees().place("t", "a", "a").root == "a"


def test_however_deep_it_nests_it_stays_in_its_tree() -> None:
    trees = SessionTrees()
    trees.place("t", "s0", None)
    nodes = [trees.place("t", f"s{n}", f"s{n - 1}") for n in range(1, 100)]
    assert {node.root for node in nodes} == {"s0"}
    assert max(node.depth for node in nodes) == 16


def test_two_teams_with_one_id_have_two_sessions() -> None:
    trees = SessionTrees()
    assert trees.place("red", "a", None).root == "a"
    assert trees.place("blue", "a", None).root == "a@blue"
    assert trees.place("blue", "b", "a").root == "a@blue"
    assert trees.place("red", "a", None).root == "a"


def test_a_name_that_another_team_may_get_cannot_be_taken_beforehand() -> None:
    trees = SessionTrees()
    taken = {trees.place("red", one, None).root for one in ("a", "a@blue", "a@blue@blue")}
    assert trees.place("blue", "a", None).root not in taken


def test_a_session_in_use_keeps_its_name() -> None:
    trees = SessionTrees(max_sessions=10)
    trees.place("red", "a", None)
    for number in range(100):
        trees.place("red", f"s{number}", None)
        trees.place("red", "a", None)
    assert trees.place("blue", "a", None).root == "a@blue"


def test_the_latest_are_kept() -> None:
    trees = SessionTrees(max_sessions=3)
    for number in range(10):
        trees.place("t", f"s{number}", None)
    assert len(trees._nodes) == len(trees._owners) == 3


def test_a_key_without_a_team_has_sessions_of_its_own() -> None:
    assert scope_of(Identity("id", "k")) != scope_of(Identity("id", "k2"))
    assert scope_of(Identity("id", "k", team="t")) == scope_of(Identity("id", "k2", team="t"))


def test_our_own_headers_win() -> None:
    headers = {
        b"x-taximeter-session-id": b"mine",
        b"x-claude-code-session-id": b"theirs",
        b"x-taximeter-agent": b"planner",
    }
    found = named(headers, {}, "claude-code", "own")
    assert found is not None
    assert (found.session_id, found.source, found.agent) == ("mine", "taximeter", "planner")


def test_a_run_that_we_name_keeps_its_clients_agents() -> None:
    headers = {
        b"x-taximeter-session-id": b"mine",
        b"x-claude-code-session-id": b"theirs",
        b"x-claude-code-agent-id": b"a1",
    }
    found = named(headers, {}, "claude-code", "own")
    assert found is not None
    assert (found.session_id, found.source, found.agent) == ("mine", "taximeter", "a1")


def test_our_parent_joins_what_a_client_says_of_itself() -> None:
    headers = {b"x-claude-code-session-id": b"theirs", b"x-taximeter-parent-session-id": b"above"}
    found = named(headers, {}, "claude-code", "own")
    assert found is not None
    assert (found.session_id, found.parent) == ("theirs", "above")


def test_a_parent_alone_makes_the_call_its_child() -> None:
    found = named({b"x-taximeter-parent-session-id": b"above"}, {}, "other", "own")
    assert found is not None
    assert (found.session_id, found.source, found.parent) == ("own", "none", "above")


def test_an_id_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(Refused):
        named({b"x-taximeter-session-id": b"two words"}, {}, "other", "own")


def test_no_teams_name_makes_it_the_owner_of_a_keys_sessions() -> None:
    pairs = [
        (None, "n1"),
        ("key n1", "n1"),
        ("team key n1", "n1"),
        ("team team key n1", "n1"),
        (None, "key n1"),
        ("n1", "n1"),
    ]
    assert len({scope(team, key) for team, key in pairs}) == len(pairs)
