"""Requests whose headers come on several lines: what the upstream is sent, what the call can cost, who is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.dataplane.application import Application
from proxy.downstream.connection import connecting
from proxy.downstream.timeouts import Limits
from proxy.upstream.response import UpstreamError
from tests.flow.house import CHAT, KEY, Build, House, whole
from tests.flow.test_cycle import Transport, connection_of

CLAUDE = {
    "upstreams": {
        "up": {"base_url": "http://127.0.0.1:1", "api_key": "sk-up", "provider": "acme", "dialect": "anthropic"}
    },
    "models": {"m": {"upstream": "up", "context_tokens": 200_000, "max_output_tokens": 4000}},
    "prices": [{"provider": "acme", "model": "m", "input": "1", "output": "2"}],
    "budgets": [{"name": "b", "limit_usd": "9", "window": "total"}],
}  # fmt: skip


LONG = {"messages": [{"role": "user", "content": "x" * 900_000}]}  # a token a byte is the most that it can be


async def sent_as(house: House, path: str, *lines: str, key: str = KEY, **fields: Any) -> bytes:
    """The answer to a request with these header lines."""
    body = orjson.dumps(CHAT | fields)
    transport = Transport()
    connection = connection_of(transport, connecting(Limits(), serve=Application(house.plane).serve))
    house.answers.append(whole())
    head = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", f"authorization: Bearer {key}", *lines]
    connection.data_received("\r\n".join([*head, "", ""]).encode() + body)
    async with asyncio.timeout(10):
        while not transport.writes:
            await asyncio.sleep(0)
    return b"".join(transport.writes)


async def test_a_list_on_two_lines_is_forwarded_whole(build: Build) -> None:
    house = build()
    await sent_as(
        house, "/v1/chat/completions", "OpenAI-Beta: a=v1", "openai-beta: b=v2 ", "anthropic-version:  2023-06-01\t"
    )
    ((head, _),) = house.sent
    assert b"\r\nopenai-beta: a=v1, b=v2\r\n" in head
    assert b"\r\nanthropic-version: 2023-06-01\r\n" in head


async def test_a_beta_on_either_of_two_lines_reserves_what_it_may_cost(tmp_path: Path) -> None:
    wide, other = "anthropic-beta: context-1m-2025-08-07", "anthropic-beta: oauth"
    claims = []
    for number, lines in enumerate([[wide], [wide, other], [other, wide], [other]]):
        house = House(tmp_path / str(number), **CLAUDE)
        await sent_as(house, "/v1/messages", *lines, **LONG)
        claims.append(house.records()[0]["budgets"])
        house.plane.spool.close()
    assert claims[0] == claims[1] == claims[2] != claims[3]


async def test_two_keys_or_two_sessions_in_one_request_are_refused(build: Build) -> None:
    house = build()
    wish = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAEAAEAA")  # as Java's own client
    for name, *values in (("authorization", "Bearer other"), ("x-taximeter-session-id", "a", "b")):
        for others in ((), wish):
            lines = [f"{name}: {value}" for value in values]
            answer = await sent_as(house, "/v1/chat/completions", *lines, *others)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert f"The header {name} came twice".encode() in answer
    assert house.sent == []


@pytest.mark.parametrize(
    ("answers", "limit_usd", "status"),
    [([UpstreamError("reset", "it broke", sent=True)], "1", 502), ([], "0.000001", 402)],
)
async def test_who_is_refused_is_told_why_and_not_what_another_call_failed_of(
    build: Build, answers: list[Any], limit_usd: str, status: int
) -> None:
    """Also in machine code, whose coroutines do not keep apart which error each is handling (`make compiled`)."""
    house = build(budgets=[{"name": "b", "limit_usd": limit_usd, "window": "total"}])
    house.answers += answers
    assert (await sent_as(house, "/v1/chat/completions")).startswith(b"HTTP/1.1 %d " % status)
    answer = await sent_as(house, "/v1/chat/completions", "x-taximeter-session-id: a", "x-taximeter-session-id: b")
    assert b"The header x-taximeter-session-id came twice" in answer


async def test_what_real_clients_send_twice_is_served(build: Build) -> None:
    house = build()
    for first, second in (
        ("Content-Type: application/json", "content-type: application/json; charset=utf-8"),
        ("Content-Type: application/json", "Content-Type: application/json"),
        (f"Authorization: Bearer {KEY}", "Authorization: "),
        ("X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2"),
        ("Via: 1.1 a", "Via: 1.1 b"),
        ("Cookie: a=b", "Cookie: c=d"),
        ("User-Agent: a", "User-Agent: b"),
        ("Accept-Encoding: gzip", "Accept-Encoding: identity"),
        ("x-goog-api-client: gl-python/3.11", "x-goog-api-client: gccl/2"),
        (f"traceparent: 00-{1:032x}-{2:016x}-01", f"traceparent: 00-{1:032x}-{3:016x}-01"),
        ("X-Request-Id: a", "X-Request-Id: b"),
    ):
        answer = await sent_as(house, "/v1/chat/completions", first, second)
        assert answer.startswith(b"HTTP/1.1 200 "), (first, second, answer)


async def test_a_team_of_any_name_adds_no_line_to_an_answer(build: Build) -> None:
    """A session that another team has is called by its team, too; as YAML has it, a team's name may end with its line."""
    house = build(keys=[
        {"name": "k", "key": KEY, "team": "t"}, {"name": "l", "key": KEY + "l", "team": "t\r\nx-other: 1"},
        {"name": "m", "key": KEY + "m", "team": "platform\n"},
    ])  # fmt: skip
    for key in (KEY, KEY + "l", KEY + "m"):
        for stream in (False, True):
            answer = await sent_as(house, "/v1/chat/completions", "x-taximeter-session-id: s", key=key, stream=stream)
            head = answer.split(b"\r\n\r\n")[0]
            assert head.startswith(b"HTTP/1.1 200 ")
            assert head.count(b"\n") == head.count(b"\r\n")
            assert b"x-other" not in head
