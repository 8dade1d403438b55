"""What stands in the place of LiteLLM's names; whether it has these is asked in e2e/test_translation_unchanged.py."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace

import pytest

from proxy.translate.hook import TAP, Tap
from proxy.translate.inline import HERE
from proxy.translate.internals import (
    _ended_once,
    _none_without_tools,
    _put_together_at_once,
    _remembered,
    _remembered_class,
    _signed_at_once,
    _streaming_unless_known_not_to,
)


def test_what_is_remembered_is_asked_once_and_cannot_be_changed_by_who_got_it() -> None:
    asked = []

    def look_up(model: str, options: object = None) -> dict[str, str]:
        asked.append(model)
        return {"model": model}

    remembered = _remembered(look_up)
    remembered("a")["model"] = "changed"

    assert remembered("a") == {"model": "a"}
    assert remembered("b") == {"model": "b"}
    assert asked == ["a", "b"]
    assert remembered("a", options={"not": "hashable"}) == {"model": "a"}
    assert asked == ["a", "b", "a"]


def test_an_enumeration_stays_what_it_is() -> None:
    class Colour(str, Enum):  # noqa: UP042 - as LiteLLM's are
        RED = "red"
        BLUE = "blue"
        ALSO_RED = "red"  # noqa: PIE796 - as some of LiteLLM's

    quick = _remembered_class(Colour)

    assert quick is Colour
    assert [colour.value for colour in Colour] == ["red", "blue"]
    assert (Colour("red"), Colour.BLUE, Colour["ALSO_RED"]) == (Colour.RED, "blue", Colour.RED)
    assert (Colour.RED.value, Colour.RED.name, len(Colour), Colour.BLUE in Colour) == ("red", "RED", 2, True)
    assert isinstance(Colour.RED, Colour)


def piece(usage: object = None, thought: str | None = None) -> SimpleNamespace:
    delta = (
        SimpleNamespace(content="x") if thought is None else SimpleNamespace(content=None, reasoning_content=thought)
    )
    return SimpleNamespace(usage=usage, choices=[SimpleNamespace(delta=delta)])


TOLD = piece({"prompt_tokens": 1})


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([piece(), TOLD], "at once"),
        ([SimpleNamespace(choices=[]), TOLD], "at once"),
        ([piece()] * 255 + [TOLD], "at once"),
        ([piece()] * 256 + [TOLD], "in a thread"),
        ([piece(), piece()], "in a thread"),
        ([piece(thought="Hm."), TOLD], "in a thread"),
    ],
)
async def test_a_stream_is_put_together_at_once_unless_it_is_long_or_its_words_are_counted(
    pieces: list[SimpleNamespace], expected: str
) -> None:
    async def in_a_thread(_: object) -> object:
        return SimpleNamespace(made="in a thread")

    stream = SimpleNamespace(chunks=pieces, _build_complete_streaming_response=lambda: SimpleNamespace(made="at once"))

    whole = await _put_together_at_once(in_a_thread)(stream)

    assert whole.made == expected
    assert whole.model_copy(deep=True) is whole


async def test_a_stream_of_nothing_is_put_together_to_nothing() -> None:
    async def nothing(_: object) -> None:
        return None

    assert await _put_together_at_once(nothing)(SimpleNamespace(chunks=[])) is None


@pytest.mark.parametrize(
    ("changed", "ends"),
    [
        ({}, True),
        ({"sent_last_chunk": False}, False),
        ({"sent_stream_usage": False}, False),
        ({"sent_stream_usage": False, "send_stream_usage": False}, True),
        ({"stream_options": None}, False),
    ],
)
async def test_a_stream_ends_at_once_when_all_has_been_handed_out(changed: dict[str, object], *, ends: bool) -> None:
    closed = []

    class Stream(SimpleNamespace):
        async def aclose(self) -> None:
            closed.append(True)

    async def plain(_: object, *, cache_hit: bool) -> str:
        return f"more {cache_hit}"

    sent = {"sent_last_chunk": True, "sent_stream_usage": True, "send_stream_usage": True, "stream_options": {"a": 1}}
    stream = Stream(**sent | changed)
    if ends:
        with pytest.raises(StopAsyncIteration):
            await _ended_once(plain)(stream, cache_hit=False)
    else:
        assert await _ended_once(plain)(stream, cache_hit=False) == "more False"
    assert closed == [True] * ends


def test_what_is_a_list_is_copied_too() -> None:
    remembered = _remembered(lambda: ["a"])
    remembered().append("b")

    assert remembered() == ["a"]


@pytest.mark.parametrize(
    ("deployed", "model", "expected"),
    [
        ("ours", "gpt-4.1-mini", True),
        ("ours", "o1-pro", False),
        ("o1-pro", "o1-pro", False),
        ("ours", "gpt-5-pro", True),
        ("ours", "of-nobody", True),
    ],
)
def test_a_deployment_streams_as_the_model_does_that_it_is(
    monkeypatch: pytest.MonkeyPatch, deployed: str, model: str, expected: bool
) -> None:
    listed = {
        ("gpt-4.1-mini", "azure"): True,
        ("gpt-5-pro", "azure"): True,
        ("gpt-5-pro", "openai"): False,
        ("o1-pro", "openai"): False,
    }

    def get_model_info(model: str, custom_llm_provider: str) -> None:
        if (model, custom_llm_provider) not in listed:
            raise ValueError

    monkeypatch.setitem(sys.modules, "litellm", SimpleNamespace(get_model_info=get_model_info))
    streams = _streaming_unless_known_not_to(lambda model, provider: listed.get((model, provider), False))
    token = TAP.set(Tap("azure", model, most_output=None, body_bytes=0))

    assert streams(deployed, "azure") is expected
    TAP.reset(token)
    assert streams("ours", "azure")


async def test_a_request_is_signed_here_where_nothing_has_to_be_fetched_for_it_and_in_a_thread_elsewhere() -> None:
    async def in_a_thread(sign: Callable[..., int], *args: object, **kwargs: object) -> int:
        return await asyncio.to_thread(sign, *args, **kwargs)

    def sign(*_: object, **__: object) -> int:
        return threading.get_ident()

    signed = _signed_at_once(in_a_thread)
    assert await signed(sign, 1, credentials=None) != threading.get_ident()

    async def call() -> int:
        HERE.set(True)
        thread: int = await signed(sign, 1, credentials=None)
        return thread

    assert await asyncio.create_task(call()) == threading.get_ident()


def test_the_tools_are_counted_where_there_are_some() -> None:
    count = _none_without_tools(lambda _, model, deployed, options, *more: (model, deployed, options["tools"], more))

    assert count(None, "m", "d", {"tools": []}, {}, None) == 0
    assert count(None, "m", "d", {}, {}, None) == 0
    assert count(None, "m", "d", {"tools": ["t"]}, {}, None) == ("m", "d", ["t"], ({}, None))
