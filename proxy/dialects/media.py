"""OpenAI's images, audio and moderations, client side.

They are billed in tokens or in things (images, seconds, characters), by model; both bounds are stated. Nothing caps their
output but what was asked for, so these calls are never made smaller. Shapes: openai SDK 3.54 `types/image_*_params.py`,
`types/audio/*_params.py`.
"""

from __future__ import annotations

import re
from typing import Any

from pricing.media import sound
from pricing.media.source import Plain
from proxy.dialects import fields, pictures, references
from proxy.dialects.outgoing import Outgoing
from proxy.errors import invalid_request
from proxy.types import Call
from proxy.wire import multipart

_IMAGE_BOUNDED = frozenset({
    "model", "prompt", "n", "size", "quality", "stream", "partial_images", "image", "image[]", "mask", "response_format",
    "output_format", "frame_count", "complexity", "svg",
})  # fmt: skip
_SPEECH_BOUNDED = frozenset({"model", "input", "voice", "instructions", "speed", "response_format", "stream_format"})
_TRANSCRIPT_BOUNDED = frozenset({"model", "file", "prompt", "stream", "response_format", "chunking_strategy"})
_FILES = ("file", "image", "image[]", "mask")
_MODERATION_BOUNDED = frozenset({"model", "input"})
_DEFAULT_MODERATION = "omni-moderation-latest"  # the API's own default

_MAX_IMAGES = 10
_INPUT_IMAGE_TOKENS = 8192  # high input fidelity: at most 6240 more than the tiles of a scaled-down image

_AUDIO_TOKENS_PER_S = 32  # OpenAI: 10
_SPEECH_TOKENS_PER_CHARACTER = 32
_SPEECH_EXTRA_TOKENS = 2048


def parse_moderations(raw: bytes, model: str | None = None) -> Call:
    body = fields.parse_object(raw)
    fields.refuse_names(body, _MODERATION_BOUNDED)
    body.setdefault("model", _DEFAULT_MODERATION)
    references.of(body, references.OPENAI)
    return Call(
        dialect="openai.moderations", operation="moderations", model=fields.model_name(body, model), body=body, stream=False,
        size_bytes=len(raw), output_caps=(0,),
    )  # fmt: skip


def parse_images(raw: bytes, model: str | None = None) -> Call:
    body = fields.parse_object(raw)
    fields.refuse_names(body, _IMAGE_BOUNDED)
    references.of(body, references.OPENAI)
    return _images(body, "images.generations", len(raw), model)


def parse_edits(raw: bytes, model: str | None = None) -> Call:
    form, body = form_of(raw, _IMAGE_BOUNDED, ("n", "partial_images", "frame_count"), ("stream",))
    images = [part for part in form.parts if part.name in ("image", "image[]", "mask")]
    if not images:
        raise invalid_request("`image` is missing.", "image")
    return _images(body, "images.edits", len(raw), model)._replace(
        form=form,
        opaque_bytes=sum(len(part.data) for part in images),
        hidden_tokens=_INPUT_IMAGE_TOKENS * len(images),
    )


def _images(body: dict[str, Any], operation: str, size_bytes: int, model: str | None) -> Call:
    count = fields.integer(body, "n", 1, _MAX_IMAGES) or 1
    partial = fields.integer(body, "partial_images", 0, 10) or 0
    fields.text(body, "quality")
    return Call(
        dialect="openai.images",
        operation=operation,
        model=fields.model_name(body, model),
        body=body,
        stream=fields.boolean(body, "stream"),
        size_bytes=size_bytes,
        output_caps=(pictures.output_tokens(body, partial),),
        unbounded=pictures.unbounded(body),
        sequences=count,
        least_output_tokens=fields.MAX_TOKENS,
        quantities={"image": count},
    )


def parse_speech(raw: bytes, model: str | None = None) -> Call:
    body = fields.parse_object(raw)
    fields.refuse_names(body, _SPEECH_BOUNDED)
    references.of(body, references.OPENAI)
    text = fields.text(body, "input")
    if text is None:
        raise invalid_request("`input` must be a string.", "input")
    return Call(
        dialect="openai.speech",
        operation="audio.speech",
        model=fields.model_name(body, model),
        body=body,
        stream=fields.text(body, "stream_format") == "sse",
        size_bytes=len(raw),
        output_caps=(len(text) * _SPEECH_TOKENS_PER_CHARACTER + _SPEECH_EXTRA_TOKENS,),
        least_output_tokens=fields.MAX_TOKENS,
        quantities={"character": len(text)},
    )


def parse_transcription(operation: str, raw: bytes, model: str | None = None) -> Call:
    """Transcriptions and translations: how long the file lasts is read from it."""
    form, body = form_of(raw, _TRANSCRIPT_BOUNDED, (), ("stream",))
    files = [part.data for part in form.parts if part.name == "file"]
    if len(files) != 1:
        raise invalid_request("There must be exactly one `file`.", "file")
    seconds = most_seconds(files[0])
    return Call(
        dialect="openai.transcription",
        operation=operation,
        model=fields.model_name(body, model),
        body=body,
        stream=fields.boolean(body, "stream"),
        size_bytes=len(raw),
        hidden_tokens=seconds * _AUDIO_TOKENS_PER_S,
        opaque_bytes=len(files[0]),
        least_output_tokens=fields.MAX_TOKENS,
        quantities={"audio_second": seconds},
        form=form,
    )


def most_seconds(audio: bytes) -> int:
    """How long a recording can be at most, by what is in it."""
    return sound.most_seconds(Plain(audio))


def form_of(
    raw: bytes,
    bounded: frozenset[str],
    numbers: tuple[str, ...],
    switches: tuple[str, ...],
    *,
    files: tuple[str, ...] = _FILES,
    names: references.Names = references.OPENAI,
) -> tuple[multipart.Form, dict[str, Any]]:
    """A form, and its plain fields as a body: those that are bounded once each and with their types."""
    try:
        form = multipart.parse(raw)
    except multipart.FormError as error:
        raise invalid_request(f"Send multipart/form-data: {error}.") from None
    body: dict[str, Any] = {}
    for part in form.parts:
        fields.refuse_names({part.name: None}, bounded)
        if part.filename is not None:
            if part.name in bounded and part.name not in files:
                raise invalid_request(f"`{part.name}` must be a plain field.", part.name)
            continue
        if part.name in body and part.name in bounded:
            raise invalid_request(f"`{part.name}` is given more than once.", part.name)
        try:
            body[part.name] = _plain(part.data.decode(), part.name in numbers, part.name in switches)
        except UnicodeDecodeError:
            raise invalid_request(f"`{part.name[:40]}` is not UTF-8.", part.name) from None
    references.of(body, names)
    return form, body


def _plain(text: str, number: bool, switch: bool) -> Any:
    """A field's value; what is no number, or neither true nor false, stays text and is refused by who reads it."""
    if number and re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        return int(text)
    return {"true": True, "false": False}.get(text, text) if switch else text


def encode_form(call: Call, model: str) -> Outgoing:
    """What is forwarded: the form that was parsed, for the model that it was routed to."""
    assert call.form is not None
    parts = (part._replace(data=model.encode()) if part.name == "model" else part for part in call.form.parts)
    return Outgoing(multipart.encode(call.form.boundary, parts))
