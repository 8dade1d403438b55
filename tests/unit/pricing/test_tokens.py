"""Counting where no usage came: exact where a tokenizer is public, offline always, flagged always."""

from __future__ import annotations

import base64
import hashlib
import math
import os
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pricing import tokens
from pricing.estimate import estimate, output_texts
from pricing.prompt_tokens import Image, count_prompt, image_size, image_tokens
from tests.support.rows import each_row


def test_openai_documented_example() -> None:
    """The API reference's chat example: these two messages are 19 prompt tokens."""
    body = {
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Hello!"},
        ]
    }
    assert count_prompt(body, "gpt-4o") == 19


@each_row(
    ("model", "encoding", "exact"),
    [
        ("gpt-4o-mini", "o200k_base", True),
        ("gpt-4.1", "o200k_base", True),
        ("gpt-6.1-terra", "o200k_base", True),
        ("gpt-realtime", "o200k_base", True),
        ("o3-2025-04-16", "o200k_base", True),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", "o200k_base", True),
        ("openai/gpt-oss-120b", "o200k_base", True),
        ("gpt-4-turbo", "cl100k_base", True),
        ("gpt-3.5-turbo", "cl100k_base", True),
        ("text-embedding-3-small", "cl100k_base", True),
        ("claude-opus-5", "o200k_base", False),
        ("mistral-large-2512", "o200k_base", False),
        ("olmo-7b", "o200k_base", False),
    ],
)
def test_families(model: str, encoding: str, exact: bool) -> None:
    kind = tokens.family(model)
    assert (kind.encoding, kind.exact) == (encoding, exact)


def test_rank_files_are_openais_and_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXIMETER_TOKENIZERS", str(tmp_path))
    folder = tokens.unpack("o200k_base")
    (file,) = folder.iterdir()
    assert (
        file.name
        == hashlib.sha1(b"https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken").hexdigest()
    )
    before = file.stat().st_mtime_ns
    tokens.unpack("o200k_base")
    assert file.stat().st_mtime_ns == before
    file.write_bytes(b"broken")
    tokens.unpack("o200k_base")
    assert hashlib.sha256(file.read_bytes()).hexdigest().startswith("446a9538")


def test_without_rank_files_bytes_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(name: str) -> Path:
        raise OSError("read-only file system")

    monkeypatch.setattr(tokens, "unpack", missing)
    tokens.load.cache_clear()
    try:
        assert tokens.count("häßlich", "gpt-4o") == 3  # 9 bytes / 4, rounded up
    finally:
        tokens.load.cache_clear()
    assert "read-only file system" in caplog.text


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "/elsewhere")
    tokens.load.cache_clear()
    assert tokens.count("hello world", "gpt-4o") == 2
    assert os.environ["TIKTOKEN_CACHE_DIR"] == "/elsewhere"


def test_the_proxy_does_not_load_it_at_import() -> None:
    code = "import proxy.meters, sys; sys.exit('tiktoken' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@each_row(
    ("image", "model", "expected"),
    [
        (Image(1024, 1024), "gpt-4o", 85 + 4 * 170),
        (Image(2048, 4096), "gpt-4o", 85 + 6 * 170),  # the recorded 1105
        (Image(4096, 8192, "low"), "gpt-4o", 85),
        (Image(1024, 1024), "gpt-4o-mini", 2833 + 4 * 5667),
        (Image(512, 512), "gpt-5", 70 + 140),
        (Image(1024, 1024), "gpt-5-mini", 1659),  # 32 x 32 patches x 1.62 = 1658.88
        (Image(320, 480), "gpt-5-mini", 243),  # 150 patches x 1.62, which is no hair more
        (Image(640, 960), "gpt-4.1-mini", 972),
        (Image(1800, 2400), "gpt-4.1-mini", 2489),  # capped at 1536 patches x 1.62 = 2488.32
        (Image(1000, 1000), "claude-opus-5", 1334),
        (Image(5000, 5000), "claude-opus-5", 1600),
        (Image(300, 300), "gemini-2.5-flash", 258),
        (Image(1536, 768), "gemini-2.5-flash", 516),
        (Image(300, 300), "gemini-3-flash-preview", 1120),
    ],
)
def test_images(image: Image, model: str, expected: int) -> None:
    assert image_tokens(image, model) == expected


@given(st.integers(1, 20_000), st.integers(1, 20_000))
@example(1536, 768)
@example(4096, 2048)
@example(3 * 2**40, 3 * 2**39)
@example(3 * 10**15 + 1, 2 * 10**15)
def test_tiles_are_counted_in_whole_numbers(width: int, height: int) -> None:
    """By the steps of OpenAI's guide in fractions: into 2048 x 2048, the short side down to 768, tiles of 512."""
    fit = min(Fraction(1), Fraction(2048, max(width, height)))
    fit *= min(Fraction(1), 768 / (min(width, height) * fit))
    tiles = max(1, math.ceil(width * fit / 512)) * max(1, math.ceil(height * fit / 512))
    assert image_tokens(Image(width, height), "gpt-4o") == 85 + 170 * tiles


def test_image_sizes_are_read_from_headers() -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + struct.pack(">II", 640, 480) + b"\x08\x02" * 8
    gif = b"GIF89a" + struct.pack("<HH", 20, 30) + b"\x00" * 20
    jpeg = (
        b"\xff\xd8\xff\xe0\x00\x10" + b"\x00" * 14 + b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 77, 99) + b"\x00" * 30
    )
    for raw, size in ((png, (640, 480)), (gif, (20, 30)), (jpeg, (99, 77))):
        assert image_size("data:image/x;base64," + base64.b64encode(raw).decode()) == size
    assert image_size("https://example.com/i.png") is None


def test_an_image_in_a_message_is_not_counted_as_text() -> None:
    png = base64.b64encode(
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 512, 512) + b"\x00" * 3000
    ).decode()
    parts = [
        {"type": "text", "text": "hi"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}},
    ]
    text_only = count_prompt({"messages": [{"role": "user", "content": [parts[0]]}]}, "gpt-4o")
    assert count_prompt({"messages": [{"role": "user", "content": parts}]}, "gpt-4o") == text_only + 85 + 170


STREAMS = {
    "openai chat": [
        {"choices": [{"delta": {"role": "assistant", "content": "Hello"}}]},
        {"choices": [{"delta": {"reasoning_content": "hm"}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": '{"a":'}}]}}]},
    ],
    "responses": [
        {"type": "response.output_text.delta", "delta": "Hello"},
        {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
        {"type": "response.output_item.added", "item": {"type": "function_call", "name": "f"}},
        {"type": "response.function_call_arguments.delta", "delta": '{"a":'},
    ],
    "anthropic": [
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f", "input": {}}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"a":'}},
    ],
    "gemini": [
        {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}, {"text": "Hello"}]}}]},
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": '{"a":'}}]}}]},
    ],
    "ollama": [
        {"message": {"content": "Hello", "thinking": "hm"}, "done": False},
        {"message": {"tool_calls": [{"function": {"name": "f", "arguments": '{"a":'}}]}, "done": False},
    ],
    "bedrock": [
        {"contentBlockDelta": {"delta": {"text": "Hello"}}},
        {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "hm"}}}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": 'f{"a":'}}}},
    ],
}


@pytest.mark.parametrize("name", STREAMS)
def test_streamed_text_arguments_and_reasoning_are_found(name: str) -> None:
    found = [pair for event in STREAMS[name] for pair in output_texts(event)]
    joined = {kind: "".join(text for k, text in found if k == kind) for kind in ("output", "reasoning")}
    assert joined == {"output": 'Hellof{"a":', "reasoning": "hm"}


def test_an_estimate_says_that_it_is_one() -> None:
    reading = estimate(STREAMS["openai chat"], "gpt-4o")
    assert reading is not None
    assert (reading.source, reading.flags) == ("estimated", ("estimated", "input_unknown"))
    assert reading.usage == {"output": tokens.count('Hellof{"a":', "gpt-4o"), "reasoning": 1}
    request = {"messages": [{"role": "user", "content": "Hello!"}]}
    with_request = estimate(STREAMS["openai chat"], "gpt-4o", request)
    assert with_request is not None
    assert with_request.flags == ("estimated",)
    assert with_request.usage["input"] == 3 + 3 + 1 + 2


def test_nothing_to_count_is_nothing() -> None:
    assert estimate([{"choices": []}, "[DONE]", None, 7], "gpt-4o") is None
