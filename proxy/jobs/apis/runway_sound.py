"""What Runway's tasks of sound come to at most: speech by its characters, everything else by the second.

Credits: 1 for 50 characters of speech, 1 for 2 seconds of dubbing, for 3 of another voice, for 6 of isolation, 1 or 2 for an
effect (docs.dev.runwayml.com/guides/pricing, as the table of github.com/runwayml/skills, rw-integrate-audio, has it, read
2026-11-29). What is charged a task says itself, as all of Runway's. Types: runwayml SDK 5.24.0.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from math import ceil
from typing import Any

from pricing.usage import Quantity
from proxy.dialects import fields, media
from proxy.errors import invalid_request
from proxy.meters.reading_builder import number
from proxy.types import Call

KINDS = ("text_to_speech", "sound_effect", "speech_to_speech", "voice_dubbing", "voice_isolation", "video_to_audio")
_MOST_SECONDS, _MOST_VARIANTS = 3600, 16
# Models that take a duration, and the longest without it: "the duration of the sound effect in seconds, between 0.5 and 30
# seconds. If not provided, the duration will be determined automatically" (SDK, `SoundEffectCreateParams`).
_LONGEST_S: Mapping[str, int | None] = {"eleven_text_to_sound_v2": 30, "mirelo_sfx_2_0": None}


def parse(kind: str, body: dict[str, Any], size: int) -> Call:
    """kind: the last word of the path."""
    model = fields.model_name(body)
    bounded, unbounded = max_quantities(kind, body, model)
    return Call(
        dialect="runway.task", operation="audio", model=model, body=body, stream=False, size_bytes=size, output_caps=(0,),
        least_output_tokens=fields.MAX_TOKENS, quantities=bounded, unbounded=unbounded,
    )  # fmt: skip


def max_quantities(kind: str, body: dict[str, Any], model: str) -> tuple[dict[str, int], str]:
    """What it comes to at most, and why nothing bounds that."""
    if kind == "text_to_speech":
        text = fields.text(body, "promptText")
        if text is None:
            raise invalid_request("`promptText` is missing.", "promptText")
        return {"character": len(text)}, ""
    if (length := _seconds(kind, body, model)) is not None:
        return {"audio_second": length}, ""
    return {}, "its sound is as long as what is sent, or as its model likes, of which nothing is known here"


def _seconds(kind: str, body: Mapping[str, Any], model: str) -> int | None:
    """How long it is at most; None where nothing says."""
    if kind in ("sound_effect", "video_to_audio"):
        if model not in _LONGEST_S:
            return None
        length = _duration(body)
        longest = _LONGEST_S[model] if length is None else ceil(length)
        variants = fields.integer(body, "numVariants", 1, _MOST_VARIANTS) or 1
        return None if longest is None else longest * variants
    audio_uri = body.get("audioUri")
    if audio_uri is None and isinstance(source := body.get("media"), dict) and source.get("type") == "audio":
        audio_uri = source.get("uri")
    sent = _data_of(audio_uri)
    return None if sent is None else media.most_seconds(sent)


def _duration(body: Mapping[str, Any]) -> Quantity | None:
    value = body.get("duration")
    if value is None:
        return None
    length = number(value) if isinstance(value, int | float) else None
    if length is None or not 0 < length <= _MOST_SECONDS:
        raise invalid_request(f"`duration` must be a number of seconds, {_MOST_SECONDS} at most.", "duration")
    return length


def _data_of(uri: Any) -> bytes | None:
    """What a `data:` URI holds; None for any other."""
    if not isinstance(uri, str) or uri[:5].lower() != "data:":
        return None
    head, comma, data = uri.partition(",")
    try:
        return base64.b64decode(data, validate=True) if comma and head.lower().endswith(";base64") else None
    except binascii.Error:
        return None
