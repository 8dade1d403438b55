"""The most tokens that a medium of a request can be: pictures, recordings, films and documents, by model.

Sources beside those of `vision.py`, read November 2026: platform.openai.com/docs/guides/audio (a token for 100 ms of sound
that goes in); ai.google.dev/gemini-api/docs/audio (32 a second; 25 from Gemini 3 on), …/video-understanding (one frame a
second unless `videoMetadata.fps` says otherwise; 258 tokens a frame, 70 or 280 from Gemini 3 on; a time stamp for each),
…/document-processing (258 a page, 280 to 1,120 from Gemini 3 on); docs.claude.com PDF support and platform.openai.com PDF files
(a picture of each page, and its text).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pricing.media.images import Size, image_size
from pricing.media.source import Encoded, UnreadableError
from pricing.media.vision import most_image_tokens

_SPARE = 64
_SOUND_CHUNK_S = 30  # encoders of the Whisper kind fill up to their window
_SOUND_TOKENS_PER_S = 32
_OPENAI_SOUND_TOKENS_PER_S = 12
_STAMP_TOKENS = 10
_OCR_TOKENS = 2048  # a scanned page's text, where a table of Gemini's says "+ OCR"
_PAGE = Size(2576, 2576)  # whatever a page is rendered at, its picture is brought down to what the model takes


class Medium(NamedTuple):
    """Something in a request that is no text.

    kind: `image`, `audio`, `video`, `pdf`, or "" where nobody knows. data: its base64, "" where it is only referred to.
    detail: how closely the request wants it looked at. fps: frames of a film that are looked at each second.
    """

    kind: str
    data: str = ""
    detail: str = ""
    fps: int = 1


class Bound(NamedTuple):
    """unit: what it is billed as where it is not billed as text. seconds: of sound, where it is billed by them."""

    unit: str
    tokens: int
    seconds: int = 0


def most(medium: Medium, provider: str, model: str) -> Bound | None:
    """What a medium comes to at most; None where nothing but the model's context bounds it."""
    if medium.kind == "image":
        size = image_size(Encoded(medium.data)) if medium.data else None
        tokens = most_image_tokens(size, medium.detail, provider, model)
        return None if tokens is None else Bound("image_in", tokens)
    if not medium.data:
        return None
    try:
        if medium.kind == "audio":
            return _sound(medium, provider, model)
        if medium.kind == "video":
            return _video(medium, provider, model)
        return _document(medium, provider, model) if medium.kind == "pdf" else None
    except UnreadableError:
        return None


def _sound(medium: Medium, provider: str, model: str) -> Bound:
    from pricing.media import sound  # noqa: PLC0415 - most requests have no medium, and none is read at a start

    seconds = sound.most_seconds(Encoded(medium.data))
    if provider in ("openai", "azure"):
        return Bound("audio_in", seconds * _OPENAI_SOUND_TOKENS_PER_S + _SPARE, seconds)
    chunks = -(-seconds // _SOUND_CHUNK_S) * _SOUND_CHUNK_S
    whole = seconds if _is_gemini(provider, model) else chunks
    return Bound("audio_in", whole * _SOUND_TOKENS_PER_S + _SPARE, seconds)


def _video(medium: Medium, provider: str, model: str) -> Bound | None:
    """Google's alone: others publish no formula. Sound and pictures together, as the dearer of the two."""
    if not _is_gemini(provider, model):
        return None
    from pricing.media import video  # noqa: PLC0415 - as above

    seconds = video.most_seconds(Encoded(medium.data))
    if seconds is None:
        return None
    frame = 258
    if not _is_gemini_2(model):
        frame = (
            70
            if medium.detail.lower().removeprefix("media_resolution_") in ("", "low", "medium", "unspecified")
            else 280
        )
    frames = seconds * max(medium.fps, 1) + 1
    tokens = frames * (frame + _STAMP_TOKENS) + seconds * _SOUND_TOKENS_PER_S
    return Bound("video_in", tokens + _SPARE, seconds)


def _document(medium: Medium, provider: str, model: str) -> Bound | None:
    from pricing.media import pdf  # noqa: PLC0415 - as above

    encoded = Encoded(medium.data)
    if len(encoded) > pdf.MOST_BYTES:
        return None
    content = pdf.most_pages(encoded.read(0, len(encoded)))
    page = most_image_tokens(_PAGE, medium.detail, provider, model)
    takes_documents = provider in ("anthropic", "openai", "azure") or _is_gemini(provider, model) or "claude" in model
    if content is None or page is None or not takes_documents:
        return None
    if _is_gemini(provider, model):
        page = 258 + _OCR_TOKENS if _is_gemini_2(model) else page
    return Bound("image_in", content.pages * page + content.text_tokens + _SPARE)


def _is_gemini(provider: str, model: str) -> bool:
    return provider in ("google", "google-vertex") or "gemini" in model.lower()


def _is_gemini_2(model: str) -> bool:
    return re.match(r"gemini-[12](?!\d)", model.rsplit("/", 1)[-1].lower()) is not None
