"""What a request of a media model comes to at most, and what it made, in the units of its price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from proxy.jobs import media_usage
from proxy.types import Call
from tests.support.rows import each_row

CALL = Call(dialect="fal.request", operation="prediction", model="m", body={}, stream=False, size_bytes=0)


def at_most(unit: str, **given: Any) -> int | None:
    return media_usage.with_max_usage(CALL, given, frozenset({unit}), gpu_seconds=90).quantities.get(unit)


@each_row(
    ("unit", "given", "most"),
    [
        ("image", {}, 1),
        ("image", {"num_images": 4}, 4),
        ("image", {"num_outputs": "3"}, 3),
        ("image", {"num_images": 2, "max_images": 3}, 6),
        ("image", {"n": True}, None),
        ("image", {"num_images": -1}, None),
        ("image", {"num_images": 10**9}, None),
        ("image", {"num_images": "many"}, None),
        ("video_second", {"duration": "8s"}, 8),
        ("video_second", {"duration": 5, "num_videos": 2}, 10),
        ("video_second", {"duration": "auto"}, 20),
        ("video_second", {"duration": 4, "seconds": "12"}, 12),
        ("video_second", {}, 10),
        ("video_second", {"num_frames": 81, "fps": 16}, 6),
        ("video_second", {"num_frames": 81, "frames_per_second": 0}, 6),
        ("megapixel", {"image_size": "square_hd"}, 2),
        ("megapixel", {"image_size": {"width": 2048, "height": 2048}, "num_images": 2}, 10),
        ("megapixel", {"image_size": {"width": "x"}}, 4),
        ("megapixel", {"megapixels": "1"}, 1),
        ("megapixel", {"resolution": "4K"}, 17),
        ("character", {"text": "abc", "parts": [{"text": "de"}]}, 5),
        ("request", {}, 1),
        ("gpu_second", {}, 90),
    ],
)
def test_the_most_that_a_request_comes_to(unit: str, given: dict[str, Any], most: int | None) -> None:
    assert at_most(unit, **given) == most


def test_a_unit_that_no_request_tells_is_named() -> None:
    call = media_usage.with_max_usage(CALL, {}, frozenset({"credit"}), gpu_seconds=0)
    assert "credit" in call.unbounded
    assert media_usage.with_max_usage(CALL, {}, frozenset({"input", "output"}), gpu_seconds=0).unbounded == ""


def test_what_is_kept_of_a_request_is_no_text_of_its_clients() -> None:
    given = {
        "prompt": "a secret",
        "duration": "x" * 41,
        "num_images": 2,
        "resolution": "720p",
        "fps": [1],
        "audio": True,
    }
    assert media_usage.price_fields(given) == {"num_images": 2, "resolution": "720p", "audio": True}
    assert media_usage.conditions_of(given) == {"resolution": "720p", "audio": "on"}


def test_what_was_made_wins_over_what_was_ordered() -> None:
    asked = {"duration": "5s", "num_videos": 2}
    used = media_usage.reading_of(["video_second"], asked, {"video_second": Decimal("4.8")})
    assert used is not None
    assert used.usage == {"video_second": Decimal("4.8")}
    ordered = media_usage.reading_of(["video_second"], asked, {})
    assert ordered is not None
    assert ordered.usage == {"video_second": 10}
    assert media_usage.reading_of(["video_second"], {"duration": "auto"}, {}) is None
    assert media_usage.reading_of(["credit"], {}, {"image": 1}) is None


def test_what_has_no_price_is_not_free() -> None:
    made = media_usage.reading_of([], {}, {"image": 2, "gpu_second": 3})
    assert made is not None
    assert made.usage == {"image": 2}
    assert media_usage.reading_of([], {}, {"gpu_second": 3}) is None


def test_a_count_below_nothing_is_not_nothing() -> None:
    assert media_usage.reading_of(["input"], {}, {"input": -5}) is None
    assert media_usage.reading_of([], {}, {"image": -5}) is None


@pytest.mark.parametrize(
    ("images", "total"),
    [
        ([{"width": 1000, "height": 1000}], 1),
        ([{"width": 1024, "height": 1024}, {"width": 512, "height": 512}], 3),
        ([{"width": 1024}], None),
        ([{"width": "x", "height": 1}], None),
        ([{"width": -1, "height": 5}], None),
    ],
)
def test_images_by_their_pixels(images: list[dict[str, Any]], total: int | None) -> None:
    assert media_usage.megapixels(images) == total
