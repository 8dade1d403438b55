"""Clients that leave: what is drained, what is closed, what it costs, and that nothing of it goes on for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from proxy.exchange import drain
from proxy.upstream.response import UpstreamError
from tests.flow.house import USAGE, Answer, Build, House, Line

LOCAL = {"up": {"base_url": "http://127.0.0.1:1/v1", "provider": "acme", "bills_after_disconnect": False}}
VLLM = {"up": {"base_url": "http://127.0.0.1:1/v1", "provider": "vllm"}}
VLLM_PRICES = [{"provider": "vllm", "model": "m", "input": "1", "output": "2"}]


LLAMA = {"up": {"base_url": "http://127.0.0.1:1/v1", "provider": "llama.cpp"}}
LLAMA_PRICES = [{"provider": "llama.cpp", "model": "m", "input": "1", "cache_read": "0.1", "output": "2"}]


def timed(output: int) -> bytes:
    """A chunk of llama.cpp's: what of the prompt was read, what was cached, and what it has put out by now."""
    timings = {"cache_n": 15, "prompt_n": 5, "predicted_n": output}
    return (
        b"data: "
        + orjson.dumps({"model": "m", "choices": [{"delta": {"content": "word"}}], "timings": timings})
        + b"\n\n"
    )


def event(text: str = "word", usage: dict[str, int] | None = None, *, last: bool = False) -> bytes:
    choices = [] if last else [{"index": 0, "delta": {"content": text}}]
    return b"data: " + orjson.dumps({"model": "m", "choices": choices, "usage": usage}) + b"\n\n"


def tokens(output: int) -> dict[str, int]:
    return {"prompt_tokens": 20, "completion_tokens": output, "total_tokens": 20 + output}


class Talk(Answer):
    """A stream that goes on until somebody says stop: then it ends, by a break (`abort`) or by its own end (`hang_up`)."""

    def __init__(self, *pieces: bytes, line: Line, leaves_after: int = 1) -> None:
        super().__init__(*pieces, kind=b"text/event-stream")
        self.line, self.left_after, self.reads = line, leaves_after, 0
        self.broken = asyncio.Event()
        self.waits = False
        self.told = ""

    def read_now(self) -> bytes | None:
        return None

    async def read(self) -> bytes:
        if self.reads == self.left_after:
            self.line.hang_up()
        self.reads += 1
        if self.told or (not self.pieces and self.waits):
            await self.broken.wait()
            raise UpstreamError("reset", "broken off", sent=True)
        piece = self.pieces.pop(0)
        assert isinstance(piece, bytes)
        return piece

    def abort(self) -> None:
        self.told = self.told or "abort"
        self.broken.set()

    def hang_up(self) -> None:
        self.told = "hang up"
        self.broken.set()


def talk(line: Line, *pieces: bytes, waits: bool = False, leaves_after: int = 1) -> Talk:
    made = Talk(*pieces, line=line, leaves_after=leaves_after)
    made.waits = waits
    if not waits:
        made.pieces.append(b"")
    return made


def settled(house: House) -> dict[str, Any]:
    (record,) = [record for record in house.records() if record["t"] == "settle"]
    return record


async def test_an_upstream_that_bills_on_is_read_to_its_usage(build: Build) -> None:
    house, line = build(), Line()
    await house.ask(
        talk(line, event(), event(), event(usage=USAGE, last=True), b"data: [DONE]\n\n"), stream=True, line=line
    )
    end = settled(house)
    assert (end["status"], end["outcome"], end["usage"]) == (
        "settled",
        "client_disconnected",
        {"input": 20, "output": 10},
    )
    assert house.plane.load.drains.total == 0


@pytest.mark.parametrize("upstreams", [None, LOCAL])
@pytest.mark.parametrize("ends", [True, False])
async def test_who_leaves_with_the_last_event_has_had_its_answer(
    build: Build, monkeypatch: pytest.MonkeyPatch, upstreams: Any, ends: bool
) -> None:
    """SDKs close their connection at `[DONE]`, before the upstream has closed its own."""
    monkeypatch.setattr(drain, "MAX_S", 0.01)
    house, line = build(**({"upstreams": upstreams} if upstreams else {})), Line()
    pieces = (event(), event(usage=USAGE, last=True), b"data: [DONE]\n\n")
    answer = talk(line, *pieces, waits=not ends, leaves_after=3)
    async with asyncio.timeout(5):
        await house.ask(answer, stream=True, line=line)
    end = settled(house)
    assert answer.told == ("" if ends else "abort")
    assert (end["status"], end["outcome"], end["usage"]) == ("settled", "ok", {"input": 20, "output": 10})
    assert house.plane.load.drains.total == 0


async def test_who_leaves_before_it_has_taken_the_last_event_has_not_had_its_answer(build: Build) -> None:
    house, line = build(upstreams=LOCAL), Line()

    def full(message: dict[str, Any]) -> None:
        if b"[DONE]" in message.get("body", b""):
            line.hang_up()  # while what was written waits for it

    house.watch = full
    pieces = (event(), event(usage=USAGE, last=True), b"data: [DONE]\n\n")
    await house.ask(talk(line, *pieces, leaves_after=9), stream=True, line=line)
    assert settled(house)["outcome"] == "client_disconnected"


@pytest.mark.parametrize("bound", ["MAX_S", "MAX_BYTES", "at once"])
async def test_past_any_bound_of_the_drain_the_reservation_is_settled_whole(
    build: Build, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    house, line = build(), Line()
    if bound == "at once":
        house.plane.load.drains.capacity = 0
    else:
        monkeypatch.setattr(drain, bound, 0)
    answer = talk(line, event(), event("much"), waits=True)
    async with asyncio.timeout(5):
        await house.ask(answer, stream=True, line=line)
    intent, end = house.records()
    assert answer.told == "abort"
    assert (end["status"], end["outcome"]) == ("unconfirmed", "client_disconnected")
    assert end["cost_nanousd"] == intent["reserved_nanousd"]
    assert house.plane.load.drains.total == 0


async def test_as_many_as_the_bound_are_drained_at_once(build: Build) -> None:
    house = build()
    house.plane.load.drains.capacity = 2
    lines = [Line() for _ in range(3)]
    answers = [talk(line, event(), event(), waits=True) for line in lines]
    calls = [asyncio.create_task(house.ask(a, stream=True, line=line)) for a, line in zip(answers, lines, strict=True)]
    async with asyncio.timeout(5):
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert [a.told for a in answers] == ["", "", "abort"]
    assert house.plane.load.drains.total == 2
    for one in answers:
        one.abort()
    await asyncio.gather(*calls)
    assert house.plane.load.drains.total == 0


async def test_an_upstream_that_stops_is_told_and_what_was_seen_is_counted(build: Build) -> None:
    house, line = build(upstreams=LOCAL), Line()
    answer = talk(line, event("one two three"), event("four"), waits=True)
    await house.ask(answer, stream=True, line=line)
    end = settled(house)
    assert answer.told == "hang up"
    assert (end["status"], end["usage_source"]) == ("settled", "estimated")
    assert 3 <= end["usage"]["output"] <= 6


async def test_who_leaves_before_the_head_stops_it_too_and_pays_for_the_prompt(build: Build) -> None:
    house, line = build(upstreams=LOCAL), Line()
    broken = asyncio.Event()

    async def never(pool: str, head: bytes, body: bytes, sent: Any = None, **_: Any) -> Any:
        if sent is not None:
            sent(type("Begun", (), {"hang_up": staticmethod(broken.set)}))
        line.hang_up()
        await broken.wait()
        raise UpstreamError("reset", "broken off", sent=True)

    house.upstreams.sending = never
    async with asyncio.timeout(5):
        await house.ask(stream=True, line=line)
    intent, end = house.records()
    assert (end["status"], end["outcome"], list(end["usage"])) == ("settled", "client_disconnected", ["input"])
    assert 0 < end["cost_nanousd"] < intent["reserved_nanousd"]


async def test_vllm_is_asked_for_usage_in_every_chunk_and_charged_by_the_last_that_came(build: Build) -> None:
    house, line = build(upstreams=VLLM, prices=VLLM_PRICES), Line()
    told = await house.ask(
        talk(line, event(usage=tokens(3)), event(usage=tokens(7)), waits=True, leaves_after=2), stream=True, line=line
    )
    assert house.sent[0][1]["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    end = settled(house)
    assert (end["status"], end["usage_source"], end["usage"]) == ("settled", "provider", {"input": 20, "output": 7})
    assert b'"usage"' not in told.body
    assert b'"content":"word"' in told.body


async def test_llama_cpp_is_asked_for_its_counts_in_every_chunk_and_charged_by_the_last_that_came(build: Build) -> None:
    house, line = build(upstreams=LLAMA, prices=LLAMA_PRICES), Line()
    chunks = [timed(1), timed(7)]
    told = await house.ask(talk(line, *chunks, waits=True, leaves_after=2), stream=True, line=line)
    assert house.sent[0][1]["timings_per_token"] is True
    end = settled(house)
    assert (end["status"], end["usage_source"]) == ("settled", "provider")
    assert end["usage"] == {"input": 5, "cache_read": 15, "output": 7}
    assert b"timings" not in told.body
    assert b'"content":"word"' in told.body


async def test_who_asks_llama_cpp_for_timings_gets_them(build: Build) -> None:
    house, line = build(upstreams=LLAMA, prices=LLAMA_PRICES), Line()
    told = await house.ask(
        talk(line, timed(1), waits=True, leaves_after=1), stream=True, timings_per_token=True, line=line
    )
    assert timed(1) in told.body
    assert settled(house)["usage"] == {"input": 5, "cache_read": 15, "output": 1}


async def test_vllm_is_not_asked_where_its_chunks_would_count_one_choice_each(build: Build) -> None:
    house, line = build(upstreams=VLLM, prices=VLLM_PRICES), Line()
    await house.ask(talk(line, event(), leaves_after=9), stream=True, n=2, line=line)
    assert house.sent[0][1]["stream_options"] == {"include_usage": True}


async def test_who_asks_for_usage_in_every_chunk_gets_it(build: Build) -> None:
    house, line = build(upstreams=VLLM, prices=VLLM_PRICES), Line()
    options = {"include_usage": True, "continuous_usage_stats": True}
    told = await house.ask(
        talk(line, event(usage=tokens(3)), leaves_after=9), stream=True, stream_options=options, line=line
    )
    assert event(usage=tokens(3)) in told.body


async def test_a_usage_that_is_only_a_beginning_is_not_the_bill_of_a_stream_that_broke_off(build: Build) -> None:
    """Usage in a first chunk, text behind it, and a break: an upstream that bills on may bill all of it."""
    house = build()
    await house.ask(
        Answer(
            event(usage=tokens(1)),
            event("and more"),
            UpstreamError("reset", "gone", sent=True),
            kind=b"text/event-stream",
        ),
        stream=True,
    )
    intent, end = house.records()
    assert (end["status"], end["cost_nanousd"]) == ("unconfirmed", intent["reserved_nanousd"])


async def test_a_usage_that_is_only_a_beginning_is_completed_by_counting(build: Build) -> None:
    house = build()
    pieces = [event(usage=tokens(1)), event("and a few words more than that one")]
    await house.ask(Answer(*pieces, kind=b"text/event-stream"), stream=True)
    end = settled(house)
    assert (end["status"], end["usage_source"]) == ("settled", "estimated")
    assert end["usage"]["input"] == 20
    assert end["usage"]["output"] >= 8


async def test_a_call_that_is_cancelled_in_the_middle_of_its_stream_is_charged_its_ceiling(build: Build) -> None:
    """As a shutdown does it whose patience is over."""
    house, line = build(), Line()
    answer = talk(line, event(), waits=True, leaves_after=9)
    call = asyncio.create_task(house.ask(answer, stream=True, line=line))
    while answer.reads < 2:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    intent, end = house.records()
    assert (end["status"], end["outcome"], end["cost_nanousd"]) == ("unconfirmed", "cut", intent["reserved_nanousd"])
    assert answer.told == "abort"
