"""Comments while the upstream is silent: after its headers, between events only, and never where they are not asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from proxy.exchange.gate import COMMENT
from tests.flow.house import Answer, Build

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":10,"total_tokens":30}}\n\n'
DONE = b"data: [DONE]\n\n"


class Silent(Answer):
    """A stream that says its next piece once the client has got `comments` comments, counted by the test."""

    def __init__(self, heard: Callable[[], int], *pieces: bytes | int) -> None:
        super().__init__(kind=b"text/event-stream")
        self.heard = heard
        self.left = list(pieces)

    def read_now(self) -> bytes | None:
        return None

    async def read(self) -> bytes:
        while self.left and isinstance(self.left[0], int):
            comments = self.left.pop(0)
            async with asyncio.timeout(5):
                while self.heard() < comments:
                    await asyncio.sleep(0.002)
        return self.left.pop(0) if self.left else b""  # type: ignore[return-value]  # no integer is left in front


async def test_a_silent_stream_is_kept_alive_from_its_headers_on(build: Build) -> None:
    house = build(server={"keepalive_comment_s": 0.01})
    told: list[dict[str, Any]] = []
    house.watch = told.append
    silent = Silent(lambda: sum(m.get("body") == COMMENT for m in told), 2, EVENT, 4, USAGE, DONE)
    answer = await house.ask(silent, stream=True)
    assert answer.body.startswith(COMMENT)
    assert answer.body.replace(COMMENT, b"") == EVENT + DONE
    assert house.records()[-1]["cost_nanousd"] == 40_000


async def test_no_comment_comes_inside_an_event(build: Build) -> None:
    house = build(server={"keepalive_comment_s": 0.005})

    class Slow(Answer):
        def read_now(self) -> bytes | None:
            return None

        async def read(self) -> bytes:
            await asyncio.sleep(0.03)
            return await super().read()

    half = len(EVENT) // 2
    told = await house.ask(Slow(EVENT[:half], EVENT[half:], USAGE + DONE, kind=b"text/event-stream"), stream=True)
    assert EVENT in told.body
    assert COMMENT in told.body


@pytest.mark.parametrize("body", [EVENT + USAGE + DONE])
async def test_without_the_setting_the_bytes_are_the_upstreams(build: Build, body: bytes) -> None:
    house = build()
    told = await house.ask(Answer(body, kind=b"text/event-stream"), stream=True)
    assert told.body == EVENT + DONE
