"""Output tokens of pictures that are made, against what OpenAI's calculator says."""

from __future__ import annotations

import pytest

from pricing.media.made import later_tokens


@pytest.mark.parametrize(
    ("width", "height", "quality", "tokens"),
    [
        (1024, 1024, "low", 196), (1024, 1024, "medium", 1756), (1024, 1024, "high", 7024), (1024, 1024, "max", 7024),
        (1024, 1536, "high", 5488), (1536, 1024, "", 5488), (3840, 2160, "high", 13_342),
    ],
)  # fmt: skip
def test_a_picture_is_as_many_tokens_as_the_calculator_says(width: int, height: int, quality: str, tokens: int) -> None:
    assert later_tokens(width, height, width * height, quality) == tokens
