"""Whether a stated usage can be believed, judged by the answer that was seen."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pricing.units import INPUT_SIDE, TOKENS
from pricing.usage import Reading

_OUTPUTS = ("output", "reasoning", "audio_out", "image_out", "video_out")
# Something that a model wrote, in any dialect: text, or what it calls.
_WRITTEN = re.compile(
    rb'"(?:content|text|delta|refusal|arguments|partial_json|thinking|reasoning_content|reasoning)"\s*:\s*"[^"]'
    rb'|"(?:tool_use|functionCall)"'
)


def shows_output(pieces: Iterable[bytes]) -> bool:
    """Whether a model wrote something in (the beginning of) an answer."""
    return any(_WRITTEN.search(piece) for piece in pieces)


def doubtful(reading: Reading, pieces: Iterable[bytes]) -> bool:
    """Whether a stated usage leaves something out, contradicts itself without saying any visible output, or says none
    though the answer shows some: then what was seen is counted."""
    if reading.source == "partial":
        return True
    if not reading.flags and reading.usage.get("output"):
        return False
    if TOKENS.isdisjoint(reading.usage) and reading.parts and all(part.usage.get("output") for part in reading.parts):
        return False  # all of it is billed at other models, and they wrote it: those inside say what they used
    outputs = [unit for unit in _OUTPUTS if reading.usage.get(unit)]
    if "inconsistent_usage" in reading.flags and (
        outputs in ([], ["reasoning"]) or INPUT_SIDE.isdisjoint(reading.usage)  # a missing count is not 0
    ):
        return True
    return not outputs and shows_output(pieces)
