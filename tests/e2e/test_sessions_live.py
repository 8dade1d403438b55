"""Sessions across lives of the process: what they cost, whose they are and where they stand is not forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.gateway import ADMIN_KEY, Gateway, server
from tests.support.gateway import gateway as running
from tests.support.processes import module_running
from tests.support.redis import RedisServer
from tests.support.waiting import wait_until

KEYS = {"red": "sk-team-red-000000000001", "blue": "sk-team-blue-00000000001"}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with module_running(tmp_path, "tests.support.replay") as port:
        config = {
            "server": server(),
            "upstreams": {"up": {"base_url": f"http://127.0.0.1:{port}/v1", "api_key": "sk-real", "provider": "acme"}},
            "models": {"m": {"upstream": "up", "context_tokens": 32_000, "max_output_tokens": 8000}},
            "prices": [{"provider": "acme", "model": "m", "input": "1", "output": "1"}],
            "keys": [{"name": team, "key": key, "team": team} for team, key in KEYS.items()],
            "budgets": [{"name": "each", "per": ["session"], "limit_usd": 1, "window": "total"}],
            "ledger": f"sqlite:///{tmp_path / 'ledger.db'}",
            "data_dir": str(tmp_path / "data"),
        }
        with running(tmp_path, config) as made:
            yield made


def cost_so_far(gateway: Gateway, session: str, parent: str | None = None, team: str = "red") -> str:
    """What the session's tree has cost, with one more call of $0.00015."""
    headers = {"authorization": f"Bearer {KEYS[team]}", "x-taximeter-session-id": session}
    headers |= {"x-taximeter-parent-session-id": parent} if parent else {}
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}
    told = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers).raise_for_status()
    return told.headers["x-taximeter-session-cost-usd"]


def follows(gateway: Gateway, response_id: str | None, team: str = "red") -> httpx.Response:
    body = {"model": "m", "input": "hi", "max_output_tokens": 50}
    body |= {"previous_response_id": response_id} if response_id else {}
    headers = {"authorization": f"Bearer {KEYS[team]}"}
    return httpx.post(f"{gateway.url}/v1/responses", json=body, headers=headers)


@pytest.mark.parametrize("end", [lambda g: g.stop(20), lambda g: g.kill()], ids=["stopped", "killed"])
def test_a_stored_response_can_be_followed_after_a_restart(gateway: Gateway, end: Callable[[Gateway], object]) -> None:
    first = follows(gateway, None).raise_for_status()
    end(gateway)
    gateway.up()
    assert follows(gateway, first.json()["id"], team="blue").status_code == 404
    second = follows(gateway, first.json()["id"]).raise_for_status()
    assert second.headers["x-taximeter-session-id"] == first.headers["x-taximeter-session-id"]


@pytest.mark.needs("redis-server")
def test_a_stored_response_can_be_followed_in_another_worker(gateway: Gateway, tmp_path: Path) -> None:
    gateway.stop(20)
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server:
        config = yaml.safe_load(gateway.config_file.read_text())
        gateway.config_file.write_text(yaml.safe_dump(config | {"store": server.url}))
        gateway.up("--workers", "2")
        response_id = follows(gateway, None).raise_for_status().json()["id"]
        told = [
            follows(gateway, response_id).status_code for _ in range(8)
        ]  # a connection each: either worker takes it
        assert told == [200] * 8
        gateway.stop(20)


def talks_on(gateway: Gateway, said: list[dict[str, str]]) -> str:
    """One more call of a conversation, by a client that names no session and has a connection of its own; its session."""
    said.append({"role": "user", "content": f"go on {len(said)}"})
    headers = {"authorization": f"Bearer {KEYS['red']}"}
    body = {"model": "m", "messages": said, "max_tokens": 50}
    told = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers).raise_for_status()
    said.append({"role": "assistant", "content": told.json()["choices"][0]["message"]["content"]})
    return told.headers["x-taximeter-session-id"]


@pytest.mark.parametrize("end", [lambda g: g.stop(20), lambda g: g.kill()], ids=["stopped", "killed"])
def test_a_guessed_session_is_one_after_a_restart(gateway: Gateway, end: Callable[[Gateway], object]) -> None:
    said: list[dict[str, str]] = []
    sessions = {talks_on(gateway, said) for _ in range(3)}
    (file,) = gateway.spool.parent.glob("conversations-*.txt")
    wait_until("the conversation is on disk", lambda: len(file.read_text().splitlines()) >= 3)
    end(gateway)
    gateway.up()
    sessions |= {talks_on(gateway, said) for _ in range(2)}
    assert len(sessions) == 1
    assert talks_on(gateway, []) not in sessions


@pytest.mark.needs("redis-server")
def test_a_guessed_session_is_one_in_all_workers_and_binds(gateway: Gateway, tmp_path: Path) -> None:
    """Where guesses are enforced, its budget holds over both workers and a restart."""
    gateway.stop(20)
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server:
        config = yaml.safe_load(gateway.config_file.read_text())
        config |= {"store": server.url, "session_guess": "enforce"}
        gateway.config_file.write_text(yaml.safe_dump(config))
        gateway.up("--workers", "2")
        said: list[dict[str, str]] = []
        sessions = [talks_on(gateway, said) for _ in range(8)]  # a connection each: either worker takes it
        gateway.stop(20)
        gateway.up("--workers", "2")
        sessions += [talks_on(gateway, said) for _ in range(4)]
        assert len(set(sessions)) == 1
        admin = {"authorization": f"Bearer {ADMIN_KEY}"}
        (budget,) = httpx.get(f"{gateway.admin_url}/api/budgets", headers=admin).raise_for_status().json()["items"]
        assert {one["group"]: one["spent_usd"] for one in budget["groups"]} == {sessions[0]: "0.0018"}
        gateway.stop(20)


@pytest.mark.needs("redis-server")
def test_guards_bind_at_their_limit_over_all_workers(gateway: Gateway, tmp_path: Path) -> None:
    """Of two workers each has half of a session's calls; and a restart in between forgets none."""
    gateway.stop(20)
    (tmp_path / "redis").mkdir()

    def statuses(count: int, session: str, text: str = "") -> list[int]:
        """A connection each: either worker takes it."""
        headers = {"authorization": f"Bearer {KEYS['red']}", "x-taximeter-session-id": session}
        body = [
            {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": text or f"hi {n}"}]}
            for n in range(count)
        ]
        return [httpx.post(f"{gateway.url}/v1/chat/completions", json=one, headers=headers).status_code for one in body]

    with RedisServer(tmp_path / "redis") as server:
        config = yaml.safe_load(gateway.config_file.read_text())
        guards = {"max_requests": 9, "loop": {"repeats": 4, "within_s": 600}, "max_usd_per_minute": "0.00149"}
        gateway.config_file.write_text(yaml.safe_dump(config | {"store": server.url, "guards": guards, "budgets": []}))
        gateway.up("--workers", "2")
        assert statuses(12, "again", "the same") == [200] * 4 + [429] * 8
        assert statuses(7, "s") == [200] * 7
        gateway.stop(20)
        gateway.up("--workers", "2")
        assert statuses(6, "s") == [200] * 2 + [429] * 4
        gateway.config_file.write_text(
            yaml.safe_dump(config | {"store": server.url, "guards": guards | {"max_requests": 99}})
        )
        gateway.stop(20)
        gateway.up("--workers", "2")
        dear = statuses(16, "dear")
        assert 9 <= dear.count(200) <= 12, "0.00015 each; a bill is known to the other worker a moment later"
        gateway.stop(20)


@pytest.mark.parametrize("end", [lambda g: g.stop(20), lambda g: g.kill()], ids=["stopped", "killed"])
def test_a_session_goes_on_where_it_stood(gateway: Gateway, end: Callable[[Gateway], object]) -> None:
    assert cost_so_far(gateway, "root") == "0.00015"
    assert cost_so_far(gateway, "child", parent="root") == "0.0003"
    assert cost_so_far(gateway, "root", team="blue") == "0.00015"
    end(gateway)
    gateway.up()
    assert cost_so_far(gateway, "root", team="blue") == "0.0003", "the other team comes first this time"
    assert cost_so_far(gateway, "leaf", parent="child") == "0.00045"
    assert cost_so_far(gateway, "root") == "0.0006"
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    (budget,) = httpx.get(f"{gateway.admin_url}/api/budgets", headers=admin).raise_for_status().json()["items"]
    assert {one["group"]: one["spent_usd"] for one in budget["groups"]} == {"root": "0.0006", "root@blue": "0.0003"}
