"""The agent programs that people run, before a live Taximeter: whose calls are whose, and what each does when the money ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.agents.provider import DONE
from tests.agents.rig import BUDGET, KEY, POOR_KEY, AgentRig, Ran, running
from tests.support.waiting import eventually

pytestmark = pytest.mark.agents

MAIN = "MAIN delegate"
Agent = Callable[[AgentRig, str, str], Ran]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentRig]:
    with running(tmp_path_factory.mktemp("agents")) as made:
        yield made


def shape(node: dict[str, Any]) -> dict[str, Any]:
    """A tree without what differs from run to run: own calls, and those below."""
    return {"calls": node["own_requests"], "below": [shape(child) for child in node["children"]]}


# (agent, calls of the main thread, whether the sub-agent has a session of its own). Claude Code asks once more when its
# sub-agent in the background is done, opencode first for a title, Codex once to wait.
@pytest.mark.parametrize(
    ("agent", "calls", "own_session"),
    [(AgentRig.claude_code, 3, False), (AgentRig.codex, 3, False), (AgentRig.opencode, 3, True)],
    ids=["claude-code", "codex", "opencode"],
)
def test_a_run_with_a_sub_agent_is_one_tree(rig: AgentRig, agent: Agent, calls: int, own_session: bool) -> None:
    before = {item["session"] for item in rig.api("/api/sessions")["items"]}
    ran = agent(rig, MAIN, KEY)
    assert (ran.code, DONE in ran.output) == (0, True), ran.output
    items = eventually(
        lambda: [one for one in rig.api("/api/sessions")["items"] if one["session"] not in before],
        lambda found: sum(one["requests"] for one in found) > calls,
    )
    assert len(items) == 1, "all of it is in one tree"
    tree = rig.api(f"/api/sessions/{items[0]['session']}")
    assert shape(tree) == {"calls": calls, "below": [{"calls": 1, "below": []}]}
    (child,) = tree["children"]
    assert (child["session"] != tree["session"]) == own_session
    assert bool(child["agent"]) != own_session
    assert tree["source"] == tree["client"] == tree["calls"][0]["client"]
    assert float(tree["cost_usd"]) == pytest.approx(float(tree["own_cost_usd"]) + float(child["cost_usd"]))
    assert tree["requests"] == items[0]["requests"] == calls + 1


# (agent, requests until it gives up, what it shows). opencode asks for a title and for the answer at once, each once.
# Codex shows no server's text; of a usage limit it says when it ends.
@pytest.mark.parametrize(
    ("agent", "requests", "shown"),
    [
        (AgentRig.claude_code, 1, f"Budget {BUDGET}: $0.0001 of $0.0001 left"),
        (AgentRig.codex, 1, "You’ve hit your usage limit. Try again at"),
        (AgentRig.opencode, 2, f"Budget {BUDGET}: $0.0001 of $0.0001 left"),
    ],
    ids=["claude-code", "codex", "opencode"],
)
def test_an_agent_gives_up_at_once_and_says_why(rig: AgentRig, agent: Agent, requests: int, shown: str) -> None:
    before = rig.refusals()
    ran = agent(rig, MAIN, POOR_KEY)
    assert ran.code != 0
    assert shown in ran.output
    assert eventually(rig.refusals, lambda now: now - before >= requests) - before == requests
