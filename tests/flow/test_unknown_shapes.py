"""Answers without usage in shapes that no reader knows: what can be read of them is counted, alike whole, streamed and offline;
the ceiling is left for what says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from pricing.load import load_book
from proxy.cli.price_lines import price_line
from tests.flow.house import Answer, House

TEXT = "the quick brown fox jumps over the lazy dog"
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi there"}], "max_tokens": 3000}
RESPONSES: dict[str, Any] = {"input": "hi there", "max_output_tokens": 3000}
GEMINI: dict[str, Any] = {"contents": [{"parts": [{"text": "hi there"}]}]}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "openai.chat": ("/v1/chat/completions", CHAT),
    "openai.completions": ("/v1/completions", {"prompt": "hi there", "max_tokens": 3000}),
    "openai.responses": ("/v1/responses", RESPONSES),
    "anthropic.messages": ("/v1/messages", CHAT),
    "gemini": ("/v1beta/models/m:generateContent", GEMINI),
}
PART = {"text": TEXT}
READABLE: list[tuple[str, Any]] = [
    ("openai.chat", {"choices": {"message": {"role": "assistant", "content": TEXT}}}),
    ("openai.chat", {"choices": {"0": {"message": {"content": TEXT}}}}),
    ("openai.chat", {"choices": [TEXT]}),
    ("openai.chat", {"choices": [{"content": TEXT}]}),
    ("openai.chat", {"choices": [{"message": TEXT}]}),
    ("openai.chat", {"choices": [{"message": {"content": [TEXT]}}]}),
    ("openai.chat", {"choices": [{"message": {"content": PART}}]}),
    ("openai.chat", {"choices": [{"message": {"parts": [PART]}}]}),
    ("openai.chat", {"result": {"choices": [{"message": {"content": TEXT}}]}}),
    ("openai.chat", {"response": {"choices": [{"message": {"content": TEXT}}]}}),
    ("openai.chat", {"text": TEXT}),
    ("openai.chat", {"content": TEXT}),
    ("openai.chat", {"response": TEXT}),
    ("openai.chat", {"output": TEXT}),
    ("openai.chat", {"answer": TEXT, "id": "chatcmpl-0123456789", "model": "m"}),
    ("openai.chat", [TEXT]),
    ("openai.chat", TEXT),
    ("openai.completions", {"choices": {"text": TEXT}}),
    ("openai.responses", {"object": "response", "output": {"content": [PART]}}),
    ("openai.responses", {"output": [{"type": "message", "content": [{"type": "output_text", "text": TEXT}]}]}),
    ("openai.responses", {"output_text": TEXT}),
    ("anthropic.messages", {"type": "message", "content": {"type": "text", "text": TEXT}}),
    ("anthropic.messages", {"content": [{"type": "text", "text": TEXT}]}),
    ("gemini", {"candidates": {"content": {"parts": [PART]}}}),
    ("gemini", {"candidates": [{"content": {"parts": PART}}]}),
    ("gemini", {"candidates": [{"content": [PART]}]}),
    ("gemini", {"text": TEXT}),
]
SILENT: list[bytes] = [
    b"",
    b"{}",
    b'{"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": []}',
    b"<!DOCTYPE html><html><body>Please sign in to this network</body></html>",
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\x00",
    b'{"messages": [{"role": "user", "content": "hi there"}], "prompt": "hi there", "choices": []}',
]


async def _end(folder: Path, dialect: str, body: bytes, *, stream: bool) -> dict[str, Any]:
    path, fields = ASKED[dialect]
    if dialect == "gemini":
        path = path.replace(":generate", ":streamGenerate") if stream else path
    else:
        fields = fields | {"model": "m"} | ({"stream": True} if stream else {})
    folder.mkdir(exist_ok=True)
    upstream = {"base_url": "http://127.0.0.1:1", "provider": "acme", "dialects": ["openai", "anthropic", "gemini"]}
    house = House(folder, upstreams={"up": upstream})
    kind = b"text/event-stream" if stream else b"application/json"
    await house.ask(Answer(body, kind=kind), path=path, chat=False, **fields)
    return house.records()[-1]


@pytest.mark.long
@pytest.mark.parametrize(("dialect", "answer"), READABLE, ids=lambda value: orjson.dumps(value).decode()[:40])
async def test_what_can_be_read_is_counted(tmp_path: Path, dialect: str, answer: Any) -> None:
    body = orjson.dumps(answer)
    whole = await _end(tmp_path / "whole", dialect, body, stream=False)
    streamed = await _end(tmp_path / "stream", dialect, b"data: " + body + b"\n\ndata: [DONE]\n\n", stream=True)
    line = {"provider": "acme", "dialect": dialect, "model": "m", "request": ASKED[dialect][1], "response": answer}
    offline = price_line(line, load_book())
    for end in (whole, streamed):
        assert (end["status"], end["flags"], end["usage_source"]) == ("settled", ["estimated"], "estimated")
        assert end["usage"]["output"] == 11
    assert whole["usage"] == streamed["usage"] == {unit: int(count) for unit, count in offline["usage"].items()}


HALVES: list[dict[str, Any]] = [
    {"prompt_tokens": 20}, {"prompt_tokens": 20, "completion_tokens": None}, {"completion_tokens": 10},
    {"prompt_tokens": "20 tokens", "completion_tokens": 10}, {"prompt_tokens": 20, "completion_tokens": -1},
    {"prompt_tokens": 0, "completion_tokens": 0}, {"total_tokens": 30},
]  # fmt: skip


@pytest.mark.parametrize("usage", HALVES, ids=str)
async def test_half_a_usage_is_completed_alike_whole_streamed_and_offline(
    tmp_path: Path, usage: dict[str, Any]
) -> None:
    answer = {
        "model": "m",
        "choices": [{"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}],
        "usage": usage,
    }
    body = orjson.dumps(answer)
    whole = await _end(tmp_path / "whole", "openai.chat", body, stream=False)
    streamed = await _end(tmp_path / "stream", "openai.chat", b"data: " + body + b"\n\ndata: [DONE]\n\n", stream=True)
    line = {"provider": "acme", "dialect": "openai.chat", "model": "m", "request": CHAT, "response": answer}
    offline = price_line(line, load_book())
    assert whole["usage"] == streamed["usage"] == {unit: int(count) for unit, count in offline["usage"].items()}
    assert whole["usage"]["output"] == 11
    assert whole["usage"]["input"] > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", ["openai.chat", "anthropic.messages", "openai.responses"])
async def test_a_plain_text_is_an_answer(tmp_path: Path, dialect: str, *, stream: bool) -> None:
    end = await _end(tmp_path, dialect, TEXT.encode(), stream=stream)
    assert (end["status"], end["usage"]["output"], end["flags"]) == ("settled", 11, ["estimated"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_events_of_plain_text_are_an_answer(tmp_path: Path, *, stream: bool) -> None:
    body = b"".join(
        b"data: " + piece + b"\n\n" for piece in (b"the quick brown fox ", b"jumps over the lazy dog", b"[DONE]")
    )
    end = await _end(tmp_path, "openai.chat", body, stream=stream)
    assert (end["status"], end["usage"]["output"], end["flags"]) == ("settled", 11, ["estimated"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_first_bytes_of_an_event_are_no_answer(tmp_path: Path, *, stream: bool) -> None:
    for number, body in enumerate((b"dat", b"event: mess", b'data: {"cho', b": waiting\n\nda")):
        assert (await _end(tmp_path / str(number), "openai.chat", body, stream=stream))["status"] == "unconfirmed"


@pytest.mark.parametrize("body", SILENT)
async def test_what_says_nothing_costs_its_ceiling(tmp_path: Path, body: bytes) -> None:
    assert (await _end(tmp_path, "openai.chat", body, stream=False))["status"] == "unconfirmed"


async def test_what_an_embedding_repeats_of_its_input_is_no_answer(tmp_path: Path) -> None:
    house = House(tmp_path)
    answer = {"data": [{"embedding": [0.5]}], "text": TEXT, "texts": [TEXT]}
    await house.ask(Answer(orjson.dumps(answer)), path="/v1/embeddings", chat=False, model="m", input=TEXT)
    assert set(house.records()[-1]["usage"]) == {"input"}
