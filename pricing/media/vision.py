"""The most tokens that a picture can be for a model, by the formulas that providers publish.

Sources, read November 2026: developers.openai.com/api/docs/guides/images-vision (tiles, patches, budgets by `detail`);
platform.claude.com/docs/en/build-with-claude/vision (28 x 28 pixels a token, 1,568 or 4,784 at most, long edge 1,568 or 2,576);
ai.google.dev/gemini-api/docs/media-resolution and …/tokens; docs.x.ai (448-pixel tiles of 256 tokens, at most 6, and one more);
docs.mistral.ai/capabilities/vision; Qwen2.5-VL and Qwen3-VL (28 or 32 pixels a token, at most 16,384); docs.together.ai
(Llama 3.2 Vision: four tiles of 1,601). Where a document can be read in two ways, the dearer one is the bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pricing.media.images import Size

# `detail` of a picture that the model enlarges before it reads it, as Qwen's `min_pixels` asks for
# (help.aliyun.com/zh/model-studio/vision).
ENLARGED = "min_pixels"
_SPARE = 16  # what stands round a picture: marks of its beginning, end and rows


class _Tiles(NamedTuple):
    """OpenAI's tiles of 512 pixels, after fitting into 2,048 x 2,048 and bringing the short side to 768."""

    base: int
    tile: int


class _Patches(NamedTuple):
    """OpenAI's patches of 32 pixels, times a factor in hundredths. budget: by `detail`; "" stands for every other."""

    hundredths: int
    budget: dict[str, int]


_OLD_BUDGET = {"low": 256, "": 1536}
_FIRST_ORIGINAL = {"low": 256, "high": 2500, "": 10_000}
_ORIGINAL = {"low": 256, "high": 2500, "": 30_000}
# By the beginning of a name; the first that fits. Factors that are not published are taken at 1.62.
_OPENAI: tuple[tuple[str, _Tiles | _Patches], ...] = (
    ("gpt-4o-mini", _Tiles(2833, 5667)),
    ("gpt-4.1-mini", _Patches(162, _OLD_BUDGET)),
    ("gpt-4.1-nano", _Patches(246, _OLD_BUDGET)),
    ("o4-mini", _Patches(172, _OLD_BUDGET)),
    ("gpt-5-mini", _Patches(162, _OLD_BUDGET)),
    ("gpt-5-nano", _Patches(246, _OLD_BUDGET)),
    ("gpt-5-codex-mini", _Patches(162, _OLD_BUDGET)),
    ("gpt-5.1-codex-mini", _Patches(162, _OLD_BUDGET)),
    ("gpt-5.1", _Tiles(70, 140)),  # not among those that the guide names for patches
    ("gpt-5.2", _Patches(162, _OLD_BUDGET)),
    ("gpt-5.3", _Patches(162, _OLD_BUDGET)),
    ("gpt-5.4", _Patches(120, _FIRST_ORIGINAL)),
    ("gpt-5.", _Patches(120, _ORIGINAL)),
    ("gpt-6", _Patches(120, _ORIGINAL)),
    ("gpt-5", _Tiles(70, 140)),
    ("gpt-4", _Tiles(85, 170)),
    ("chatgpt-4o", _Tiles(85, 170)),
    ("o1", _Tiles(75, 150)),
    ("o3", _Tiles(75, 150)),
    ("computer-use", _Tiles(65, 129)),
)
_UNKNOWN_OPENAI = _Patches(246, {"": 30_000})

_CLAUDE_STANDARD = re.compile(
    r"claude-(?:[123](?!\d)|instant|haiku-4)|claude-(?:opus|sonnet)-4(?:[.-][0-6](?!\d)|\Z|[-@]2\d{7}|:)"
)


def most_image_tokens(size: Size | None, detail: str, provider: str, model: str) -> int | None:
    """Tokens that a picture cannot exceed; of unknown size: the largest there is. None where no formula is known for it.

    detail: as the request says it (`low`, `MEDIA_RESOLUTION_HIGH`), "" where it does not.
    """
    formula = _formula(provider, model.rsplit("/", 1)[-1].lower())
    if formula is None:
        return None
    tokens = formula(size, detail.lower())
    return None if tokens is None else tokens + _SPARE


_Formula = Callable[[Size | None, str], int | None]


def _formula(provider: str, name: str) -> _Formula | None:
    if "claude" in name or provider == "anthropic":
        return _claude_standard if _CLAUDE_STANDARD.search(name) else _claude
    if "gemini" in name or provider in ("google", "google-vertex"):
        return _gemini_2 if re.match(r"gemini-[12](?!\d)", name) else _gemini
    if provider in ("openai", "azure") or re.match(r"gpt-[456]|chatgpt-4o|o[134](?:-|\Z)|computer-use", name):
        return _openai(name)
    for part, formula in _OTHERS:
        if part in name:
            return formula
    return _BY_PROVIDER.get(provider, _unknown)


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _grid(size: Size, side: int) -> int:
    """Squares of so many pixels that cover it."""
    return _ceil(size.width, side) * _ceil(size.height, side)


def _within(size: Size, edge: int) -> Size:
    """Scaled down so that its longer side is no more than that; a part of a pixel counts as one."""
    longest = max(size)
    if longest <= edge:
        return size
    return Size(_ceil(size.width * edge, longest), _ceil(size.height * edge, longest))


def _openai(name: str) -> _Formula:
    first_match = next((rule for start, rule in _OPENAI if name.startswith(start)), None)
    rule = first_match or _UNKNOWN_OPENAI
    if isinstance(rule, _Tiles):
        return lambda size, detail: _tiles(rule, size, detail)
    return lambda size, detail: _patches(rule, size, detail)


def _tiles(rule: _Tiles, size: Size | None, detail: str) -> int:
    if detail == "low":
        return rule.base
    if size is None:
        return rule.base + 8 * rule.tile
    fitted = _within(size, 2048)
    # How parts of a pixel are rounded is not said: of a shorter side rounded down, the longer one is scaled to more.
    shortest = max(1, min(size) * min(2048, max(size)) // max(size))
    # "Scale so that the shortest side is 768 pixels long": whether a smaller one is made larger is not said.
    scaled = _ceil(max(fitted) * 768, shortest)
    tiles = _ceil(768, 512) * _ceil(scaled, 512)
    if shortest <= 768:
        tiles = max(tiles, _grid(fitted, 512))
    return rule.base + min(tiles, 8) * rule.tile


def _patches(rule: _Patches, size: Size | None, detail: str) -> int:
    budget = rule.budget.get(detail, rule.budget[""])
    patches = budget if size is None or detail == "low" else min(_grid(size, 32), budget)
    return _ceil(patches * rule.hundredths, 100)


def _claude_standard(size: Size | None, detail: str) -> int:
    return _claude_up_to(size, 1568, 1600)


def _claude(size: Size | None, detail: str) -> int:
    return _claude_up_to(size, 2576, 4784)


def _claude_up_to(size: Size | None, edge: int, most: int) -> int:
    if size is None:
        return most
    fitted = _within(size, edge)
    return min(most, max(_grid(fitted, 28), _ceil(fitted.width * fitted.height, 750)))


_GEMINI_LEVELS = {"low": 280, "medium": 560, "high": 1120, "ultra_high": 2240, "": 1120, "unspecified": 1120}


def _gemini(size: Size | None, detail: str) -> int:
    """Gemini 3 and later, whatever the size. A word of OpenAI's (`low`) makes it no smaller: who knows whether it is read."""
    tokens = _GEMINI_LEVELS.get(detail.removeprefix("media_resolution_"), 2240)
    if not detail.startswith("media_resolution_"):
        tokens = max(tokens, _GEMINI_LEVELS[""])
    return tokens + tokens // 16  # the table calls its numbers approximate


def _gemini_2(size: Size | None, detail: str) -> int:
    """258 for a small one; a larger one in tiles of 256 to 768 pixels of that each, and once more as a whole."""
    if size is not None and max(size) <= 384:
        return 258
    if size is None:
        return 258 * 25
    fitted = _within(size, 3072)
    # A part of a pixel counts for none: smaller tiles, more of them.
    shortest = min(size) * min(3072, max(size)) // max(size)
    side = min(max(shortest * 2 // 3, 256), 768)
    return 258 * (min(_grid(fitted, side), 24) + 1)


def _grok(size: Size | None, detail: str) -> int:
    return 256 * (1 + (6 if size is None else min(_grid(size, 448), 6)))


def _mistral(size: Size | None, detail: str) -> int:
    """Pixtral: patches of 16 in 1,024 pixels, with one more for each row; later ones: 28 in 1,540."""
    if size is None:
        return 64 * 65
    rows = []
    for turned in (size, Size(size.height, size.width)):  # it may be turned as its EXIF says
        older, later = _within(turned, 1024), _within(turned, 1540)
        rows += [
            _ceil(older.height, 16) * (_ceil(older.width, 16) + 1),
            _ceil(later.height, 28) * (_ceil(later.width, 28) + 1),
        ]
    return max(rows)


def _qwen(size: Size | None, detail: str) -> int:
    """A token for 28 x 28 pixels; smaller pictures are made larger."""
    return 16_384 if size is None or detail == ENLARGED else min(max(_grid(size, 28), 256), 16_384)


def _llama(size: Size | None, detail: str) -> int:
    return 4 * 1601


def _gemma(size: Size | None, detail: str) -> int:
    """256 for each of a picture and the parts that pan and scan cuts out of it, four at most."""
    return 5 * 258


def _unknown(size: Size | None, detail: str) -> int | None:
    """A model of no known kind: a token for 14 x 14 pixels, the finest that is in use, and no less than small ones cost."""
    return None if size is None else max(_grid(size, 14), 8192)


_OTHERS: tuple[tuple[str, _Formula], ...] = (
    ("grok", _grok),
    ("pixtral", _mistral),
    ("mistral", _mistral),
    ("ministral", _mistral),
    ("magistral", _mistral),
    ("qwen", _qwen),
    ("qvq", _qwen),
    ("llama-3", _llama),
    ("llama-4", _llama),
    ("llama3", _llama),
    ("llama4", _llama),
    ("gemma-3", _gemma),
    ("gemma3", _gemma),
)
_BY_PROVIDER: dict[str, _Formula] = {"xai": _grok, "mistral": _mistral, "dashscope": _qwen}
