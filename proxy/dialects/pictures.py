"""OpenAI's pictures: the most output tokens that a request for them can come to.

A picture is as many tokens as its size and the best quality say: whatever quality is asked for, a server may take no notice.
Sources, read November 2026: developers.openai.com/api/docs/guides/image-generation (cost: 4160 tokens for 1024x1024 of
gpt-image-1, 6208 for 1024x1536); openai SDK 3.57 `types/image_generate_params.py` for frames and SVG.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pricing.media.made import later_tokens
from proxy.dialects import fields
from proxy.types import Call

_SIZE = re.compile(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})\Z")
_PIXELS_PER_TOKEN = 256  # of the first models
_MOST_PIXELS = 8_294_400
_EXTRA_TOKENS = 256  # round a picture, and once more for each that is shown on the way
# Where the size is the model's choice: four times a square of the first models, the largest square of the later ones.
_UNKNOWN_FIRST = 16_640
_PLANNING_TOKENS = 16_384  # text that is written before a picture of a `complexity`; unpublished, so generous
_MOST_FRAMES = 16
_FIRST = re.compile(r"(?:\A|/)(?:gpt-image-1|dall-e-)")


def output_tokens(body: Mapping[str, Any], partial: int, *, first: bool = False) -> int:
    """What one picture can come to. first: of the first models, which are smaller."""
    size = _SIZE.match(fields.text(body, "size") or "")
    if size is None:
        tokens = _UNKNOWN_FIRST if first else later_tokens(1, 1, _MOST_PIXELS)
    else:
        width, height = int(size[1]), int(size[2])
        tokens = width * height // _PIXELS_PER_TOKEN
        if not first:
            tokens = max(tokens, later_tokens(width, height, width * height))
    tokens += _EXTRA_TOKENS * (1 + partial)
    if body.get("complexity") is not None:
        tokens += _PLANNING_TOKENS
    return tokens * _frames(body)


def _frames(body: Mapping[str, Any]) -> int:
    """Pictures of a GIF, each of which is made."""
    if fields.text(body, "output_format") != "gif" and body.get("frame_count") is None:
        return 1
    return fields.integer(body, "frame_count", 1, _MOST_FRAMES) or _MOST_FRAMES


def unbounded(body: Mapping[str, Any]) -> str:
    """Why nothing bounds what pictures cost, for a sentence; "" where something does."""
    if fields.text(body, "output_format") == "svg" or any(name.startswith("svg") and body[name] for name in body):
        return "an SVG is written by another model, at its price; ask for another `output_format`"
    return ""


def of_model(call: Call, model: str) -> Call:
    """The call with what this model bills for its pictures."""
    if not _FIRST.search(model.lower()):
        return call
    partial = fields.integer(call.body, "partial_images", 0, 10) or 0
    return call._replace(output_caps=(output_tokens(call.body, partial, first=True),))
