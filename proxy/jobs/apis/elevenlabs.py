"""ElevenLabs: speech by the character or in credits, everything else by the second of sound or by the call.

A credit is a character of Multilingual v2 or v3; Flash and Turbo take half of one, some voices of the library more. What was
taken stands in the header `character-cost` of an answer, which goes on as it comes. What a credit costs is the plan's: the book
has the API's own price, and an operator's price by `credit` makes every answer that tells its credits cost these
(help.elevenlabs.io on models' credits; elevenlabs.io/pricing/api as quoted by litellm 1.109.1 and developer.puter.com, June
2026; read 2026-11-29).

What a model's name is not said of (isolation, dubbing) goes by that of its service. What belongs to the account (dictionaries,
other requests, its history and voices' making) is nobody's here. Shapes: elevenlabs SDK 2.78.0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from math import ceil
from typing import Any, Literal

from pricing.usage import Quantity, Reading
from proxy.dialects import fields, media, openai, references
from proxy.dialects.outgoing import Outgoing, json_body
from proxy.dialects.vendors import ELEVENLABS
from proxy.errors import invalid_request, stored_not_found
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute
from proxy.jobs.job import Job
from proxy.meters.reading_builder import number
from proxy.types import Call
from proxy.wire import multipart

_OF_THE_ACCOUNT = (
    "pronunciation_dictionary_locators",
    "previous_request_ids",
    "next_request_ids",
    "finetune_id",
    "webhook_id",
)
_SPEECH = frozenset({
    "text", "model_id", "language_code", "voice_settings", "seed", "previous_text", "next_text", "apply_text_normalization",
    "apply_language_text_normalization", "use_pvc_as_ivc", "audio_effects",
})  # fmt: skip
_DIALOGUE = frozenset({
    "inputs", "model_id", "language_code", "settings", "seed", "apply_text_normalization", "use_pvc_as_ivc", "previous_text",
    "future_text", "audio_effects",
})  # fmt: skip
_EFFECT = frozenset({"text", "model_id", "duration_seconds", "loop", "prompt_influence"})
_MUSIC = frozenset({
    "prompt", "composition_plan", "music_length_ms", "model_id", "seed", "force_instrumental", "respect_sections_durations",
    "store_for_inpainting", "sign_with_c2pa", "with_timestamps",
})  # fmt: skip
_TRANSCRIPT = frozenset({"model_id", "file", "cloud_storage_url", "source_url", "webhook", "use_multi_channel"})
_VOICE = frozenset({"audio", "model_id"})
_MOST_EFFECT_S, _MOST_MUSIC_S, _MOST_CHANNELS = 30, 600, 5
# Half a credit for a character with these; twice as many for some voices of the library.
_HALF = re.compile(r"flash|turbo|conversational")
_FACTOR_OF_VOICES = 2
_QUERIES = frozenset({"output_format", "optimize_streaming_latency", "enable_logging"})


# What a request is bounded by


def parse_speech(raw: bytes) -> Call:
    body = _json(raw, _SPEECH)
    _text(body, "text")
    return _call(raw, body, "audio.speech", "eleven_multilingual_v2", {"character": _characters(body)})


def parse_dialogue(raw: bytes) -> Call:
    body = _json(raw, _DIALOGUE)
    for line in fields.objects(body, "inputs"):
        _text(line, "text")
    return _call(raw, body, "audio.speech", "eleven_v3", {"character": _characters(body)})


def _characters(body: Mapping[str, Any]) -> int:
    """How many are spoken."""
    return sum(len(one["text"]) for one in body.get("inputs", (body,)))


def parse_effect(raw: bytes) -> Call:
    """A sound: by the call, or by its seconds."""
    body = _json(raw, _EFFECT)
    _text(body, "text")
    length = _number(body, "duration_seconds", _MOST_EFFECT_S)
    quantities = {"request": 1, "audio_second": ceil(length or _MOST_EFFECT_S)}
    return _call(raw, body, "audio.effect", "eleven_text_to_sound_v2", quantities)


def parse_music(raw: bytes) -> Call:
    body = _json(raw, _MUSIC)
    length = fields.integer(body, "music_length_ms", 1, _MOST_MUSIC_S * 1000)
    plan = fields.mapping(body, "composition_plan") or {}
    sections = [fields.integer(one, "duration_ms", 1, _MOST_MUSIC_S * 1000) for one in _sections(plan)]
    stated = sum(one for one in sections if one is not None) if sections and None not in sections else None
    longest = max((one for one in (length, stated) if one is not None), default=_MOST_MUSIC_S * 1000)
    return _call(raw, body, "audio.music", "music_v1", {"audio_second": -(-longest // 1000)})


def _sections(plan: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    for name in ("sections", "chunks"):
        if plan.get(name):
            return fields.objects(plan, name)
    return []


def parse_transcript(raw: bytes) -> Call:
    form, body = media.form_of(
        raw, _TRANSCRIPT, (), ("webhook", "use_multi_channel"), files=("file",), names=references.SOUND
    )
    refuse_others(body)
    if body.get("webhook"):
        raise invalid_request("A transcript comes with the answer here; leave out `webhook`.", "webhook")
    channels = _MOST_CHANNELS if body.get("use_multi_channel") not in (None, False) else 1
    sent = [part.data for part in form.parts if part.name == "file"]
    return of_sound(raw, form, body, "audio.transcriptions", "scribe_v1", sent, channels)


def parse_voice(raw: bytes) -> Call:
    """Another voice for a recording."""
    form, body = media.form_of(raw, _VOICE, (), (), files=("audio",), names=references.SOUND)
    sent = [part.data for part in form.parts if part.name == "audio"]
    return of_sound(raw, form, body, "audio.voice", "eleven_english_sts_v2", sent)


def parse_isolation(raw: bytes) -> Call:
    form, body = media.form_of(raw, _VOICE, (), (), files=("audio",), names=references.SOUND)
    sent = [part.data for part in form.parts if part.name == "audio"]
    return of_sound(raw, form, body, "audio.isolation", "audio-isolation", sent, named=False)


def of_sound(
    raw: bytes, form: Any, body: dict[str, Any], operation: str, model: str, sent: list[bytes], channels: int = 1,
    *, named: bool = True,
) -> Call:  # fmt: skip
    if len(sent) > 1:
        raise invalid_request("There must be exactly one recording.", "file")
    quantities = {"audio_second": channels * media.most_seconds(sent[0])} if sent else {}
    call = _call(raw, body, operation, model, quantities, named=named)
    files = sum(len(part.data) for part in form.parts if part.filename is not None or part.data in sent)
    why = "" if sent else "the length of the recording at its URL is not known"
    return call._replace(form=form, opaque_bytes=files, unbounded=why)


def _call(
    raw: bytes, body: dict[str, Any], operation: str, model: str, quantities: dict[str, int], *, named: bool = True
) -> Call:
    if named:
        body.setdefault("model_id", model)
        model = fields.model_name({"model": body["model_id"]})
    return Call(
        dialect="elevenlabs.speech", operation=operation, model=model, body=body, stream=False, size_bytes=len(raw),
        output_caps=(0,), least_output_tokens=fields.MAX_TOKENS, quantities=quantities,
    )  # fmt: skip


def _json(raw: bytes, names: frozenset[str]) -> dict[str, Any]:
    body = fields.parse_object(raw)
    refuse_others(body)
    for name in [name for name, value in body.items() if name not in names and value is not None]:
        raise invalid_request(f"The field {name[:40]!r} is not known here.", name[:40])
    return body


def refuse_others(body: Mapping[str, Any]) -> None:
    for name in _OF_THE_ACCOUNT:
        if body.get(name):
            raise stored_not_found(name)


def _text(body: Mapping[str, Any], name: str) -> str:
    value = fields.text(body, name)
    if value is None:
        raise invalid_request(f"`{name}` is missing.", name)
    return value


def _number(body: Mapping[str, Any], name: str, most: int) -> Quantity | None:
    value = body.get(name)
    if value is None:
        return None
    quantity = number(value) if isinstance(value, int | float) else None
    if quantity is None or not 0 < quantity <= most:
        raise invalid_request(f"`{name}` must be a number above 0, of {most} at most.", name)
    return quantity


def bounded(call: Call, units: frozenset[str]) -> Call:
    """In one of the units that its model is priced in, the one in which its answer will be read."""
    quantities = dict(call.quantities)
    if "credit" in units and "character" in quantities:
        factor = Decimal("0.5") if _HALF.search(call.model) else 1
        return call._replace(
            units=units, quantities={"credit": ceil(quantities["character"] * factor * _FACTOR_OF_VOICES)}
        )
    priced_units = [unit for unit in ("character", "request", "audio_second") if unit in units and unit in quantities]
    if priced_units:
        return call._replace(units=units, quantities={priced_units[0]: quantities[priced_units[0]]})
    if units == {"credit"}:
        why = f"nobody knows how many credits {call.model!r} takes: give it a price by the call or the second of sound"
        return call._replace(units=units, unbounded=call.unbounded or why)
    return call._replace(units=units)


# What it came to


def request_facts(call: Call) -> Mapping[str, Any]:
    exact = {"request": 1}
    if call.operation == "audio.speech":
        exact["character"] = _characters(call.body)
    elif call.operation in ("audio.effect", "audio.music") and _says_length(call.body):
        exact["audio_second"] = call.quantities.get("audio_second", 0)
    return {"units": sorted(call.units), "things": exact, "operation": call.operation}


def _says_length(body: Mapping[str, Any]) -> bool:
    return any(body.get(name) is not None for name in ("duration_seconds", "music_length_ms", "composition_plan"))


def read_end(job: Job, answer: Answer) -> Ended | None:
    """An answer that came is charged, whatever its client reads of it."""
    if answer.status != 200:
        return None
    taken, units = number(answer.headers.get("character-cost")), job.asked.get("units", ())
    if taken is not None and taken >= 0 and "credit" in units:
        return Ended("ok", Reading(usage={"credit": taken} if taken else {}, source="provider"))
    quantities: dict[str, Quantity] = dict(job.asked.get("things", {}))
    seconds = number(answer.body.get("audio_duration_secs"))
    if seconds is not None and seconds > 0:
        quantities["audio_second"] = seconds
    for unit in ("character", "request", "audio_second"):
        if unit in units and unit in quantities:
            return Ended("ok", Reading(usage={unit: quantities[unit]} if quantities[unit] else {}, source="provider"))
    return Ended("ok", None)


# Tables

Recording = Literal["", "sent", "made"]


def _endpoint(
    target: str,
    operation: str,
    parse: Callable[[bytes], Call],
    passes: bool,
    recording: Recording,
    api: JobApi,
    groups: Mapping[str, str],
) -> JobEndpoint:
    return JobEndpoint(
        ELEVENLABS, operation, target.format(**groups), parse, openai.cap_nothing, encode=encode, query_names=_QUERIES,
        api=api, at_once=True, passes=passes, recording=recording,
    )  # fmt: skip


def encode(call: Call, model: str) -> Outgoing:
    named = "model_id" in call.body
    if call.form is None:
        return json_body({**call.body, "model_id": model} if named else call.body)
    parts = tuple(part for part in call.form.parts if part.name != "model_id")
    if named:
        parts = (*parts, multipart.Part("model_id", model.encode()))
    return media.encode_form(call._replace(form=call.form._replace(parts=parts)), model)


_PREFIX = r"/elevenlabs"
_VOICE_ID = r"(?P<voice>[A-Za-z0-9]{1,64})"


def _create(
    path: str, operation: str, parse: Callable[[bytes], Call], *, passes: bool = True, recording: Recording = ""
) -> JobRoute:
    pattern = re.escape(path).replace(r"\{voice\}", _VOICE_ID)
    return JobRoute(
        "POST", _PREFIX + pattern + r"\Z", "create",
        endpoint=partial(_endpoint, path, operation, parse, passes, recording),
    )  # fmt: skip


def _creations() -> Iterable[JobRoute]:
    for ending in ("", "/stream", "/with-timestamps", "/stream/with-timestamps"):
        yield _create("/v1/text-to-speech/{voice}" + ending, "audio.speech", parse_speech)
        yield _create("/v1/text-to-dialogue" + ending, "audio.speech", parse_dialogue)
    yield _create("/v1/sound-generation", "audio.effect", parse_effect)
    yield _create("/v1/music", "audio.music", parse_music, passes=False, recording="made")
    for ending in ("/stream", "/detailed", "/detailed/stream"):
        yield _create("/v1/music" + ending, "audio.music", parse_music)
    yield _create("/v1/speech-to-text", "audio.transcriptions", parse_transcript, passes=False, recording="sent")
    for ending in ("", "/stream"):
        yield _create("/v1/voice-changer/{voice}" + ending, "audio.voice", parse_voice, recording="sent")
        yield _create("/v1/speech-to-speech/{voice}" + ending, "audio.voice", parse_voice, recording="sent")
        yield _create("/v1/audio-isolation" + ending, "audio.isolation", parse_isolation, recording="sent")


def _opens() -> Iterable[JobRoute]:
    for path in ("/v1/models", "/v1/voices", "/v2/voices", "/v1/shared-voices"):
        names = frozenset({"show_legacy", "search", "page_size", "next_page_token", "sort", "sort_direction", "voice_type",
                           "category", "page", "language", "gender", "age", "accent", "locale", "featured"})  # fmt: skip
        yield JobRoute("GET", _PREFIX + path + r"\Z", "open", path, queries=names)
    yield JobRoute("GET", rf"{_PREFIX}/v1/voices/{_VOICE_ID}\Z", "open", "/v1/voices/{voice}")


SOUND = JobApi(
    name="elevenlabs.sound",
    family=ELEVENLABS,
    operation="audio",
    routes=(
        *_creations(),
        *_opens(),
        JobRoute(
            "GET", _PREFIX + r"/v1/(?:user(?:/subscription)?|usage/[a-z-]{1,60})\Z", "refused",
            why="It tells who the account is and what it pays, and is of no team; ask /v1/key what is left of your budgets.",
        ),
        *[
            JobRoute(
                method, _PREFIX + path + r"\Z", "refused",
                why="A client with such a token or address goes to the vendor past this proxy; call through it instead.",
            )
            for method, path in (
                ("POST", r"/v1/single-use-token/[A-Za-z0-9_-]{1,60}"),
                ("GET", r"/v1/convai/conversation/(?:get[-_]signed[-_]url|token)"),
            )
        ],
    ),
    poll=lambda job: "",
    read_end=read_end,
    job_id=lambda body: None,
    request_facts=request_facts,
    providers=frozenset({"elevenlabs", "eleven-labs"}),
    bounded=bounded,
)  # fmt: skip
