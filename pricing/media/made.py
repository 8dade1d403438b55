"""Pictures that are made: their output tokens.

GPT Image 2 and later: OpenAI's calculator, as taken apart in
community.openai.com/t/gpt-image-2-output-pricing-calculator-online-and-in-your-code/1382699 (7024 for 1024x1024, 5488 for
1024x1536, 13,342 for 3840x2160 at the best quality; November 2026), which is what Azure's and fal's price lists come to.
"""

from __future__ import annotations

_AXES = {"low": 16, "medium": 48, "high": 96}
_OFFSET_PIXELS, _SCALE = 2_000_000, 4_000_000


def later_tokens(width: int, height: int, pixels: int, quality: str = "high") -> int:
    """Tokens of one picture. width, height: the shape alone; a quality of another name counts as the best."""
    axis = _AXES.get(quality, _AXES["high"])
    other = -(-axis * min(width, height) // max(width, height))
    return -(-axis * other * (_OFFSET_PIXELS + pixels) // _SCALE)
