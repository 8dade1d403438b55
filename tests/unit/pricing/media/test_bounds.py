"""Bounds of media in tokens against what providers publish, worked out here anew, and against pictures that were billed."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pricing.media import vision
from pricing.media.bounds import Medium, most
from pricing.media.images import Size
from pricing.media.vision import most_image_tokens
from tests.support import media
from tests.support.published import FAMILIES
from tests.support.rows import each_row


@pytest.mark.parametrize("model", FAMILIES)
@given(st.integers(1, 9000), st.integers(1, 9000))
# Between two scalings its shorter side is 1,023.25: rounded down, the longer one takes a tile more.
@example(1363, 2728)
def test_no_picture_is_more_than_its_bound(model: str, width: int, height: int) -> None:
    provider, published = FAMILIES[model]
    bound = most_image_tokens(Size(width, height), "", provider, model)

    assert bound is not None
    assert bound >= published(width, height)
    largest = most_image_tokens(None, "", provider, model)
    assert largest is not None
    assert largest >= bound


@each_row("model", FAMILIES)
@each_row("size", [(1280, 800), (1440, 900), (1920, 1080), (3024, 1964)])
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
    [("MEDIA_RESOLUTION_LOW", 280), ("MEDIA_RESOLUTION_ULTRA_HIGH", 2240), ("what", 2240), ("", 1120), ("low", 1120)],
)
def test_the_resolution_of_geminis_pictures(level: str, tokens: int) -> None:
    bound = most_image_tokens(Size(99, 99), level, "google", "gemini-3-pro-preview")

    assert bound is not None
    assert tokens <= bound <= 1.1 * tokens + 16


def test_a_picture_may_be_turned_and_made_larger() -> None:
    assert most_image_tokens(Size(1024, 16), "", "mistral", "pixtral") == most_image_tokens(
        Size(16, 1024), "", "mistral", "pixtral"
    )
    assert most_image_tokens(Size(28, 28), vision.ENLARGED, "dashscope", "qwen-vl-max") == 16_384 + 16


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
