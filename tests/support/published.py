"""What pictures cost by the providers' own documents, worked out here step by step, apart from the code that is tested."""

from __future__ import annotations

import math


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
