"""The fake of Bedrock's models that make pictures: what they take, what they send back, and what each picture costs there.

Standard library only: it shares no code with the product.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

# USD a picture (aws.amazon.com/bedrock/pricing, US East): small or large (above 1024 x 1024; of Titan's 512 x 512), and of the
# better quality.
_NOVA = {(False, False): "0.04", (False, True): "0.06", (True, False): "0.06", (True, True): "0.08"}
_TITAN = {(False, False): "0.008", (False, True): "0.01", (True, False): "0.01", (True, True): "0.012"}
_STABILITY = {"sd3-5-large": "0.08", "stable-image-core": "0.04", "stable-image-ultra": "0.14"}


def png(width: int, height: int) -> str:
    """A picture of one colour."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()


def made(model: str, body: Any) -> tuple[Any, int, str] | None:
    """The answer, how many pictures are billed, and what one of them costs; None of a model that makes none."""
    if "stability." in model:
        price = next(price for name, price in _STABILITY.items() if name in model)
        if "FILTERED" in body["prompt"]:
            return {"finish_reasons": ["Filter reason: prompt"]}, 0, price
        return {"seeds": [1], "finish_reasons": [None], "images": [png(1024, 1024)]}, 1, price
    if "nova-canvas" not in model and "titan-image" not in model:
        return None
    config = body.get("imageGenerationConfig", {})
    count = config.get("numberOfImages", 1)
    width, height = config.get("width", 1024), config.get("height", 1024)
    large = width * height > (1024 * 1024 if "nova" in model else 512 * 512)
    price = (_NOVA if "nova" in model else _TITAN)[large, config.get("quality") == "premium"]
    answer: dict[str, Any] = {"images": [png(width, height)] * count, "error": None}
    if "PARTLY" in str(body):
        count -= 1
        answer = {"images": [png(width, height)] * count, "error": "Some were blocked by our content filters."}
    return answer, count, price
