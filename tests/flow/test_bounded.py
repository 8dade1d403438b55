"""Streams of an upstream that ignores output caps: what passes its reservation is cut."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flow.house import USAGE, Answer, Build, House
from tests.flow.test_hangups import LOCAL, event

DONE = b"data: [DONE]\n\n"
CONTEXT = 300
BUDGET = {"budgets": [{"name": "b", "limit_usd": "1", "window": "total"}]}


def ignoring(build: Build, **changes: Any) -> House:
    model = {"upstream": "up", "context_tokens": CONTEXT, "cap_trust": "ignored"}
    return build(models={"m": model}, **changes)


def stream(*pieces: bytes) -> Answer:
    return Answer(*pieces, b"", kind=b"text/event-stream")


def settled(house: House) -> dict[str, Any]:
    (record,) = [record for record in house.records() if record["t"] == "settle"]
    return record


LONG = [event()] * (4 * CONTEXT)
HEAVY = [event("word " * 2000)] * (4 * CONTEXT)


@pytest.mark.parametrize("pieces", [LONG, HEAVY], ids=["many events", "many words an event"])
async def test_a_stream_that_passes_its_reservation_is_cut(build: Build, pieces: list[bytes]) -> None:
    house = ignoring(build, **BUDGET)
    answer = stream(*pieces, event(usage=USAGE, last=True), DONE)

    told = await house.ask(answer, stream=True)

    end = settled(house)
    assert len(told.body) < sum(map(len, pieces)) / 2
    assert b"longer than what was reserved for it" in told.body
    assert (end["status"], end["outcome"]) == ("unconfirmed", "upstream_error")
    assert end["cost_nanousd"] >= CONTEXT * 2000  # all that was reserved: it may bill more than what came through
    assert answer.pieces == []  # its connection was broken off
    assert house.reserved() == 0


async def test_of_an_upstream_that_stops_when_left_what_has_come_is_charged(build: Build) -> None:
    house = ignoring(build, upstreams=LOCAL, **BUDGET)

    await house.ask(stream(*LONG), stream=True)

    end = settled(house)
    assert end["usage"]["output"] > CONTEXT
    assert end["outcome"] == "upstream_error"


@pytest.mark.parametrize(
    ("changes", "pieces"), [(BUDGET, [event()] * (CONTEXT // 2)), ({}, LONG)], ids=["within it", "nothing was reserved"]
)
async def test_other_streams_pass(build: Build, changes: Any, pieces: list[bytes]) -> None:
    house = ignoring(build, **changes)

    told = await house.ask(stream(*pieces, event(usage=USAGE, last=True), DONE), stream=True)

    assert told.body.endswith(DONE)
    assert settled(house)["outcome"] == "ok"


async def test_caps_that_are_kept_cut_nothing(build: Build) -> None:
    house = build(models={"m": {"upstream": "up", "context_tokens": CONTEXT}}, **BUDGET)

    told = await house.ask(stream(*LONG, event(usage=USAGE, last=True), DONE), stream=True)

    assert told.body.endswith(DONE)
