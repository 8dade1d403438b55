"""Luma's Dream Machine: generations of video and images, billed when they are completed; failed ones are free.

Nothing in an answer says what it costs: seconds by model and resolution, or images. Types: lumaai SDK 1.21.0 (`Generation`,
`GenerationCreateParams`, `ImageCreateParams`, …). Paths stand with and without `/dream-machine/v1`, which the SDK counts among
its base URL. A generation that others refer to (keyframes, upscale, audio) has to be the team's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from pricing.usage import Reading
from proxy.dialects import fields, openai
from proxy.dialects.outgoing import Outgoing, json_body
from proxy.dialects.vendors import LUMA
from proxy.errors import invalid_request
from proxy.jobs import media_usage
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute, seconds
from proxy.jobs.job import Job
from proxy.types import Call

NAME = "luma.generations"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}\Z")
_BOUNDED = frozenset({"model", "duration", "resolution", "keyframes", "generation_type"})
_DEFAULTS = {"video": "ray-2", "image": "photon-1"}
# docs.lumalabs.ai/docs/video-generation: without them it makes 5 seconds at 720p [memory of the docs, 2026-11].
_DURATION, _RESOLUTION = "5s", "720p"
# Of models of other vendors: here they would make a request seem smaller than what comes of it.
_OTHERS = frozenset(media_usage.SIZES) - {"aspect_ratio"}
_RESOLUTIONS = ("540p", "720p", "1080p", "4k")


def parse(kind: str, root: str, source_id: str | None, raw: bytes) -> Call:
    """kind: what is made; all but `video` and `image` go by a model's name with that kind behind it."""
    body = fields.parse_object(raw) if raw.strip() else {}
    fields.refuse_names(body, _BOUNDED)
    for name in sorted(_OTHERS - ({"duration"} if kind == "video" else frozenset())):
        if body.get(name) is not None:
            raise invalid_request(f"`{name}` is not a field of this request.", name)
    if kind in _DEFAULTS and body.get("model") is None:
        body["model"] = _DEFAULTS[kind]
    model = fields.model_name(body) if kind not in ("upscale", "audio") else ""
    if kind == "video":
        for name, default in (("duration", _DURATION), ("resolution", _RESOLUTION)):
            if fields.text(body, name) is None:
                body[name] = default
        if not re.fullmatch(r"[1-9][0-9]?s", body["duration"], re.ASCII):
            raise invalid_request("`duration` must be a number of seconds, as in `5s`.", "duration")
        if body["resolution"].lower() not in _RESOLUTIONS:
            raise invalid_request(f"`resolution` must be one of {', '.join(_RESOLUTIONS)}.", "resolution")
    held = [source_id] if source_id is not None else []
    held += _mentioned(body)
    return Call(
        dialect="luma.generation", operation="image" if kind in ("image", "reframe_image") else "video",
        model=model if kind in _DEFAULTS else f"{model}/{kind}".lstrip("/"), body=body, stream=False, size_bytes=len(raw),
        output_caps=(0,), least_output_tokens=fields.MAX_TOKENS, held=tuple(f"{NAME} {one}" for one in held),
    )  # fmt: skip


def _mentioned(body: Mapping[str, Any]) -> Iterable[str]:
    """Generations that a request refers to."""
    frames = fields.mapping(body, "keyframes") or {}
    for frame in frames.values():
        if not isinstance(frame, dict) or frame.get("type") != "generation":
            continue
        source_id = frame.get("id")
        if not isinstance(source_id, str) or not _ID.match(source_id):
            raise invalid_request("`keyframes` names a generation by something that is not an id.", "keyframes")
        yield source_id


def bounded(call: Call, units: frozenset[str]) -> Call:
    return media_usage.with_max_usage(call, call.body, units, gpu_seconds=0)


def request_facts(call: Call) -> Mapping[str, Any]:
    return {"units": sorted(call.units), "fields": media_usage.price_fields(call.body)}


def read_end(job: Job, answer: Answer) -> Ended | None:
    body = answer.body
    state = body.get("state")
    if state == "failed":
        return Ended("upstream_error", Reading(source="provider"))
    if state != "completed":
        return None
    ordered = {**job.asked.get("fields", {}), **media_usage.price_fields(_ordered(body))}
    reading = media_usage.reading_of(
        job.asked.get("units", ()), ordered, {"image": 1}, conditions=media_usage.conditions_of(ordered)
    )
    return Ended("ok", reading, seconds(body.get("completed_at")))


def withdrawn(job: Job) -> Ended:
    """The money is taken when a generation is asked for, and given back where it fails ("We pre-charge your account … If the
    generation fails, we fully refund the amount", docs.lumalabs.ai/docs/faq, read 2026-11-29). Nothing says that what is
    deleted meanwhile is given back."""
    ordered = job.asked.get("fields", {})
    reading = media_usage.reading_of(
        job.asked.get("units", ()), ordered, {"image": 1}, conditions=media_usage.conditions_of(ordered)
    )
    return Ended("upstream_error", None if reading is None else reading._replace(source="estimated"))


def _ordered(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request as the provider says that it understood it."""
    return {name: value for name, value in _mapping(body.get("request")).items() if value is not None}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def next_page(page: Mapping[str, Any], items: Any) -> Mapping[str, Any]:
    offset = page.get("offset")
    if not page.get("has_more") or not items or type(offset) is not int:
        return {}
    return {"offset": offset + len(items)}


def _endpoint(kind: str, path: str, api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    root, source_id = groups.get("root") or "", groups.get("id")
    return JobEndpoint(
        LUMA, "image" if "image" in kind else "video", root + path.format(id=source_id), partial(parse, kind, root, source_id),
        openai.cap_nothing, encode=_encode, api=api, facts={"root": root},
    )  # fmt: skip


def _encode(call: Call, model: str) -> Outgoing:
    body = call.body
    if isinstance(body.get("model"), str):  # its own name at the provider, without what was made of it here
        body = {**body, "model": model.partition("/")[0]}
    return json_body(body)


_ROOT = r"/luma(?P<root>/dream-machine/v1)?"
_ITEM = r"/generations/(?P<id>[A-Za-z0-9][A-Za-z0-9_-]{0,199})"


def _create(path: str, kind: str, pattern: str = "") -> JobRoute:
    return JobRoute(
        "POST",
        _ROOT + (pattern or re.escape(path)) + r"\Z",
        "create",
        endpoint=partial(_endpoint, kind, path),
    )


API = JobApi(
    name=NAME,
    family=LUMA,
    operation="video",
    routes=(
        _create("/generations", "video"),
        _create("/generations/video", "video"),
        _create("/generations/image", "image"),
        _create("/generations/video/modify", "modify"),
        _create("/generations/video/reframe", "reframe"),
        _create("/generations/image/reframe", "reframe_image"),
        JobRoute("GET", _ROOT + r"/generations/concepts/list\Z", "open", "{root}/generations/concepts/list"),
        JobRoute("GET", _ROOT + r"/ping\Z", "open", "{root}/ping"),
        JobRoute(
            "GET", _ROOT + r"/credits\Z", "refused",
            why="The balance is the account's, and no team's; ask /v1/key what is left of your budgets.",
        ),
        JobRoute(
            "GET", _ROOT + r"/generations\Z", "list", "{root}/generations", queries=frozenset({"limit", "offset"})
        ),
        _create("/generations/{id}/upscale", "upscale", _ITEM + "/upscale"),
        _create("/generations/{id}/audio", "audio", _ITEM + "/audio"),
        JobRoute("GET", _ROOT + _ITEM + r"\Z", "read", "{root}/generations/{id}"),
        JobRoute("DELETE", _ROOT + _ITEM + r"\Z", "forget", "{root}/generations/{id}"),
    ),
    poll=lambda job: f"{job.asked.get('root', '')}/generations/{job.provider_id}",
    read_end=read_end,
    request_facts=request_facts,
    providers=frozenset({"luma", "lumaai", "luma-ai"}),
    list_of="generations",
    next_page=next_page,
    by_offset=True,
    withdrawn=withdrawn,
    bounded=bounded,
)  # fmt: skip
