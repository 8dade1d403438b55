"""OpenAI's images, audio and video: usage in tokens where the model has tokens, else in images, seconds, characters.

Shapes: openai SDK 3.54 `types/images_response.py`, `types/audio/transcription*.py`, `types/video.py`;
openai-openapi `CreateSpeechResponseStreamEvent`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from proxy.meters.failures import is_failure
from proxy.meters.openai import read_envelope
from proxy.meters.openai_responses import read_svg
from proxy.meters.openai_usage import IMAGE_MODEL, Host, read_usage
from proxy.meters.reader import Context, Reader, merge_counts, note_requested
from proxy.meters.reading_builder import ReadingBuilder, items, mapping, text

MARKS = re.compile(rb'"(?:usage|error)"\s*:\s*\{')

_DETAILS = ("input_token_details", "input_tokens_details", "prompt_tokens_details")
_SPEECH = Host(output="audio_out")


def note_media(response: Mapping[str, Any], context: Context, builder: ReadingBuilder, *names: str) -> None:
    """Size, quality and the like: as asked for, replaced by what the response says it made."""
    for name in names:
        note_requested(builder, context, name, context.request.get(name))
        builder.condition(name, context.selector.get(name))
        builder.condition(name, response.get(name))


def requested_seconds(context: Context, builder: ReadingBuilder, *names: str) -> Any:
    """A duration that only the caller knows: the selector's, else the request's."""
    return builder.maybe(context.selector, "duration_seconds", *names) or builder.maybe(context.request, *names)


def read_images(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Generations, edits and variations. DALL-E states no usage: the images themselves are counted."""
    read_envelope(response, builder)
    note_media(response, context, builder, "size", "quality", "resolution")
    read_usage(mapping(response.get("usage")), context, builder, IMAGE_MODEL)
    read_svg(response, builder)
    made = len(items(response.get("data"))) if "data" in response else builder.maybe(context.selector, "images", "n")
    if not builder.has_usage and made is not None:
        builder.has_usage = True
        builder.add("image", made)


def fold_image(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """`image_generation.completed` and `image_edit.completed` carry the usage; partial images carry none."""
    for name in ("model", "size", "quality"):
        if text(value := event.get(name)):
            state[name] = value
    if isinstance(usage := event.get("usage"), dict):
        state["usage"] = merge_counts(mapping(state.get("usage")), usage)
    elif str(event.get("type")).endswith(".completed"):
        state.setdefault("data", []).append({})


def read_transcript_usage(usage: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """`usage` of a transcription: by tokens or by duration, as it says itself."""
    if usage.get("type") == "duration" or ("seconds" in usage and "input_tokens" not in usage):
        seconds = builder.maybe(usage, "seconds")
        if seconds is not None:
            builder.has_usage = True
            builder.add("audio_second", seconds)
        return
    if not any(isinstance(usage.get(name), dict) for name in _DETAILS):
        # without details the input of a transcription is its audio
        usage = {**usage, "input_token_details": {"audio_tokens": usage.get("input_tokens")}}
    read_usage(usage, context, builder)


def read_transcription(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Transcription or translation. Without usage: the duration of `verbose_json`, else what the caller knows."""
    read_envelope(response, builder)
    read_transcript_usage(mapping(response.get("usage")), context, builder)
    if not builder.has_usage and not is_failure(response):
        seconds = builder.maybe(response, "duration", "audio_duration", "seconds")
        if seconds is None:
            seconds = requested_seconds(context, builder)
        if seconds is not None:
            builder.has_usage = True
            builder.add("audio_second", seconds)


def read_speech(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Text to speech: audio without usage (then the text's code points count), or an SSE stream with it."""
    read_envelope(response, builder)
    read_usage(mapping(response.get("usage")), context, builder, _SPEECH)
    if builder.has_usage or is_failure(response):
        return
    counted = builder.maybe(mapping(response.get("usage")), "characters", "total_characters")
    if counted is None:
        counted = builder.maybe(context.selector, "characters")
    if counted is None and (header := context.response_headers.get("character-cost")):  # ElevenLabs
        counted = builder.read(header)
    spoken = text(context.request.get("input")) or text(context.request.get("text"))
    if counted is None and spoken:
        counted = len(spoken)
    if counted is not None:
        builder.has_usage = True
        builder.add("character", counted)


def fold_usage(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """Streams whose last event carries the usage (`transcript.text.done`, `speech.audio.done`)."""
    for name in ("model", "duration"):
        if event.get(name) is not None:
            state[name] = event[name]
    if is_failure(event):
        state["error"] = event
    if isinstance(usage := event.get("usage"), dict):
        state["usage"] = merge_counts(mapping(state.get("usage")), usage)


def read_video(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A Sora job: seconds (a string) by size. A job that is not done costs nothing yet, one that failed never will."""
    read_envelope(response, builder)
    note_media(response, context, builder, "size", "quality", "resolution")
    status = response.get("status")
    if status is None:
        return
    builder.has_usage = True
    if status == "completed":
        seconds = builder.maybe(response, "seconds", "duration")
        builder.add("video_second", seconds or requested_seconds(context, builder, "seconds", "duration") or 0)


images = Reader("openai.images", read_images, fold_image, marks=MARKS)
transcription = Reader("openai.transcription", read_transcription, fold_usage, marks=MARKS)
speech = Reader("openai.speech", read_speech, fold_usage, marks=MARKS)
video = Reader("openai.video", read_video)
