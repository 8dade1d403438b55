"""Calls with pictures, sound, documents and films: never billed more than their ceiling, and not reserved for much more.

The bills follow what providers publish, worked out by the tests' own hand. `pytest -s tests/recorded/test_media_ceilings.py` prints
ceiling ÷ bill (median and 95th percentile) by dialect and family.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.flow.house import Answer, House
from tests.support.media import base64_of, data_url, jpeg, m4a, mp3, mp4, opus, pdf, png, wav, webp
from tests.support.published import FAMILIES

WORDS = "what is it that you can see or hear in this one " * 4
SIZES = (
    (640, 480),
    (800, 600),
    (1024, 1024),
    (1280, 720),
    (1440, 900),
    (1920, 1080),
    (3024, 1964),
    (3840, 2160),
    (4032, 3024),
)
_OUTPUT = 400
_DIALECT = {"anthropic": "anthropic", "google": "gemini"}


def _pictures(rng: random.Random) -> list[tuple[tuple[int, int], str, bytes]]:
    chosen = [rng.choice(SIZES) for _ in range(rng.randint(1, 5))]
    kinds: list[tuple[str, Callable[[int, int], bytes]]] = [
        ("image/png", lambda w, h: png(w, h, 30_000)),
        ("image/jpeg", lambda w, h: jpeg(w, h) + bytes(20_000)),
        ("image/webp", lambda w, h: webp(b"VP8X", w, h) + bytes(5_000)),
    ]
    return [(size, mime, make(*size)) for size in chosen for mime, make in [rng.choice(kinds)]]


def _request(dialect: str, found: list[tuple[str, bytes]]) -> tuple[str, dict[str, Any]]:
    """Path and body of a call with media of those types."""
    if dialect == "anthropic":
        kinds = {"application/pdf": "document"}
        blocks = [
            {
                "type": kinds.get(mime, "image"),
                "source": {"type": "base64", "media_type": mime, "data": base64_of(data)},
            }
            for mime, data in found
        ]
        messages = [{"role": "user", "content": [*blocks, {"type": "text", "text": WORDS}]}]
        return "/v1/messages", {"model": "m", "max_tokens": _OUTPUT, "messages": messages}
    if dialect == "gemini":
        parts: list[Any] = [{"inlineData": {"mimeType": mime, "data": base64_of(data)}} for mime, data in found]
        contents = [{"role": "user", "parts": [*parts, {"text": WORDS}]}]
        return "/v1beta/models/m:generateContent", {
            "contents": contents,
            "generationConfig": {"maxOutputTokens": _OUTPUT},
        }
    if dialect == "responses":
        items = [
            {"type": "input_file", "filename": "a.pdf", "file_data": data_url(mime, data)}
            if mime.endswith("pdf")
            else {"type": "input_image", "image_url": data_url(mime, data)}
            for mime, data in found
        ]
        messages = [{"role": "user", "content": [*items, {"type": "input_text", "text": WORDS}]}]
        return "/v1/responses", {"model": "m", "max_output_tokens": _OUTPUT, "input": messages}
    chat = [
        {"type": "input_audio", "input_audio": {"data": base64_of(data), "format": "wav"}}
        if mime.startswith("audio/")
        else {"type": "image_url", "image_url": {"url": data_url(mime, data)}}
        for mime, data in found
    ]
    messages = [{"role": "user", "content": [*chat, {"type": "text", "text": WORDS}]}]
    return "/v1/chat/completions", {"model": "m", "max_tokens": _OUTPUT, "messages": messages}


def _usage(dialect: str, model: str, unit: str, text: int, tokens: int) -> dict[str, Any]:
    if dialect == "anthropic":
        return {"type": "message", "usage": {"input_tokens": text + tokens, "output_tokens": _OUTPUT}}
    if dialect == "gemini":
        details = [{"modality": "TEXT", "tokenCount": text}, {"modality": unit, "tokenCount": tokens}]
        counts = {
            "promptTokenCount": text + tokens,
            "candidatesTokenCount": _OUTPUT,
            "totalTokenCount": text + tokens + _OUTPUT,
        }
        return {"usageMetadata": {**counts, "promptTokensDetails": details}}
    if dialect == "responses":
        usage = {"input_tokens": text + tokens, "output_tokens": _OUTPUT, "total_tokens": text + tokens + _OUTPUT}
        return {"object": "response", "output": [], "usage": usage}
    more = {"prompt_tokens_details": {"audio_tokens": tokens}} if unit == "AUDIO" else {}
    usage = {
        "prompt_tokens": text + tokens,
        "completion_tokens": _OUTPUT,
        "total_tokens": text + tokens + _OUTPUT,
        **more,
    }
    return {"choices": [], "usage": usage}


def _house(folder: Path, provider: str, model: str, dialect: str) -> House:
    folder.mkdir()
    family = {"responses": "openai", "chat": "openai"}.get(dialect, dialect)
    prices = [] if provider in _PRICED else [{"provider": provider, "model": "*", "input": "1", "output": "2"}]
    upstream = {
        "base_url": "http://127.0.0.1:1/v1",
        "api_key": "sk-up",
        "provider": provider,
        "dialect": family,
        "service_tier": "default",
    }
    return House(
        folder,
        upstreams={"up": upstream},
        models={"m": {"upstream": "up", "model": model, "context_tokens": 1_000_000}},
        prices=prices,
        budgets=[{"name": "b", "limit_usd": 1000, "window": "total"}],
    )  # fmt: skip


_PRICED = ("openai", "anthropic", "google", "xai", "openrouter")


class Case:
    """Calls of one kind at one model. `make` gives media, and what they are billed: the unit and tokens."""

    def __init__(self, kind: str, provider: str, model: str, dialect: str, most_median: float, make: Any) -> None:
        self.kind, self.provider, self.model, self.dialect = kind, provider, model, dialect
        self.most_median, self.make = most_median, make

    def __str__(self) -> str:
        return f"{self.kind}, {self.dialect}, {self.model.rpartition('/')[2]}"


def _of_pictures(model: str) -> Callable[[random.Random], tuple[list[tuple[str, bytes]], str, int]]:
    published = FAMILIES[model][1]

    def make(rng: random.Random) -> tuple[list[tuple[str, bytes]], str, int]:
        found = _pictures(rng)
        return [(mime, data) for _, mime, data in found], "IMAGE", sum(published(*size) for size, _, _ in found)

    return make


def _of_sound(per_s: int) -> Callable[[random.Random], tuple[list[tuple[str, bytes]], str, int]]:
    def make(rng: random.Random) -> tuple[list[tuple[str, bytes]], str, int]:
        seconds = rng.randint(5, 300)
        makers = (lambda s: wav(s, 8000), lambda s: mp3(s * 44_100 // 1152), lambda s: opus(s * 50), m4a)
        return [("audio/wav", rng.choice(makers)(seconds))], "AUDIO", seconds * per_s

    return make


def _of_pages(a_page: int) -> Callable[[random.Random], tuple[list[tuple[str, bytes]], str, int]]:
    def make(rng: random.Random) -> tuple[list[tuple[str, bytes]], str, int]:
        texts = [WORDS * rng.randint(1, 15) for _ in range(rng.randint(1, 20))]
        tokens = sum(a_page + len(text) // 4 for text in texts)
        return [("application/pdf", pdf(texts))], "DOCUMENT", tokens

    return make


def _of_film(per_s: int) -> Callable[[random.Random], tuple[list[tuple[str, bytes]], str, int]]:
    def make(rng: random.Random) -> tuple[list[tuple[str, bytes]], str, int]:
        seconds = rng.randint(5, 300)
        return [("video/mp4", mp4(seconds))], "VIDEO", seconds * per_s

    return make


_DEARER_SNAPSHOT = {"gpt-4o": 2.2}  # that of May 2024 may answer, at twice the price


CASES = (
    *(
        Case(
            "pictures",
            provider,
            model,
            _DIALECT.get(provider, "chat"),
            _DEARER_SNAPSHOT.get(model, 2),
            _of_pictures(model),
        )
        for model, (provider, _) in FAMILIES.items()
        if provider != "xai"  # thinks beside its cap, for much more than pictures cost
    ),
    *(
        Case("pictures", "openai", model, "responses", 2, _of_pictures(model))
        for model in ("gpt-5", "gpt-5.4", "gpt-6.1-sol")
    ),
    Case("sound", "openai", "gpt-4o-audio-preview", "chat", 1.5, _of_sound(10)),
    Case("sound", "google", "gemini-2.5-flash", "gemini", 1.5, _of_sound(32)),
    Case("sound", "google", "gemini-3-pro-preview", "gemini", 2, _of_sound(25)),
    Case("documents", "anthropic", "claude-sonnet-4-5", "anthropic", 3, _of_pages(1560)),
    Case("documents", "anthropic", "claude-opus-4-8", "anthropic", 3, _of_pages(2600)),
    Case("documents", "openai", "gpt-5", "responses", 3, _of_pages(70 + 4 * 140)),
    Case("documents", "google", "gemini-3-pro-preview", "gemini", 4, _of_pages(560)),
    Case("films", "google", "gemini-2.5-flash", "gemini", 1.5, _of_film(258 + 32)),
    Case("films", "google", "gemini-3-pro-preview", "gemini", 1.5, _of_film(70 + 25)),
)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_bills_of_media_are_within_their_ceilings_and_not_far_below(tmp_path: Path, case: Case) -> None:
    rng = random.Random(str(case))
    house = _house(tmp_path / "h", case.provider, case.model, case.dialect)
    ratios = []
    for _ in range(20):
        found, unit, tokens = case.make(rng)
        path, body = _request(case.dialect, found)
        answer = _usage(case.dialect, case.model, unit, len(WORDS) // 4 + 10, tokens)
        known = len(house.records())
        told = await house.ask(Answer(orjson.dumps({"model": case.model, **answer})), path=path, chat=False, **body)
        assert told.status == 200, told.body
        records = {record["t"]: record for record in house.records()[known:]}
        reserved, cost = records["intent"]["reserved_nanousd"], records["settle"]["cost_nanousd"]
        assert 0 < cost <= reserved, (case, cost / reserved, found[0][0])
        ratios.append(reserved / cost)
    ratios.sort()
    print(
        f"{case}: {len(ratios)} calls, median {statistics.median(ratios):.2f}, p95 {ratios[int(len(ratios) * 0.95)]:.2f}"
    )
    assert statistics.median(ratios) <= case.most_median


URLS = ("openai", "gpt-4o", 0.02), ("anthropic", "claude-sonnet-4-5", 0.03), ("openai", "gpt-5", 0.02)


@pytest.mark.parametrize(("provider", "model", "most_usd"), URLS)
async def test_a_picture_behind_a_url_is_the_largest_that_the_model_takes(
    tmp_path: Path, provider: str, model: str, most_usd: float
) -> None:
    dialect = _DIALECT.get(provider, "chat")
    house = _house(tmp_path / "h", provider, model, dialect)
    path, body = _request(dialect, [])
    block: dict[str, Any] = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
    if dialect == "anthropic":
        block = {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}
    body["messages"][0]["content"].append(block)

    told = await house.ask(
        Answer(orjson.dumps(_usage(dialect, model, "IMAGE", 100, 1000))), path=path, chat=False, **body
    )

    assert told.status == 200, told.body
    assert house.records()[0]["reserved_nanousd"] < most_usd * 1e9
