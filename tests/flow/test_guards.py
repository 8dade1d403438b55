"""Runaway agents are stopped: by calls, by dollars a minute, by repetition; each refusal says why, once, and is final."""

from __future__ import annotations

from typing import Any, cast

import orjson
import pytest

from proxy.budgets.guards import Guards, repeated_tool
from proxy.budgets.store import StoreUnavailable
from proxy.config.model import Config
from proxy.config.reading import read_section
from tests.flow.house import Build, House, Odd, whole
from tests.support.calls import call_of

SESSION = {"x-taximeter-session-id": "s"}


def message(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


async def statuses(house: House, count: int, *, same: bool = False, **fields: Any) -> list[int]:
    return [
        (await house.ask(messages=message("hi" if same else f"hi {n}"), headers=SESSION, **fields)).status
        for n in range(count)
    ]


async def test_a_session_makes_only_so_many_calls(build: Build) -> None:
    house = build(guards={"max_requests": 3})
    assert await statuses(house, 5) == [200, 200, 200, 429, 429]
    told = await house.ask(headers=SESSION)
    assert (told.code, told.headers["x-should-retry"]) == ("session_limit_reached", "false")
    assert orjson.loads(told.body)["error"]["type"] == "insufficient_quota"  # async-openai waits at others
    assert (await house.ask(headers={"x-taximeter-session-id": "other"})).status == 200
    assert house.kinds()[-4:] == ["intent", "refused", "intent", "settle"]
    assert house.plane.tally.refusals == {}, "it is counted by the record that closes its intent"


async def test_a_session_spends_only_so_much_a_minute(build: Build) -> None:
    house = build(guards={"max_usd_per_minute": "0.0001"})
    assert await statuses(house, 5) == [200, 200, 200, 429, 429]
    told = await house.ask(headers=SESSION)
    assert (told.code, told.headers["retry-after"]) == ("session_limit_reached", "60")
    assert "$0.00012 in the last minute, of $0.0001" in orjson.loads(told.body)["error"]["message"]


class _SharedAndAway(Odd):
    epoch, up = "e", False

    async def guarded(self, *_: object) -> None:
        raise StoreUnavailable("away")


async def test_what_it_spends_while_a_shared_store_is_away_is_counted_here(build: Build) -> None:
    house = build(guards={"max_usd_per_minute": "0.0001"})
    house.plane.store = cast(Any, _SharedAndAway())
    assert await statuses(house, 5) == [200, 200, 200, 429, 429]


def test_a_minute_later_it_may_spend_again() -> None:
    guards = Guards(read_section(Config, {"guards": {"max_usd_per_minute": "1"}}).guards)
    call = call_of("chat", message("hi"))
    guards.billed("s", 600_000_000, 0.0)
    guards.billed("s", 600_000_000, 30.0)
    assert guards.refusal("s", call, 59.9) is not None
    assert guards.refusal("s", call, 60.0) is None


async def test_the_same_request_again_and_again_is_a_loop(build: Build) -> None:
    house = build(guards={"loop": {"repeats": 3, "within_s": 60}})
    assert await statuses(house, 5, same=True) == [200, 200, 200, 429, 429]
    told = await house.ask(messages=message("hi"), headers=SESSION, user="another id", max_tokens=7)
    assert told.code == "loop_detected"
    text = orjson.loads(told.body)["error"]["message"]
    assert "the same chat request for m came 4 times in 60 s" in text
    assert (await house.ask(messages=message("something else"), headers=SESSION)).status == 200


async def test_a_refusal_wears_the_dialects_shape(build: Build) -> None:
    house = build(
        guards={"max_requests": 1},
        upstreams={"up": {"base_url": "http://127.0.0.1:1", "provider": "acme", "dialect": "anthropic"}},
    )
    for _ in range(2):
        told = await house.ask(whole(), path="/v1/messages", messages=message("hi"), headers=SESSION)
    assert told.status == 429
    assert orjson.loads(told.body)["error"]["type"] == "rate_limit_error"


def test_repeats_are_forgotten_in_time() -> None:
    guards = Guards(read_section(Config, {"guards": {"loop": {"repeats": 2, "within_s": 10}}}).guards)
    call = call_of("chat", message("hi"))
    assert [guards.refusal("s", call, at) is None for at in (0, 1, 2, 11, 11.5, 12)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]


def tool_history(times: int, kind: str, argument: str = "x") -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = message("go")
    for n in range(times):
        if kind == "chat":
            call = {"id": f"call_{n}", "type": "function", "function": {"name": "look", "arguments": argument}}
            history += [
                {"role": "assistant", "content": f"again {n}", "tool_calls": [call]},
                {"role": "tool", "content": "no", "tool_call_id": f"call_{n}"},
            ]
        else:
            use = {"type": "tool_use", "id": f"t{n}", "name": "look", "input": {"at": argument}}
            history += [
                {"role": "assistant", "content": [{"type": "text", "text": f"hm {n}"}, use]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"t{n}", "content": "no"}]},
            ]
    return history


@pytest.mark.parametrize("kind", ["chat", "messages"])
def test_a_tool_that_is_called_again_and_again_is_seen_in_the_conversation(kind: str) -> None:
    assert repeated_tool(call_of(kind, tool_history(7, kind))) == ("look", 7)
    mixed = tool_history(4, kind) + tool_history(3, kind, "y")[1:]
    assert repeated_tool(call_of(kind, mixed)) == ("look", 3)
    assert repeated_tool(call_of(kind, message("hi"))) == ("", 0)


async def test_a_tool_loop_is_refused_by_its_name(build: Build) -> None:
    house = build(guards={"loop": {"repeats": 5, "within_s": 60}})
    assert (await house.ask(messages=tool_history(5, "chat"), headers=SESSION)).status == 200
    told = await house.ask(messages=tool_history(6, "chat"), headers=SESSION)
    assert told.code == "loop_detected"
    assert "the tool look was called 6 times in a row" in orjson.loads(told.body)["error"]["message"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.budgets.guards._MAX_SESSIONS", 10)
    guards = Guards(read_section(Config, {"guards": {"loop": {"repeats": 2, "within_s": 10}}}).guards)
    for n in range(300):
        guards.refusal("s" if n < 200 else f"s{n}", call_of("chat", message(str(n))), n)
    assert len(guards._sessions) == 10
    assert all(len(session.seen) <= 64 for session in guards._sessions._table.values())


async def test_a_refusal_that_closed_an_intent_is_counted_once(build: Build) -> None:
    """By the recorder, from the record; not by the tally too."""
    house = build(budgets=[{"name": "r", "limit_requests": 1, "window": "day"}])
    assert [(await house.ask()).status for _ in range(2)] == [200, 429]
    assert house.plane.tally.refusals == {}
