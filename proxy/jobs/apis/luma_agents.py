"""Luma's newer API (agents.lumalabs.ai, with the package `luma-agents`): images of uni-1, videos of ray-3.2. It follows Dream
Machine, which ended on 2026-10-24.

Billed by the image, and 0.003 USD for each picture that is sent along; by the second of video, of which the book has no price
(docs.agents.lumalabs.ai/guides/pricing, read 2026-11-29; types: luma-agents 0.5.0). A generation that another refers to has to
be the team's own; files belong to the account, and their bytes go past us to a bucket, so that they are nobody's here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pricing.usage import Quantity, Reading
from proxy.dialects import fields, openai
from proxy.dialects.outgoing import Outgoing, json_body
from proxy.dialects.vendors import LUMA
from proxy.errors import invalid_request, stored_not_found
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute
from proxy.jobs.job import Job
from proxy.types import Call

NAME = "luma.agents"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}\Z")
_BOUNDED = frozenset({"model", "type", "video", "image_ref", "source", "layering"})
_IMAGES, _VIDEOS = ("image", "image_edit"), ("video", "video_edit", "video_reframe")
# What is made otherwise than from a text goes by a model's name with that behind it, as it has a price of its own.
_KINDS = {"video_edit": "edit", "video_reframe": "reframe", "layering": "layering"}
_MODELS = {"video": "ray-3.2", "video_edit": "ray-3.2", "video_reframe": "ray-3.2"}
_DEFAULT_MODEL, _DEFAULT_LENGTH, _DEFAULT_RESOLUTION = "uni-1", "10s", "1080p"  # the most, where nobody says
# "The source video must be 18 seconds or shorter; output duration matches the source" (SDK, `VideoOptionsParam`).
_MOST_SOURCE_S = 18
_MOST_REFERENCES = 9


def parse(raw: bytes) -> Call:
    body = fields.parse_object(raw)
    fields.refuse_names(body, _BOUNDED)
    kind = fields.text(body, "type") or "image"
    if kind not in (*_IMAGES, *_VIDEOS, "layering"):
        raise invalid_request(f"`type` must be one of {', '.join((*_IMAGES, *_VIDEOS, 'layering'))}.", "type")
    body.setdefault("model", _MODELS.get(kind, _DEFAULT_MODEL))
    model, unbounded = fields.model_name(body), ""
    quantities: dict[str, int] = {}
    conditions: dict[str, str] = {}
    if kind in _VIDEOS:
        quantities, conditions = _film(body, kind)
    elif kind == "layering":
        unbounded = "nobody knows how many layers it makes"
    else:
        sent = len(fields.optional_objects(body, "image_ref")) + (body.get("source") is not None)
        if sent > _MOST_REFERENCES:
            raise invalid_request(f"At most {_MOST_REFERENCES} pictures can be sent along.", "image_ref")
        quantities, conditions = {"image": 1}, {"mode": f"references-{sent}"}
    return Call(
        dialect="luma.generation", operation="video" if kind in _VIDEOS else "image",
        model=f"{model}/{_KINDS[kind]}" if kind in _KINDS else model, body=body, stream=False, size_bytes=len(raw),
        output_caps=(0,), least_output_tokens=fields.MAX_TOKENS, quantities=quantities, fixed=conditions, unbounded=unbounded,
        held=tuple(f"{NAME} {one}" for one in _mentioned(body)),
    )  # fmt: skip


def _film(body: dict[str, Any], kind: str) -> tuple[dict[str, int], dict[str, str]]:
    options = fields.mapping(body, "video") or {}
    body["video"] = options
    length, resolution = fields.text(options, "duration"), fields.text(options, "resolution")
    if kind == "video":
        options["duration"] = length = length or _DEFAULT_LENGTH
    if length is not None and not re.fullmatch(r"[1-9][0-9]?s", length, re.ASCII):
        raise invalid_request("`duration` must be a number of seconds, as in `5s`.", "duration")
    options["resolution"] = resolution = resolution or _DEFAULT_RESOLUTION
    seconds = int(length[:-1]) if kind == "video" and length is not None else _MOST_SOURCE_S
    conditions = {"resolution": resolution.lower(), "mode": "hdr" if options.get("hdr") else "sdr"}
    return {"video_second": seconds}, conditions


def _mentioned(body: Any) -> Iterable[str]:
    """Generations that a request refers to. Raises `Refused` (404) for a file."""
    stack = [body]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack += value.values()
            if value.get("file_id"):
                raise stored_not_found("file_id")
            generation_id = value.get("generation_id")
            if generation_id is not None and (not isinstance(generation_id, str) or not _ID.match(generation_id)):
                raise invalid_request("`generation_id` is not an id.", "generation_id")
            if generation_id is not None:
                yield generation_id
        elif isinstance(value, list):
            stack += value


def bounded(call: Call, units: frozenset[str]) -> Call:
    quantities = {unit: count for unit, count in {**call.quantities, "request": 1}.items() if unit in units}
    why = "" if units == {"request"} else call.unbounded
    if units and not quantities:
        why = f"its model is priced by the {min(units)}, and makes something else"
    return call._replace(units=units, quantities=quantities, unbounded=why)


def request_facts(call: Call) -> Mapping[str, Any]:
    return {"units": sorted(call.units), "things": dict(call.quantities), "conditions": dict(call.fixed)}


def read_end(job: Job, answer: Answer) -> Ended | None:
    """Failed ones are free, as Dream Machine's were; what was made is counted, and a film is as long as it was ordered."""
    state = answer.body.get("state")
    if state == "failed":
        return Ended("upstream_error", Reading(source="provider"))
    if state != "completed":
        return None
    usage: dict[str, Quantity] = dict(job.asked.get("things", {}))
    made = answer.body.get("output")
    if isinstance(made, list) and made and "image" in job.asked.get("units", ()):
        usage["image"] = len(made)
    if not usage:
        return Ended("ok", None)
    return Ended("ok", Reading(usage=usage, source="provider", conditions=job.asked.get("conditions", {})))


def withdrawn(job: Job) -> Ended:
    """Nothing says that what is gone was given back."""
    usage = job.asked.get("things", {})
    reading = Reading(usage=usage, source="estimated", conditions=job.asked.get("conditions", {})) if usage else None
    return Ended("upstream_error", reading)


def _endpoint(api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    return JobEndpoint(LUMA, "image", "/v1/generations", parse, openai.cap_nothing, encode=_encode, api=api)


def _encode(call: Call, model: str) -> Outgoing:
    return json_body({**call.body, "model": model.partition("/")[0]})


API = JobApi(
    name=NAME,
    family=LUMA,
    operation="image",
    routes=(
        JobRoute("POST", r"/luma/v1/generations\Z", "create", endpoint=_endpoint),
        JobRoute(
            "GET", r"/luma/v1/generations/(?P<id>[A-Za-z0-9][A-Za-z0-9_-]{0,199})\Z", "read",
            "/v1/generations/{id}",
        ),
        *[
            JobRoute(
                method, r"/luma/v1/files(?:/.{1,300})?\Z", "refused",
                why="What is uploaded belongs to the account, and goes past this proxy; send `url` or `data` instead.",
            )
            for method in ("GET", "POST", "DELETE")
        ],
    ),
    poll=lambda job: f"/v1/generations/{job.provider_id}",
    read_end=read_end,
    request_facts=request_facts,
    providers=frozenset({"luma", "lumaai", "luma-ai"}),
    withdrawn=withdrawn,
    bounded=bounded,
)  # fmt: skip
