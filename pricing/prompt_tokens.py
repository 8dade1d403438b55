"""The tokens of a request: text, tool definitions and images, by the formulas that providers publish.

Chat overhead (OpenAI cookbook, "How to count tokens"): 3 tokens a message, 1 for a name, 3 to prime the answer. Tools:
7 a function, 3 for its properties, 3 a property, -3 + 3 an enum item, 12 at the end. Measured on 182 recorded requests,
plain text is exact for the gpt-4 families; the gpt-5 families carry a hidden preamble of about 80 tokens with tools.
Images (platform.openai.com/docs/guides/images-vision): see `TILES`, `PATCHES`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from pricing.media.images import image_size as media_size
from pricing.media.source import Encoded
from pricing.tokens import count_all
from pricing.values import frozen

PER_MESSAGE, PRIMING, PER_NAME = 3, 3, 1
TOOL, PROPERTIES, PROPERTY, ENUM_START, ENUM_ITEM, TOOLS_END = 7, 3, 3, -3, 3, 12
# Measured constant of the gpt-5 families, on top of the formula, where tools are given.
GPT5_TOOLS_PREAMBLE = 82

# Models that see an image in tiles of 512: base and per tile, the first prefix that fits.
TILES = (
    ("gpt-4o-mini", 2833, 5667), ("gpt-4o", 85, 170), ("gpt-4.1-mini", 0, 0), ("gpt-4.1-nano", 0, 0), ("gpt-4.1", 85, 170),
    ("gpt-4.5", 85, 170), ("o4-mini", 0, 0), ("o1", 75, 150), ("o3", 75, 150), ("gpt-5-mini", 0, 0), ("gpt-5-nano", 0, 0),
    ("gpt-5", 70, 140), ("gpt-image", 65, 129),
)  # fmt: skip
# Models that see it in patches of 32, at most 1536: the factor on the number of patches, in hundredths.
PATCHES = (
    ("gpt-4.1-mini", 162),
    ("gpt-4.1-nano", 246),
    ("o4-mini", 172),
    ("gpt-5-mini", 162),
    ("gpt-5-nano", 246),
)
MAX_PATCHES = 1536
ANTHROPIC_PIXELS_PER_TOKEN, ANTHROPIC_MAX_IMAGE = 750, 1600
GEMINI_TILE = 258
UNKNOWN_SIZE = (1024, 1024)

_IMAGE_KEYS = {"image_url", "input_image", "image", "inlineData", "inline_data", "source", "file_data"}
_MOST_HEAD = 200  # characters before the comma of a data URL


@frozen
class Image:
    """An image in a request: its size in pixels, and the detail that was asked for."""

    width: int
    height: int
    detail: str = "auto"


def count_prompt(request: Mapping[str, Any], model: str) -> int:
    """Tokens of a request body, of any dialect: an estimate, but for OpenAI's plain text."""
    messages = _list(request.get("messages")) or _list(request.get("contents")) or _list(request.get("input"))
    texts = list(_strings([request.get(name) for name in ("system", "instructions", "systemInstruction", "prompt")]))
    if isinstance(request.get("input"), str):
        texts.append(request["input"])
    images: list[Image] = []
    overhead = PRIMING if any(isinstance(message, dict) for message in messages) else 0
    overhead += sum(_ids_in(prompt) for prompt in (_list(request.get("prompt")), *_list(request.get("prompt"))))
    for message in messages:
        if isinstance(message, dict):
            overhead += PER_MESSAGE + (PER_NAME if message.get("name") else 0)
        else:  # what is embedded: texts, ids of tokens, lists of those
            overhead += _ids_in(message if isinstance(message, list) else [message])
        texts += _strings(message)
        images += find_images(message)
    tools = [tool for tool in _list(request.get("tools")) if isinstance(tool, dict)]
    total = count_all(texts, model) + overhead + sum(image_tokens(image, model) for image in images)
    return total + (count_tools(tools, model) if tools else 0)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _ids_in(value: object) -> int:
    """How many ids of tokens a list has."""
    return sum(type(one) is int for one in _list(value))


def _strings(value: object) -> Iterator[str]:
    """Every text in a message that a model reads: not types, ids, images."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, list):
            stack.extend(part)
        elif isinstance(part, dict):
            skipped = {"type", "id", "tool_call_id", "tool_use_id", "cache_control", "signature", *_IMAGE_KEYS}
            stack.extend(inner for key, inner in part.items() if key not in skipped)


def count_tools(tools: list[dict[str, Any]], model: str) -> int:
    """Tokens of tool definitions, by the cookbook's formula."""
    tokens = TOOLS_END
    texts: list[str] = []
    for tool in tools:
        function = tool.get("function") if isinstance(tool.get("function"), dict) else tool
        assert isinstance(function, dict)
        schema = function.get("parameters") or function.get("input_schema")
        properties = schema.get("properties") if isinstance(schema, dict) else None
        tokens += TOOL
        texts.append(f"{function.get('name', '')}:{str(function.get('description', '')).rstrip('.')}")
        if not isinstance(properties, dict) or not properties:
            continue
        tokens += PROPERTIES
        for name, field in properties.items():
            tokens += PROPERTY
            detail = field if isinstance(field, dict) else {}
            items = _list(detail.get("enum"))
            tokens += (ENUM_START + ENUM_ITEM * len(items)) if items else 0
            texts += [str(item) for item in items]
            texts.append(f"{name}:{detail.get('type', '')}:{str(detail.get('description', '')).rstrip('.')}")
            nested = {key: detail[key] for key in ("properties", "items") if key in detail}
            if nested:
                texts.append(orjson.dumps(nested, default=str).decode())
    if "gpt-5" in model or "gpt-6" in model:
        tokens += GPT5_TOOLS_PREAMBLE
    return tokens + count_all(texts, model)


def find_images(message: object) -> list[Image]:
    """The images in a message, in any dialect's spelling. A linked image is taken as 1024 x 1024."""
    images: list[Image] = []
    stack = [message]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(part)
        elif isinstance(part, dict):
            for key, value in part.items():
                if key in _IMAGE_KEYS and value is not None and _is_image(part, value):
                    images.append(_image_of(value, part))
                else:
                    stack.append(value)
    return images


def _is_image(block: dict[str, Any], value: object) -> bool:
    media = (
        value.get("mimeType") or value.get("mime_type") or value.get("media_type") if isinstance(value, dict) else None
    )
    return str(media).startswith("image/") if media else block.get("type") in {"image_url", "input_image", "image"}


def _image_of(value: object, block: dict[str, Any]) -> Image:
    inner = value if isinstance(value, dict) else {"url": value}
    detail = str(inner.get("detail") or block.get("detail") or "auto")
    data = inner.get("url") or inner.get("data")
    size = image_size(data) if isinstance(data, str) else None
    return Image(*(size or UNKNOWN_SIZE), detail)


def image_size(data: str) -> tuple[int, int] | None:
    """Width and height of a picture in base64 or in a data URL; None for links and anything else."""
    return media_size(Encoded(data[data.find(",", 0, _MOST_HEAD) + 1 :] if data.startswith("data:") else data))


def image_tokens(image: Image, model: str) -> int:
    """Tokens of an image as input to `model`."""
    name = model.rsplit("/", 1)[-1].lower()
    if "claude" in name:
        return min(_ceil(image.width * image.height, ANTHROPIC_PIXELS_PER_TOKEN), ANTHROPIC_MAX_IMAGE)
    if "gemini" in name:
        return _gemini_tokens(image, name)
    for prefix, hundredths in PATCHES:
        if name.startswith(prefix):
            patches = _ceil(image.width, 32) * _ceil(image.height, 32)
            return _ceil(min(patches, MAX_PATCHES) * hundredths, 100)
    base, tile = next(((base, tile) for prefix, base, tile in TILES if name.startswith(prefix)), (85, 170))
    return base if image.detail == "low" else base + tile * _tiles(image)


def _tiles(image: Image) -> int:
    """Tiles of 512 after fitting into 2048 x 2048 and bringing the short side down to 768. In whole numbers: a side that comes
    to 1536 is three tiles, not a hair more."""
    longest, shortest = max(image.width, image.height), min(image.width, image.height)
    to, of = (2048, longest) if longest > 2048 else (1, 1)  # each side times to, by of
    if shortest * to > 768 * of:
        to, of = 768, shortest
    return max(_ceil(image.width * to, of * 512), 1) * max(_ceil(image.height * to, of * 512), 1)


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _gemini_tokens(image: Image, name: str) -> int:
    """Gemini 3 and later: 1120 by default; before: 258, larger images in tiles of 768."""
    if not re.search(r"gemini-(?:1|2)", name):
        return {"low": 280, "medium": 560}.get(image.detail, 1120)
    if max(image.width, image.height) <= 384:
        return GEMINI_TILE
    return GEMINI_TILE * _ceil(image.width, 768) * _ceil(image.height, 768)
