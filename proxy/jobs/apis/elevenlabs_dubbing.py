"""ElevenLabs' dubbing: a job, billed by the second and language when it is dubbed. Shapes: elevenlabs SDK 2.78.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pricing.usage import Reading
from proxy.dialects import fields, media, openai, references
from proxy.dialects.vendors import ELEVENLABS
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute, text_id
from proxy.jobs.apis.elevenlabs import bounded, encode, of_sound, refuse_others, request_facts
from proxy.jobs.job import Job
from proxy.meters.reading_builder import number
from proxy.types import Call

_DUB = frozenset({"file", "source_url", "start_time", "end_time", "target_lang", "watermark", "csv_file",
                  "foreground_audio_file", "background_audio_file"})  # fmt: skip
_PAGES = frozenset({"page_size", "cursor"})
_DUB_ID = r"(?P<id>[A-Za-z0-9_-]{1,200})"
_LANGUAGE = r"(?P<language>[A-Za-z0-9-]{1,20})"


def parse(raw: bytes) -> Call:
    """A dubbing: its length is the recording's, or what was cut out of it."""
    form, body = media.form_of(
        raw, _DUB, ("start_time", "end_time"), ("watermark",), files=tuple(_DUB), names=references.SOUND
    )
    refuse_others(body)
    sent = [part.data for part in form.parts if part.name == "file"]
    start, end = (fields.integer(body, name, 0, 86_400) for name in ("start_time", "end_time"))
    call = of_sound(raw, form, body, "audio.dubbing", "dubbing", sent, named=False)
    if end is not None:
        length = max(end - (start or 0), 1)
        sent_length = call.quantities.get("audio_second", length)
        call = call._replace(quantities={"audio_second": min(sent_length, length)}, unbounded="")
    return call


def read_end(job: Job, answer: Answer) -> Ended | None:
    status = answer.body.get("status")
    if status == "failed":
        return Ended("upstream_error", Reading(source="provider"))
    if status != "dubbed":
        return None
    about = answer.body.get("media_metadata")
    made = number(about.get("duration")) if isinstance(about, dict) else None
    length = made if made is not None and made > 0 else number(job.asked.get("expected"))
    languages = answer.body.get("target_languages")
    count = len(languages) if isinstance(languages, list) and languages else 1
    return Ended("ok", None if length is None else Reading(usage={"audio_second": length * count}, source="provider"))


def creation_facts(body: Mapping[str, Any]) -> Mapping[str, Any]:
    expected = number(body.get("expected_duration_sec"))
    return {} if expected is None else {"expected": str(expected)}


def withdrawn(job: Job) -> Ended:
    """Nothing says that what is deleted while it is made is given back: it costs the length that it was expected to have."""
    length = number(job.asked.get("expected"))
    return Ended("upstream_error", None if not length else Reading(usage={"audio_second": length}, source="estimated"))


def _endpoint(api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    return JobEndpoint(
        ELEVENLABS, "audio.dubbing", "/v1/dubbing", parse, openai.cap_nothing, encode=encode, api=api
    )  # fmt: skip


API = JobApi(
    name="elevenlabs.dubbing",
    family=ELEVENLABS,
    operation="audio.dubbing",
    routes=(
        JobRoute("POST", r"/elevenlabs/v1/dubbing\Z", "create", endpoint=_endpoint),
        JobRoute("GET", r"/elevenlabs/v1/dubbing\Z", "list", "/v1/dubbing", queries=_PAGES),
        JobRoute("GET", rf"/elevenlabs/v1/dubbing/{_DUB_ID}\Z", "read", "/v1/dubbing/{id}"),
        JobRoute("DELETE", rf"/elevenlabs/v1/dubbing/{_DUB_ID}\Z", "forget", "/v1/dubbing/{id}"),
        JobRoute(
            "GET", rf"/elevenlabs/v1/dubbing/{_DUB_ID}/audio/{_LANGUAGE}\Z", "content",
            "/v1/dubbing/{id}/audio/{language}",
        ),
    ),
    poll=lambda job: f"/v1/dubbing/{job.provider_id}",
    read_end=read_end,
    job_id=lambda body: text_id(body.get("dubbing_id", body.get("id"))),
    request_facts=request_facts,
    creation_facts=creation_facts,
    withdrawn=withdrawn,
    providers=frozenset({"elevenlabs", "eleven-labs"}),
    list_of="dubs",
    id_of="dubbing_id",
    next_page=lambda page, items: {"cursor": page["next_cursor"]} if page.get("has_more") and page.get("next_cursor") else {},
    bounded=bounded,
)  # fmt: skip
