"""Gemini's long-running work: video (`:predictLongRunning`) and batches (`:batchGenerateContent`).

Video says nothing of its price: the seconds of what was made, by resolution; what was filtered is not billed. A batch has no
usage of its own: each response in it has (google-genai 3.4; ai.google.dev/gemini-api/docs/batch-api).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from pricing.usage import Reading
from proxy.dialects import GEMINI, fields, openai
from proxy.dialects.outgoing import Outgoing, json_body
from proxy.errors import invalid_request
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute, Results, read_by, seconds
from proxy.jobs.apis.gemini_files import FILE_NAME, file_ids, next_page
from proxy.jobs.job import Job
from proxy.types import Call

_NAME = re.compile(r"(?:models/[A-Za-z0-9._-]{1,200}/)?operations/[A-Za-z0-9_-]{1,200}\Z")
_BATCH = re.compile(r"batches/[A-Za-z0-9_-]{1,200}\Z")
_FILE = re.compile(r"/files/([A-Za-z0-9_-]{1,100})(?::download)?(?:\?|\Z)")
_DEFAULT_SECONDS, _MAX_SECONDS, _MAX_VIDEOS = 8, 60, 4
_ASKED = ("durationSeconds", "resolution", "sampleCount", "generateAudio", "aspectRatio")
_STATES = {"SUCCEEDED": "ok", "FAILED": "upstream_error", "CANCELLED": "upstream_error", "EXPIRED": "upstream_error"}


# Video


def parse_video(model: str, raw: bytes) -> Call:
    body = fields.parse_object(raw)
    fields.refuse_names(body, frozenset({"instances", "parameters", "model"}))
    if len(fields.objects(body, "instances")) != 1:
        raise invalid_request("`instances` must have one item; ask for more videos by `sampleCount`.", "instances")
    parameters = fields.mapping(body, "parameters") or {}
    for name in [name for name in parameters if "_" in name]:  # proto JSON takes both spellings
        head, *rest = name.split("_")
        parameters[head + "".join(part.capitalize() for part in rest)] = parameters.pop(name)
    if isinstance(length := parameters.get("durationSeconds"), str) and length.isascii() and length.isdigit():
        parameters["durationSeconds"] = int(length)
    length = fields.integer(parameters, "durationSeconds", 1, _MAX_SECONDS) or _DEFAULT_SECONDS
    parameters["durationSeconds"] = length
    count = fields.integer(parameters, "sampleCount", 1, _MAX_VIDEOS) or 1
    parameters["sampleCount"] = count
    if any(isinstance(parameters.get(name), str) and parameters[name] for name in ("storageUri", "pubsubTopic")):
        raise invalid_request(
            "Leave out `storageUri` and `pubsubTopic`: a video goes to the caller only.", "parameters"
        )
    body["parameters"] = parameters
    resolution = fields.text(parameters, "resolution")
    return Call(
        dialect="gemini.video", operation="video", model=model, body=body, stream=False, size_bytes=len(raw),
        output_caps=(0,), least_output_tokens=fields.MAX_TOKENS, quantities={"video_second": length * count},
        fixed={"resolution": resolution.lower()} if resolution else {},
    )  # fmt: skip


def request_facts_of_video(call: Call) -> Mapping[str, Any]:
    parameters = call.body["parameters"]
    return {"parameters": {name: parameters[name] for name in _ASKED if name in parameters}}


def read_video(job: Job, answer: Answer) -> Ended | None:
    body = answer.body
    if body.get("done") is not True:
        return None
    if isinstance(body.get("error"), dict):
        return Ended("upstream_error", Reading(source="provider"))
    return Ended(
        "ok", read_by("gemini.video", job, answer), leaves=list(dict.fromkeys(_files_in(body.get("response"))))
    )


def _files_in(value: Any) -> Iterable[str]:
    """The ids of files that an answer names by their URIs, as downloads and as everything else names them."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            stack += part.values()
        elif isinstance(part, list):
            stack += part
        elif isinstance(part, str) and (match := _FILE.search(part)):
            yield from file_ids(match[1])


def _named(pattern: re.Pattern[str], body: Mapping[str, Any]) -> str | None:
    name = body.get("name", body.get("id"))
    return name if isinstance(name, str) and pattern.match(name) else None


# Batches


def parse_batch(model: str, raw: bytes) -> Call:
    body = fields.parse_object(raw)
    for place in (body, _either(body, "batch", "batch")):
        place.pop("model", None)  # its path says which
    name = file_of(body)
    for request in _requests(body) if name is None else ():
        if fields.mapping(request, "request") is None:
            raise invalid_request("`request` of one of the batch's requests is missing.", "batch")
    return Call(
        dialect="gemini.batch", operation="batch", model=model, body=body, stream=False, size_bytes=len(raw),
        output_caps=(0,), least_output_tokens=fields.MAX_TOKENS, held=() if name is None else (name,),
    )  # fmt: skip


def _requests(body: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    return fields.objects(fields.mapping(_input_of(body), "requests") or {}, "requests")


def _input_of(body: Mapping[str, Any]) -> dict[str, Any]:
    batch = _either(body, "batch", "batch")
    return _either(batch, "inputConfig", "input_config")


def _either(body: Mapping[str, Any], name: str, snake: str) -> dict[str, Any]:
    """A field that may be spelled in two ways, and must not be in both."""
    if name != snake and name in body and snake in body:
        raise invalid_request(f"`{name}` and `{snake}` are one field; send only one of them.", name)
    return fields.mapping(body, name) or fields.mapping(body, snake) or {}


def file_of(body: Mapping[str, Any]) -> str | None:
    """The file that has a batch's requests; None where they stand in its body."""
    source = _input_of(body)
    names = [source[name] for name in ("fileName", "file_name") if source.get(name)]
    if not names:
        return None
    if len(names) > 1 or source.get("requests"):
        raise invalid_request("Send a batch's requests either in one file or in its body.", "batch")
    if not isinstance(names[0], str) or not FILE_NAME.match(names[0]):
        raise invalid_request("`fileName` must be the name of a file: files/…", "batch")
    return names[0]


def lines(call: Call) -> Iterable[tuple[str, dict[str, Any]]]:
    for request in _requests(call.body):
        yield f"/v1beta/models/{call.model}:generateContent", request["request"]


def read_batch(job: Job, answer: Answer) -> Ended | None:
    body = answer.body
    metadata = body.get("metadata")
    about: Mapping[str, Any] = metadata if isinstance(metadata, dict) else body
    state = str(about.get("state", "")).rpartition("_")[2]
    outcome = _STATES.get(state)
    if outcome is None:
        return None
    answers = [
        one for source in (body.get("response"), about.get("output"), about.get("dest")) for one in _inlined(source)
    ]
    readings = [
        read_by("gemini.batch", job, Answer(200, one)) for one in answers if isinstance(one.get("response"), dict)
    ]
    at_s = seconds(about.get("endTime"))
    if not answers and (name := _file_in(body.get("response"), about.get("output"), about.get("dest"))) is not None:
        path = f"/v1beta/{name}:download?alt=media"
        return Ended(
            outcome,
            Reading(),
            at_s,
            (Results(path, read_line, _succeeded(about)),),
            list(file_ids(name.removeprefix("files/"))),
        )
    if not readings:
        return Ended(outcome, Reading(source="none" if outcome == "ok" else "provider"), at_s)
    return Ended(outcome, Reading(), at_s, lines=readings)


def _file_in(*sources: Any) -> str | None:
    """The file that has a batch's answers."""
    for source in sources:
        value = source if isinstance(source, dict) else {}
        name = value.get("responsesFile") or value.get("fileName")
        if isinstance(name, str) and FILE_NAME.match(name):
            return name
    return None


def _succeeded(about: Mapping[str, Any]) -> int | None:
    """How many requests have an answer, as its state says; proto JSON writes such numbers as texts."""
    stats = about.get("batchStats")
    succeeded = stats.get("successfulRequestCount") if isinstance(stats, dict) else None
    return (
        int(succeeded)
        if isinstance(succeeded, int | str) and str(succeeded).isascii() and str(succeeded).isdigit()
        else None
    )


def read_line(job: Job, line: Mapping[str, Any]) -> Reading | None:
    """One line of the answers: `{"key", "response"}`, the response alone, or what went wrong."""
    if isinstance(line.get("response"), dict):
        return read_by("gemini.batch", job, Answer(200, line))
    if "error" in line or "candidates" not in line:
        return None
    return read_by("gemini.batch", job, Answer(200, {"response": line}))


def _inlined(source: Any) -> list[dict[str, Any]]:
    """`{"inlinedResponses": {"inlinedResponses": [...]}}`, or the list itself."""
    value = source.get("inlinedResponses") if isinstance(source, dict) else None
    value = value.get("inlinedResponses") if isinstance(value, dict) else value
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


# Tables


def _video_endpoint(api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    model = groups["model"]
    return JobEndpoint(
        GEMINI, "video", "/v1beta/models/{model}:predictLongRunning", partial(parse_video, model), openai.cap_nothing,
        encode=_encode, api=api,
    )  # fmt: skip


def _batch_endpoint(api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    model = groups["model"]
    return JobEndpoint(
        GEMINI, "batch", "/v1beta/models/{model}:batchGenerateContent", partial(parse_batch, model), openai.cap_nothing,
        encode=_encode, api=api, lines=lines,
    )  # fmt: skip


def _encode(call: Call, model: str) -> Outgoing:
    return json_body(call.body)


_MODEL = r"/(?:v1beta|v1)/models/(?P<model>[A-Za-z0-9][A-Za-z0-9._-]{0,199})"
_OPERATION = r"/(?:v1beta|v1)/(?P<id>(?:models/[A-Za-z0-9._-]{1,200}/)?operations/[A-Za-z0-9_-]{1,200})"
_BATCHES = r"/(?:v1beta|v1)/(?P<id>batches/[A-Za-z0-9_-]{1,200})"
_GOOGLE = frozenset({"google"})

VIDEO = JobApi(
    name="gemini.video",
    family=GEMINI,
    operation="video",
    routes=(
        JobRoute("POST", _MODEL + r":predictLongRunning\Z", "create", endpoint=_video_endpoint),
        JobRoute("GET", _OPERATION + r"\Z", "read", "/v1beta/{id}"),
    ),
    poll=lambda job: f"/v1beta/{job.provider_id}",
    read_end=read_video,
    job_id=partial(_named, _NAME),
    request_facts=request_facts_of_video,
    providers=_GOOGLE,
)
BATCHES = JobApi(
    name="gemini.batches",
    family=GEMINI,
    operation="batch",
    routes=(
        JobRoute("POST", _MODEL + r":batchGenerateContent\Z", "create", endpoint=_batch_endpoint),
        JobRoute(
            "GET",
            r"/(?:v1beta|v1)/batches\Z",
            "list",
            "/v1beta/batches",
            queries=frozenset({"pageSize", "pageToken"}),
        ),
        JobRoute("GET", _BATCHES + r"\Z", "read", "/v1beta/{id}"),
        JobRoute("POST", _BATCHES + r":cancel\Z", "read", "/v1beta/{id}:cancel"),
        JobRoute("DELETE", _BATCHES + r"\Z", "forget", "/v1beta/{id}"),
    ),
    poll=lambda job: f"/v1beta/{job.provider_id}",
    read_end=read_batch,
    job_id=partial(_named, _BATCH),
    providers=_GOOGLE,
    list_of="operations",
    id_of="name",
    next_page=next_page,
    cursor="nextPageToken",
    of_file=lambda call: call.held[0] if call.held else None,
    of_shapes=True,
    files_at="/v1beta/",
)
