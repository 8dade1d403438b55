"""Words that pass LiteLLM by come out as LiteLLM would have had them, and LiteLLM is told all of them; a translator of these
tests' own stands for it, which has its ways too."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.translate.hook import Read, Tap
from proxy.translate.runs import Piece, Run, shape_of
from proxy.wire import aws_event_stream
from tests.support.aws_frames import frame

SSE, FRAMES = "text/event-stream", "application/vnd.amazon.eventstream"
Event = Mapping[str, Any]
Made = Callable[[Event], Iterator[bytes]]


def sse(value: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(value).encode()


def delta(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} | more


class Plain:
    """A translator that makes of each piece a chunk, and at the end one that has all it was told. seen: what it was given."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    def __call__(self, event: Event) -> Iterator[bytes]:
        self.seen.append(event)
        if event["type"] == "content_block_delta":
            yield sse({"id": "c", "choices": [{"index": 0, "delta": {"content": event["delta"]["text"]}}]})
        else:
            yield sse({"end": self.told()})

    def told(self) -> str:
        return "".join(event["delta"]["text"] for event in self.seen if event["type"] == "content_block_delta")


class Parts(httpx.AsyncByteStream):
    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


def events_in(data: bytes) -> Iterator[Event]:
    if data.startswith(b"data:"):
        yield json.loads(data.split(b"data: ", 1)[1])
    else:
        for message in aws_event_stream.Framer().feed(data):
            yield {"type": message.event} | json.loads(message.payload)


async def translated(parts: Sequence[bytes], make: Made, *, kind: str = SSE, run: Run | None = None) -> list[bytes]:
    """What a caller gets, as proxy/translate/server.py writes it."""
    out: list[bytes] = []
    tap = Tap("anthropic", "m", most_output=None, body_bytes=2)
    tap.run = run = run or Run()

    async def write(data: bytes) -> None:
        out.append(data)

    tap.write = write
    observed = tap.begin(httpx.Request("POST", "https://example.com/v1/messages"), b"{}")
    observed.began(200, {"content-type": kind})
    async for data in Read(Parts(parts), observed, tap):
        for event in events_in(data):
            for made in make(event):
                if run.made(made):
                    out.append(made)
                    run.number += 1
    return out


def parsed(out: Sequence[bytes]) -> list[Any]:
    return [json.loads(line) for line in re.findall(rb"^data: (.*)$", b"".join(out), re.MULTILINE)]


STOP = {"type": "message_stop"}


async def test_after_two_that_came_out_alike_the_others_are_written_and_told_in_one() -> None:
    words = [f"word{number} " for number in range(10)]
    plain = Plain()

    out = await translated([sse(delta(word)) for word in words] + [sse(STOP)], plain)

    assert [chunk["choices"][0]["delta"]["content"] for chunk in parsed(out)[:-1]] == words
    assert parsed(out)[-1] == {"end": "".join(words)}
    assert [event["delta"]["text"] for event in plain.seen[:-1]] == [*words[:2], "".join(words[2:])]


LEFT = ("<think>", "x<", "[DONE]", "data: x", "", "\ud83d", "</s>")  # which LiteLLM may read


@pytest.mark.parametrize("odd", [*LEFT, "é", "☃", '"', "\\", "\n", "\u0000", "\U0001f600"])
async def test_odd_words_come_as_they_are(odd: str) -> None:
    words = ["a", "b", "c", odd, "d", "e", odd, odd, "f"]
    alone, passed_by = Plain(), Plain()
    parts = [sse(delta(word)) for word in words] + [sse(STOP)]

    out = parsed(await translated(parts, passed_by))

    assert out == [chunk for part in parts for event in events_in(part) for chunk in parsed(list(alone(event)))]
    assert passed_by.told() == alone.told()
    assert (odd in [event["delta"]["text"] for event in passed_by.seen if event != STOP]) == (odd in LEFT)


@pytest.mark.parametrize("parts", [("[", "DONE", "]"), ("data", ":", " x"), ("see [DO", "NE] there")])
async def test_words_that_are_odd_only_when_they_stand_together_do_not_reach_litellm_together(
    parts: tuple[str, ...],
) -> None:
    words = ["a", "b", "c", *parts, "d", "e"]
    plain = Plain()

    out = parsed(await translated([sse(delta(word)) for word in words] + [sse(STOP)], plain))

    assert [chunk["choices"][0]["delta"]["content"] for chunk in out[:-1]] == words
    assert out[-1] == {"end": "".join(words)}
    assert [word for event in plain.seen[:-1] if "[DONE]" in (word := event["delta"]["text"]) or "data:" in word] == []


def test_a_piece_that_is_large_is_not_searched_for_words() -> None:
    """It would take the loop's time for little: an event may have 64 MB."""
    assert shape_of(sse(delta("x" * 60_000))) is not None
    assert shape_of(sse(delta("x" * 70_000))) is None


async def test_bytes_that_are_no_text_are_left_to_litellm() -> None:
    parts = [sse(delta(word)) for word in "abcd"]
    broken = parts[0].replace(b'"a"', b'"\xff"')
    seen: list[bytes] = []
    tap = Tap("anthropic", "m", most_output=None, body_bytes=2)
    tap.run = Run()
    observed = tap.begin(httpx.Request("POST", "https://example.com/v1/messages"), b"{}")
    observed.began(200, {"content-type": SSE})
    async for data in Read(Parts([*parts, broken]), observed, tap):
        seen.append(data)
        tap.run.made(data.replace(b"text", b"content"))

    assert seen == [*parts[:2], sse(delta("cd")), broken]


def counts() -> Made:
    number = iter(range(1000))

    def make(event: Event) -> Iterator[bytes]:
        yield sse({"n": next(number), "content": event.get("delta", {}).get("text")})

    return make


def looks_ahead() -> Made:
    waiting: list[bytes] = []

    def make(event: Event) -> Iterator[bytes]:
        yield from waiting
        waiting[:] = [sse({"content": event.get("delta", {}).get("text")})]

    return make


def halves() -> Made:
    def make(event: Event) -> Iterator[bytes]:
        text = event.get("delta", {}).get("text") or ""
        yield sse({"content": text[:1]})
        yield sse({"content": text[1:]})

    return make


def shouts() -> Made:
    def make(event: Event) -> Iterator[bytes]:
        yield sse({"content": (event.get("delta", {}).get("text") or "").upper()})

    return make


@pytest.mark.parametrize("kind", [counts, looks_ahead, halves, shouts])
async def test_a_translator_of_another_kind_gets_every_piece(kind: Callable[[], Made]) -> None:
    parts = [sse(delta(f"word{number} ")) for number in range(8)] + [sse(STOP)]
    alone = kind()

    assert parsed(await translated(parts, kind())) == [
        chunk for part in parts for event in events_in(part) for chunk in parsed(list(alone(event)))
    ]


async def test_a_translator_that_changes_its_ways_is_asked_again() -> None:
    """What it makes of the words in one piece says so; they have gone out as they were."""
    plain = Plain()

    def changing(event: Event) -> Iterator[bytes]:
        made = list(plain(event))
        yield made[0] if len(event.get("delta", {}).get("text", "")) < 4 else sse({"content": "other"})

    parts = [sse(delta(word)) for word in ("a", "b", "c", "d", "e", "f")] + [sse(delta("<")), sse(delta("g"))]

    out = parsed(await translated(parts, changing))

    assert [chunk["choices"][0]["delta"]["content"] for chunk in out] == ["a", "b", "c", "d", "e", "f", "<", "g"]


async def test_what_is_cut_anywhere_comes_whole() -> None:
    stream = b"".join(sse(delta(f"word{number} ")) for number in range(9)) + sse(STOP)
    for size in (1, 7, 50, 5000):
        plain = Plain()
        out = parsed(await translated([stream[at : at + size] for at in range(0, len(stream), size)], plain))
        assert len(out) == 10
        assert out[-1]["end"] == "".join(f"word{number} " for number in range(9))


async def test_events_of_a_dialect_that_numbers_them_have_theirs() -> None:
    run = Run(numbered=True)

    def make(event: Event) -> Iterator[bytes]:
        fields = {"type": "response.output_text.delta", "delta": event.get("delta", {}).get("text")}
        yield (
            b"event: x\ndata: %b\n\n"
            % json.dumps(fields | {"sequence_number": run.number}).replace(", ", ",").replace('": ', '":').encode()
        )

    out = parsed(await translated([sse(delta(word)) for word in "abcdef"] + [sse(STOP)], make, run=run))

    assert [event["sequence_number"] for event in out] == list(range(7))
    assert [event["delta"] for event in out[:-1]] == list("abcdef")


@pytest.mark.parametrize("padded", [False, True])
async def test_awss_frames_differ_in_their_padding_too(padded: bool) -> None:
    def piece(word: str, number: int) -> bytes:
        more = {"p": "abcdefgh"[: number % 7]} if padded else {}
        return frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}} | more)

    seen: list[Event] = []

    def make(event: Event) -> Iterator[bytes]:
        seen.append(event)
        yield sse({"content": event.get("delta", {}).get("text")})

    words = [f"word{number} " for number in range(9)]
    parts = [piece(word, number) for number, word in enumerate(words)] + [
        frame("messageStop", {"stopReason": "end_turn"})
    ]

    out = parsed(await translated(parts, make, kind=FRAMES))

    assert [chunk["content"] for chunk in out] == [*words, None]
    told = [event["delta"]["text"] for event in seen[:-1]]
    assert "".join(told) == "".join(words)
    assert len(told) <= (5 if padded else 3)


def test_pieces_that_say_more_than_words_are_no_run() -> None:
    assert shape_of(sse({"a": {"text": "x"}, "b": {"text": "y"}})) is None
    assert shape_of(sse({"usage": {"output": 1}})) is None
    shape = shape_of(sse({"text": "x", "obfuscation": "abc", "n": 1}))
    assert shape is not None
    assert shape.words_in(sse({"text": "other", "obfuscation": "", "n": 1})) == b"other"
    assert shape.words_in(sse({"text": "other", "obfuscation": "", "n": 2})) is None
    assert shape.words_in(sse({"text": "other", "obfuscation": "", "n": 1, "usage": 3})) is None


def test_words_that_are_held_are_told_before_they_are_many() -> None:
    run = Run()
    for word in ("a", "b"):
        run.given(Piece(sse(delta(word)), sse(delta(word))))
        run.made(sse({"content": word}))
        run.asks()
    long, larger = sse(delta("x" * 40_000)), sse(delta("x" * 70_000))

    assert run.event(Piece(larger, larger)) is None
    assert run.event(Piece(long, long)) is not None
    assert run.event(Piece(long, long)) is not None
    assert run.event(Piece(long, long)) is None
    assert len(run.held()) > 80_000


async def test_counts_that_come_with_every_piece_are_told_as_the_last_one_has_them() -> None:
    def piece(word: str, count: int) -> bytes:
        parts = {"content": {"parts": [{"text": word}], "role": "model"}, "index": 0}
        details = [{"modality": "TEXT", "tokenCount": 3}]
        usage = {"promptTokenCount": 3, "candidatesTokenCount": count, "promptTokensDetails": details}
        return sse({"candidates": [parts], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"})

    seen: list[Any] = []

    def make(event: Event) -> Iterator[bytes]:
        seen.append(event)
        yield sse({"content": event["candidates"][0]["content"]["parts"][0]["text"]})

    out = parsed(await translated([piece(word, number) for number, word in enumerate("abcdef")], make))

    assert [chunk["content"] for chunk in out] == list("abcdef")
    assert [event["usageMetadata"]["candidatesTokenCount"] for event in seen] == [0, 1, 5]


@given(st.lists(st.text(max_size=6), max_size=12), st.integers(1, 400))
async def test_any_words_in_any_split(words: list[str], size: int) -> None:
    alone, passed_by = Plain(), Plain()
    parts = [sse(delta(word)) for word in words] + [sse(STOP)]
    stream = b"".join(parts)
    expected = [chunk for part in parts for event in events_in(part) for chunk in parsed(list(alone(event)))]

    out = parsed(await translated([stream[at : at + size] for at in range(0, len(stream), size)], passed_by))

    assert out == expected
