"""Bounds of media in tokens against what providers publish, worked out here anew, and against pictures that were billed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.media.bounds import Medium, most
from pricing.media.images import Size
from pricing.media.vision import most_image_tokens
from tests.support import media


def _openai_patches(width: int, height: int, budget: int, factor: float) -> int:
    """As OpenAI's guide works it out, step by step."""
    patches = math.ceil(width / 32) * math.ceil(height / 32)
    if patches > budget:
        shrink = math.sqrt(32 * 32 * budget / (width * height))
        wide, high = width * shrink / 32, height * shrink / 32
        shrink *= min(math.floor(wide) / wide, math.floor(high) / high) if min(wide, high) >= 1 else 1
        patches = min(budget, math.ceil(int(width * shrink) / 32) * math.ceil(int(height * shrink) / 32))
    return math.ceil(patches * factor)


def _openai_tiles(width: int, height: int, base: int, tile: int) -> int:
    scale = min(1, 2048 / max(width, height))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    scale = min(1, 768 / min(width, height))
    return base + tile * math.ceil(round(width * scale) / 512) * math.ceil(round(height * scale) / 512)


def _claude(width: int, height: int, edge: int, most_tokens: int) -> int:
    scale = min(1, edge / max(width, height), math.sqrt(most_tokens * 750 / (width * height)))
    return min(most_tokens, int(width * scale * height * scale / 750))


def _gemini_2(width: int, height: int) -> int:
    """The crop unit of Google's documentation, and a thumbnail."""
    if max(width, height) <= 384:
        return 258
    scale = min(1, 3072 / max(width, height))
    width, height = int(width * scale), int(height * scale)
    unit = max(256, min(768, int(min(width, height) / 1.5)))
    return 258 * math.ceil(width / unit) * math.ceil(height / unit)


FAMILIES = {
    "gpt-4o": ("openai", lambda w, h: _openai_tiles(w, h, 85, 170)),
    "gpt-4o-mini": ("openai", lambda w, h: _openai_tiles(w, h, 2833, 5667)),
    "gpt-4.1": ("openai", lambda w, h: _openai_tiles(w, h, 85, 170)),
    "gpt-5": ("openai", lambda w, h: _openai_tiles(w, h, 70, 140)),
    "o3": ("openai", lambda w, h: _openai_tiles(w, h, 75, 150)),
    "gpt-5-mini": ("openai", lambda w, h: _openai_patches(w, h, 1536, 1.62)),
    "gpt-4.1-nano": ("openai", lambda w, h: _openai_patches(w, h, 1536, 2.46)),
    "o4-mini": ("openai", lambda w, h: _openai_patches(w, h, 1536, 1.72)),
    "gpt-5.4": ("openai", lambda w, h: _openai_patches(w, h, 10_000, 1.2)),
    "gpt-6.1-sol": ("openai", lambda w, h: _openai_patches(w, h, 30_000, 1.2)),
    "claude-sonnet-4-5": ("anthropic", lambda w, h: _claude(w, h, 1568, 1568)),
    "claude-3-7-sonnet-latest": ("anthropic", lambda w, h: _claude(w, h, 1568, 1568)),
    "claude-opus-4-8": ("anthropic", lambda w, h: _claude(w, h, 2576, 4784)),
    "anthropic/claude-sonnet-5": ("openrouter", lambda w, h: _claude(w, h, 2576, 4784)),
    "gemini-2.5-flash": ("google", _gemini_2),
    "gemini-3-pro-preview": ("google", lambda w, h: 1120),
    "grok-4": ("xai", lambda w, h: 256 * (1 + min(6, math.ceil(w / 448) * math.ceil(h / 448)))),
    "qwen2.5-vl-72b-instruct": ("together", lambda w, h: min(16_384, max(4, round(w / 28) * round(h / 28)) + 2)),
    "pixtral-12b-2409": ("mistral", lambda w, h: math.ceil(min(w, w * 1024 / max(w, h)) / 16) * math.ceil(min(h, h * 1024 / max(w, h)) / 16)),
    "meta-llama/Llama-3.2-90B-Vision": ("together", lambda w, h: 1601 * min(2, max(h // 560, 1)) * min(2, max(w // 560, 1))),
}  # fmt: skip


@pytest.mark.parametrize("model", FAMILIES)
@given(st.integers(1, 9000), st.integers(1, 9000))
def test_no_picture_is_more_than_its_bound(model: str, width: int, height: int) -> None:
    provider, published = FAMILIES[model]
    bound = most_image_tokens(Size(width, height), "", provider, model)

    assert bound is not None
    assert bound >= published(width, height)
    largest = most_image_tokens(None, "", provider, model)
    assert largest is not None
    assert largest >= bound


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("size", [(1280, 800), (1440, 900), (1920, 1080), (3024, 1964)])
def test_a_screenshot_is_not_much_less_than_its_bound(model: str, size: tuple[int, int]) -> None:
    provider, published = FAMILIES[model]
    bound = most_image_tokens(Size(*size), "", provider, model)

    assert bound is not None
    assert bound <= 2 * published(*size) + 64


@pytest.mark.parametrize(
    ("provider", "model", "size", "billed"),
    [
        ("openai", "gpt-5.5", (1245, 1395), 2060),  # recorded: 2,089 with 29 of text
        ("openai", "gpt-4o", (1764, 1284), 1105),  # 85 + 170 x 6
        ("google", "gemini-2.5-flash", (1024, 1024), 1290),
        ("anthropic", "claude-opus-4-8", (1920, 1080), 2691),
        ("anthropic", "claude-sonnet-4-5", (1920, 1080), 1560),
    ],
)
def test_what_was_billed(provider: str, model: str, size: tuple[int, int], billed: int) -> None:
    bound = most_image_tokens(Size(*size), "", provider, model)

    assert bound is not None
    assert billed <= bound <= 1.1 * billed


@pytest.mark.parametrize(
    ("model", "detail", "tokens"),
    [("gpt-4o", "low", 85), ("gpt-5-mini", "low", 415), ("gpt-5.4", "high", 3000), ("gpt-5.4", "original", 12_000), ("gpt-6", "auto", 36_000)],
)  # fmt: skip
def test_how_closely_it_is_looked_at(model: str, detail: str, tokens: int) -> None:
    assert most_image_tokens(Size(20_000, 20_000), detail, "openai", model) == tokens + 16


@pytest.mark.parametrize(
    ("level", "tokens"),
    [("MEDIA_RESOLUTION_LOW", 280), ("MEDIA_RESOLUTION_ULTRA_HIGH", 2240), ("what", 2240), ("", 1120)],
)
def test_the_resolution_of_geminis_pictures(level: str, tokens: int) -> None:
    bound = most_image_tokens(Size(99, 99), level, "google", "gemini-3-pro-preview")

    assert bound is not None
    assert tokens <= bound <= 1.1 * tokens + 16


def test_a_model_of_no_known_kind_has_a_bound_for_what_can_be_measured() -> None:
    inline = most(Medium("image", media.base64_of(media.png(1400, 1400))), "vllm", "mine")

    assert inline is not None
    assert inline.tokens >= 10_000
    assert most(Medium("image"), "vllm", "mine") is None


@pytest.mark.parametrize(
    ("medium", "provider", "model", "least", "most_tokens"),
    [
        (Medium("audio", media.base64_of(media.wav(60))), "openai", "gpt-4o-audio-preview", 600, 820),
        (Medium("audio", media.base64_of(media.mp3(2300))), "google", "gemini-2.5-flash", 60 * 32, 70 * 32),
        (Medium("audio", media.base64_of(media.wav(7))), "mistral", "voxtral-small-latest", 375, 30 * 32 + 64),
        (Medium("video", media.base64_of(media.mp4(60))), "google", "gemini-2.5-flash", 60 * 290, 60 * 310),
        (Medium("video", media.base64_of(media.mp4(60)), "", 5), "google", "gemini-2.5-flash", 60 * (5 * 258 + 32), 60 * 1500),
        (Medium("video", media.base64_of(media.mp4(60))), "google", "gemini-3-pro-preview", 60 * 102, 60 * 120),
        (Medium("video", media.base64_of(media.mp4(60)), "MEDIA_RESOLUTION_HIGH"), "google", "gemini-3-pro-preview", 60 * 312, 60 * 330),
        (Medium("pdf", media.base64_of(media.pdf(["word " * 400] * 5))), "anthropic", "claude-sonnet-4-5", 5 * 2000, 5 * 3800),
        (Medium("pdf", media.base64_of(media.pdf(["word " * 400] * 5))), "google", "gemini-3-pro-preview", 5 * 560, 5 * 3400),
    ],
)  # fmt: skip
def test_other_media(medium: Medium, provider: str, model: str, least: int, most_tokens: int) -> None:
    bound = most(medium, provider, model)

    assert bound is not None
    assert least <= bound.tokens <= most_tokens


@pytest.mark.parametrize(
    ("medium", "provider", "model"),
    [
        (Medium("audio"), "openai", "gpt-4o-audio-preview"),
        (Medium("pdf"), "anthropic", "claude-sonnet-4-5"),
        (Medium("pdf", "JVBERi0xLjQ="), "anthropic", "claude-sonnet-4-5"),
        (Medium("video", media.base64_of(media.mp4(60))), "openai", "gpt-5"),
        (Medium("", "AAAA"), "google", "gemini-2.5-flash"),
        (Medium("pdf", media.base64_of(media.pdf(["x"]))), "vllm", "mine"),
    ],
)
def test_what_nothing_but_the_context_bounds(medium: Medium, provider: str, model: str) -> None:
    assert most(medium, provider, model) is None
