"""What is billed by the thing made, not by the token: jobs for images and video, pages, seconds of audio, GPU time.

A job is charged once, when it is done: one that failed or still runs costs nothing. What the answer leaves out (the
length of a video) stands in the request or in the selector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pricing.usage import Quantity
from proxy.meters.charges import read_charge
from proxy.meters.hosts import xai_more
from proxy.meters.openai import read_envelope
from proxy.meters.openai_media import note_media, read_images, requested_seconds
from proxy.meters.reader import Context, Reader, note_requested
from proxy.meters.reading_builder import ReadingBuilder, items, mapping, number, text

DONE = {"succeeded", "completed", "done", "success", "complete", "finished"}

# Seconds of a video where neither request nor answer says: the provider's default.
XAI_VIDEO_S = 8
VEO_VIDEO_S = 8

# Runway answers without any usage; credits per second (per image where so said) from docs.dev.runwayml.com, 2026-11.
RUNWAY_CREDITS_PER_S = {
    "gen4.5": 12, "gen4_turbo": 5, "gen4_aleph": 15, "gen3a_turbo": 5, "act_two": 5, "veo3": 40, "veo3.1": 40,
    "veo3.1_fast": 15, "upscale_v1": 2,
}  # fmt: skip
RUNWAY_CREDITS_PER_IMAGE = {"gen4_image": 5, "gen4_image_turbo": 2, "gemini_2.5_flash": 5}
_RUNWAY_SILENT = {"veo3.1": 20, "veo3.1_fast": 10}


def is_done(response: Mapping[str, Any], *names: str) -> bool:
    """Whether a job has ended well."""
    return any(isinstance(value := response.get(name), str) and value.lower() in DONE for name in names or ("status",))


def read_replicate(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A prediction: official models bill tokens or images, all others the seconds of their hardware."""
    builder.model = text(response.get("model"))
    note_media(response, context, builder, "hardware")
    metrics = mapping(response.get("metrics"))
    if "status" not in response and not metrics:
        return
    builder.has_usage = True
    if "status" in response and not is_done(response):
        return
    input_tokens, output_tokens = (
        builder.maybe(metrics, "input_token_count"),
        builder.maybe(metrics, "output_token_count"),
    )
    images, seconds = builder.maybe(metrics, "image_count"), builder.maybe(metrics, "video_output_duration_seconds")
    if input_tokens is not None or output_tokens is not None:
        builder.add("input", input_tokens or 0)
        builder.add("output", output_tokens or 0)
    elif images is not None:
        builder.add("image", images)
    elif seconds is not None:
        builder.add("video_second", seconds)
    else:
        builder.add("gpu_second", builder.count(metrics, "predict_time"))


def read_runway(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A task: credits follow from the model, the duration and the resolution that were asked for."""
    builder.model = text(response.get("model")) or text(context.request.get("model"))
    status = response.get("status")
    if not isinstance(status, str):
        return
    builder.has_usage = True
    if status.upper() != "SUCCEEDED":
        return
    model = builder.model or context.model
    seconds = requested_seconds(context, builder, "duration")
    rate: Quantity | None = RUNWAY_CREDITS_PER_S.get(model)
    if context.request.get("audio") is False and not context.from_client:
        rate = _RUNWAY_SILENT.get(model, rate)
    if model in RUNWAY_CREDITS_PER_IMAGE:
        tall = "1080" in f"{context.request.get('ratio')} {context.selector.get('resolution')}"
        each = 8 if model == "gen4_image" and tall else RUNWAY_CREDITS_PER_IMAGE[model]
        builder.add("credit", each * max(len(items(response.get("output"))), 1))
    elif rate is not None and seconds:
        builder.add("credit", rate * seconds)
    elif seconds:
        builder.add("video_second", seconds)
    else:
        builder.has_usage = False


def read_xai_images(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """xAI's images: by the image, with its own charge in ticks."""
    xai_more(mapping(response.get("usage")), context, builder)
    read_charge(mapping(response.get("usage")), "cost_in_usd_ticks", builder)
    read_images(response, context, builder)


def read_xai_video(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """xAI's video: by the second, with its own charge in ticks."""
    read_envelope(response, builder)
    note_media(response, context, builder, "resolution")
    if text(response.get("status")) is None:
        return
    builder.has_usage = True
    if not is_done(response):
        return
    xai_more(mapping(response.get("usage")), context, builder)
    read_charge(mapping(response.get("usage")), "cost_in_usd_ticks", builder)
    seconds = builder.maybe(mapping(response.get("video")), "duration", "duration_seconds")
    builder.add("video_second", seconds or requested_seconds(context, builder, "duration", "seconds") or XAI_VIDEO_S)


def read_veo(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A Veo operation: seconds times the videos that were made; filtered ones are not billed."""
    parameters = mapping(context.request.get("parameters")) or context.request
    note_requested(builder, context, "resolution", parameters.get("resolution"))
    builder.condition("resolution", context.selector.get("resolution"))
    if "done" not in response and "response" not in response:
        return
    builder.has_usage = True
    result = mapping(response.get("response"))
    inner = mapping(result.get("generateVideoResponse")) or result
    videos = items(inner.get("generatedSamples")) or items(inner.get("generatedVideos")) or items(inner.get("videos"))
    seconds = (
        requested_seconds(context, builder)
        or builder.count(parameters, "durationSeconds", "duration_seconds")
        or VEO_VIDEO_S
    )
    builder.add("video_second", len(videos) * seconds)


def read_imagen(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Imagen's `predict`: each image that came back."""
    note_media(response, context, builder, "size", "quality", "resolution")
    images = response.get("predictions") if "predictions" in response else response.get("generatedImages")
    if isinstance(images, list):
        builder.has_usage = True
        made = [one for one in images if isinstance(one, dict) and not one.get("raiFilteredReason")]
        builder.add("image", len(made))


def read_ocr(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Mistral OCR: pages; with annotations asked for, a page costs the annotated price *instead*."""
    builder.model = text(response.get("model"))
    pages = builder.maybe(mapping(response.get("usage_info")), "pages_processed")
    if pages is None:
        return
    builder.has_usage = True
    formats = ("document_annotation_format", "bbox_annotation_format")
    annotated = any(context.request.get(name) for name in formats) or bool(response.get("document_annotation"))
    annotated = annotated or context.selector.get("annotated") is True
    builder.add("annotated_page" if annotated else "page", pages)


def read_seconds(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Transcription that is billed by duration: Mistral, Groq, Deepgram, AssemblyAI, ElevenLabs."""
    builder.model = text(response.get("model"))
    places = (
        (mapping(response.get("usage")), ("prompt_audio_seconds", "seconds", "duration")),
        (response, ("duration", "audio_duration", "audio_duration_secs")),
        (mapping(response.get("metadata")), ("duration",)),
        (context.selector, ("duration_seconds",)),
    )
    for source, names in places:
        if any(number(source.get(name)) is not None for name in names):
            builder.has_usage = True
            builder.add("audio_second", builder.count(source, *names))
            return


def read_fal(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """fal: each image by its resolution, or the seconds of a video."""
    note_media(response, context, builder, "size", "resolution", "quality")
    if isinstance(images := response.get("images"), list):
        builder.has_usage = True
        builder.add("image", len(images))
    elif isinstance(video := response.get("video"), dict):
        builder.has_usage = True
        builder.add(
            "video_second", builder.count(video, "duration") or requested_seconds(context, builder, "duration") or 0
        )


def read_luma(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A generation: an image, or the seconds of a video as its provider repeats the order for it."""
    ordered = mapping(response.get("request"))
    builder.model = text(response.get("model")) or text(ordered.get("model"))
    note_media(response, context, builder, "resolution")
    builder.condition("resolution", ordered.get("resolution"))
    if text(response.get("state")) is None:
        return
    builder.has_usage = True
    if not is_done(response, "state"):
        return
    if "image" in mapping(response.get("assets")) and "video" not in mapping(response.get("assets")):
        builder.add("image", 1)
        return
    length = text(ordered.get("duration")) or text(context.request.get("duration")) or ""
    seconds = number(length.removesuffix("s")) or requested_seconds(context, builder)
    if seconds:
        builder.add("video_second", seconds)
    else:
        builder.has_usage = False


replicate = Reader("replicate.prediction", read_replicate, usage_key="metrics")
runway = Reader("runway.task", read_runway)
xai_images = Reader("xai.images", read_xai_images)
xai_video = Reader("xai.video", read_xai_video)
veo = Reader("gemini.video", read_veo)
imagen = Reader("gemini.images", read_imagen)
ocr = Reader("mistral.ocr", read_ocr, usage_key="usage_info")
mistral_transcription = Reader("mistral.transcription", read_seconds)
deepgram = Reader("deepgram.transcription", read_seconds)
fal = Reader("fal.images", read_fal)
luma = Reader("luma.generation", read_luma)
