"""Video in OpenAI's form: `/v1/videos`, as relays offer it. OpenAI's own was shut down on 2026-09-24.

Nothing in an answer says what it costs: seconds by model and size, where it was made; what failed is free (openai SDK 3.54
`types/video.py`, `types/video_create_params.py`: `seconds` 4, 8 or 12, by default 4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from proxy.dialects import OPENAI, fields, media, openai, references, streams
from proxy.errors import invalid_request
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute, read_by, seconds
from proxy.jobs.job import Job
from proxy.types import Call
from proxy.wire import multipart

_BOUNDED = frozenset(
    {"model", "prompt", "seconds", "size", "n", "input_reference", "duration", "resolution", "quality"}
)
_DEFAULT_SECONDS = "4"
_DEFAULT_MODEL = "sora-2"
_MAX_SECONDS = 600
_ASKED = ("size", "quality", "resolution")


def parse(raw: bytes) -> Call:
    """JSON or a form. What the API takes by default is written out, so that it holds at a relay too."""
    form = None
    if raw.startswith(b"--"):
        form, body = media.form_of(raw, _BOUNDED, ("n",), (), files=("input_reference",))
    else:
        body = fields.parse_object(raw)
        references.of(body, references.OPENAI)
    fields.refuse_names(body, _BOUNDED)
    for name, default in (("model", _DEFAULT_MODEL), ("seconds", _DEFAULT_SECONDS)):
        if body.get(name) is None and not (name == "seconds" and body.get("duration") is not None):
            body[name] = default
            form = form and form._replace(parts=(*form.parts, multipart.Part(name, default.encode())))
    count = fields.integer(body, "n", 1, 10) or 1
    length = max(_seconds(body, name) for name in ("seconds", "duration"))
    fixed = {name: value.lower() for name in _ASKED if (value := fields.text(body, name))}
    return Call(
        dialect="openai.video", operation="video", model=fields.model_name(body), body=body, stream=False,
        size_bytes=len(raw), output_caps=(0,), least_output_tokens=fields.MAX_TOKENS,
        quantities={"video_second": count * length}, fixed=fixed, form=form,
        opaque_bytes=0 if form is None else sum(len(part.data) for part in form.parts if part.filename is not None),
    )  # fmt: skip


def _seconds(body: Mapping[str, Any], name: str) -> int:
    """A whole number, as such or as text; 0 where there is none."""
    value = body.get(name)
    if value is None:
        return 0
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,4}", value, re.ASCII):
        value = int(value)
    if type(value) is not int or not 1 <= value <= _MAX_SECONDS:
        raise invalid_request(f"`{name}` must be a whole number of seconds from 1 to {_MAX_SECONDS}.", name)
    return value


def request_facts(call: Call) -> Mapping[str, Any]:
    return {name: call.body[name] for name in ("seconds", "duration", "n", *_ASKED) if name in call.body}


def read_end(job: Job, answer: Answer) -> Ended | None:
    status = answer.body.get("status")
    if status == "failed":
        return Ended("upstream_error", read_by("openai.video", job, answer), seconds(answer.body.get("completed_at")))
    if status != "completed":
        return None
    return Ended("ok", read_by("openai.video", job, answer), seconds(answer.body.get("completed_at")))


def _endpoint(api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    return JobEndpoint(
        OPENAI, "video", "/videos", parse, openai.cap_nothing, encode=_encode, form=streams.MEDIA, api=api
    )  # fmt: skip


def _encode(call: Call, model: str) -> Any:
    return media.encode_form(call, model) if call.form is not None else fields.encode(call, model)


_PATH = r"(?:/openai)?(?:/v1)?/videos"
_ID = r"/(?P<id>[A-Za-z0-9_-]{1,200})"

API = JobApi(
    name="openai.videos",
    family=OPENAI,
    operation="video",
    routes=(
        JobRoute("POST", _PATH + r"\Z", "create", endpoint=_endpoint),
        JobRoute("GET", _PATH + r"\Z", "list", "/videos", queries=frozenset({"limit", "after", "order"})),
        JobRoute("GET", _PATH + _ID + r"\Z", "read", "/videos/{id}"),
        JobRoute(
            "GET",
            _PATH + _ID + r"/content\Z",
            "content",
            "/videos/{id}/content",
            queries=frozenset({"variant"}),
        ),
        JobRoute("DELETE", _PATH + _ID + r"\Z", "forget", "/videos/{id}"),
    ),
    poll=lambda job: f"/videos/{job.provider_id}",
    read_end=read_end,
    request_facts=request_facts,
    changes_later=True,
)
