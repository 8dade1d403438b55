"""Servers of one's own (vLLM, llama.cpp, Ollama): what they speak, and what a call costs that its client leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from proxy.upstream.pool import UpstreamError
from tests.flow.house import Answer, Build, House, Line, whole
from tests.flow.test_hangups import settled, talk

SERVERS = ("vllm", "llama.cpp", "llamacpp", "ollama")


def at(provider: str, **changes: Any) -> dict[str, Any]:
    """A configuration with one server at its usual address."""
    return {
        "upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-own", "provider": provider}},
        "prices": [{"provider": provider, "model": "m", "input": "1", "output": "2"}],
    } | changes


def head(house: House, number: int = -1) -> bytes:
    return house.sent[number][0]


@pytest.mark.parametrize("provider", SERVERS)
async def test_messages_are_spoken_without_saying_so_below_the_servers_root(build: Build, provider: str) -> None:
    house = build(**at(provider))
    answer = {"type": "message", "model": "m", "content": [], "usage": {"input_tokens": 9, "output_tokens": 3}}
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    told = await house.ask(Answer(orjson.dumps(answer)), path="/v1/messages", chat=False, **asked)
    assert told.status == 200
    assert head(house).startswith(b"POST /v1/messages HTTP/1.1\r\n")
    assert b"authorization: Bearer sk-own\r\n" in head(house)
    assert settled(house)["usage"] == {"input": 9, "output": 3}


def leaves(house: House, line: Line, broken: asyncio.Event) -> None:
    """The next call's client hangs up while the server works; the server ends the connection only when it is told."""

    async def answering(pool: str, head: bytes, body: bytes, sent: Any = None, holder: str = "") -> Any:
        assert sent is not None, "nobody would tell the server"
        sent(type("Begun", (), {"hang_up": staticmethod(broken.set)}))
        line.hang_up()
        await broken.wait()
        raise UpstreamError("reset", "broken off", sent=True)

    house.plane.configured.upstreams.send = answering  # type: ignore[method-assign, assignment]


async def test_a_whole_answer_that_nobody_waits_for_is_stopped_and_charged_by_the_servers_pace(build: Build) -> None:
    house, line, broken = build(**at("ollama")), Line(), asyncio.Event()
    await house.ask(whole())
    house.plane.paces["up", "m"] = 1e-6  # so slow that it has written one token
    leaves(house, line, broken)
    async with asyncio.timeout(5):
        await house.ask(line=line)
    assert broken.is_set()
    end = house.records()[-1]
    assert (end["status"], end["outcome"], end["usage_source"]) == ("settled", "client_disconnected", "estimated")
    assert end["usage"]["output"] == 1
    assert 0 < end["usage"]["input"] < 20


async def test_a_pace_makes_no_answer_longer_than_its_cap(build: Build) -> None:
    house, line = build(**at("ollama")), Line()
    house.plane.paces["up", "m"] = 1e12
    leaves(house, line, asyncio.Event())
    await house.ask(line=line)
    assert settled(house)["usage"]["output"] == 100


async def test_where_no_pace_is_known_the_ceiling_is_charged(build: Build) -> None:
    house, line = build(**at("vllm")), Line()
    leaves(house, line, asyncio.Event())
    await house.ask(line=line)
    intent, end = house.records()
    assert (end["status"], end["cost_nanousd"]) == ("unconfirmed", intent["reserved_nanousd"])


async def test_a_hosted_provider_is_not_told_that_the_client_of_a_whole_answer_left(build: Build) -> None:
    house, line = build(), Line()

    async def answering(pool: str, head: bytes, body: bytes, sent: Any = None, holder: str = "") -> Any:
        assert sent is None
        line.hang_up()
        return whole()

    house.plane.configured.upstreams.send = answering  # type: ignore[method-assign, assignment]
    await house.ask(line=line)
    assert settled(house)["usage"] == {"input": 20, "output": 10}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
async def test_a_stream_left_in_prefill_costs_its_prompt(build: Build, path: str) -> None:
    """vLLM sends the head before it reads the prompt: its client has seen a 200, and nothing else."""
    house, line = build(**at("ollama")), Line()
    body: dict[str, Any] = {"model": "m", "stream": True}
    if path.endswith("responses"):
        body |= {"input": "one two three four", "max_output_tokens": 400}
    else:
        body |= {"messages": [{"role": "user", "content": "one two three four"}], "max_tokens": 400}
    answer = talk(line, waits=True, leaves_after=0)

    async def answering(pool: str, head: bytes, body: bytes, sent: Any = None, holder: str = "") -> Any:
        sent(answer)
        return answer

    house.plane.configured.upstreams.send = answering  # type: ignore[method-assign, assignment]
    async with asyncio.timeout(5):
        await house.ask(line=line, path=path, chat=False, **body)
    end = settled(house)
    assert (end["status"], end["outcome"]) == ("settled", "client_disconnected")
    assert list(end["usage"]) == ["input"]
    assert 4 <= end["usage"]["input"] <= 16


@pytest.mark.parametrize(
    "seen", [UpstreamError("reset", "gone", sent=True), Answer(UpstreamError("reset", "gone", sent=True))]
)
async def test_a_server_that_died_wrote_nothing_that_anybody_pays_for(build: Build, seen: Any) -> None:
    house = build(**at("vllm"))
    told = await house.ask(seen)
    assert told.status == 502
    end = settled(house)
    assert (end["status"], list(end["usage"])) == ("settled", ["input"])


async def test_a_hosted_provider_that_broke_off_may_have_billed_it_all(build: Build) -> None:
    house = build()
    await house.ask(UpstreamError("reset", "gone", sent=True))
    assert settled(house)["status"] == "unconfirmed"
