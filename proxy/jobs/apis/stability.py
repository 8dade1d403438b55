"""Stability's v2beta: images, 3D and sound by the call, answered at once or, for some, as a generation that is asked for.

"Flat rate of … credits per successful generation. You will not be charged for failed generations." A request or an image that
moderation stops is a 403, and failed; `CONTENT_FILTERED` is a "successful generation, however the output violated our content
moderation policy and has been blurred as a result", and charged. (OpenAPI at api.stability.ai, as public clients have it,
read 2026-11-29.) An answer is the image itself, or JSON that holds it: `accept` decides, and is passed on.

Video from images was shut down on 2025-07-24 (stability.ai/api-pricing-update-25); its path stands here for relays that still
have it, without a price in the book. A model's name is its path, but for `sd3`, whose `model` says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from pricing.usage import Reading
from proxy.dialects import fields, media, openai
from proxy.dialects.outgoing import Outgoing
from proxy.dialects.vendors import STABILITY
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute
from proxy.jobs.job import Job
from proxy.types import Call
from proxy.wire import multipart

_FILES = (
    "image",
    "audio",
    "mask",
    "init_image",
    "style_image",
    "subject_image",
    "background_reference",
    "light_reference",
)
_BOUNDED = frozenset({"model", *_FILES})
_DEFAULT_SD3 = "sd3.5-large"
_RESULTS = "/v2beta/results/{id}"
_VIDEO, _VIDEO_RESULTS = "image-to-video", "/v2beta/image-to-video/result/{id}"
_IMAGES = {
    "generate": ("ultra", "core", "sd3"),
    "upscale": ("fast", "conservative", "creative"),
    "edit": (
        "erase", "inpaint", "outpaint", "search-and-replace", "search-and-recolor", "remove-background",
        "replace-background-and-relight",
    ),
    "control": ("sketch", "structure", "style", "style-transfer"),
}  # fmt: skip
# stability.ai/api-pricing-update-25 has a price of the first of each; what stands in no table of theirs has none in the book.
_OTHERS = {
    "3d": ("stable-fast-3d", "stable-point-aware-3d"),
    "audio": ("stable-audio-2/text-to-audio", "stable-audio-2/audio-to-audio", "stable-audio-2/inpaint"),
}
_UNIT = {"image": "image", "video": "request", "3d": "request", "audio": "request"}


def parse(name: str, raw: bytes) -> Call:
    """name: of the service, as its path has it."""
    form, body = media.form_of(raw, _BOUNDED, (), (), files=_FILES)
    if name == "stable-image/generate/sd3":
        body.setdefault("model", _DEFAULT_SD3)
    elif "model" in body and not name.startswith("audio/"):  # whose price is the same whichever makes it
        fields.refuse_names({"model": None}, frozenset())
        name = f"{name}/{fields.model_name(body)}"
    operation = _operation(name)
    files = [part for part in form.parts if part.filename is not None or part.name in _FILES]
    return Call(
        dialect="stability.image", operation=operation,
        model=fields.model_name(body) if name == "stable-image/generate/sd3" else name, body=body, stream=False,
        size_bytes=len(raw), output_caps=(0,), least_output_tokens=fields.MAX_TOKENS, quantities={_UNIT[operation]: 1},
        form=form, opaque_bytes=sum(len(part.data) for part in files),
    )  # fmt: skip


def bounded(call: Call, units: frozenset[str]) -> Call:
    """By the image or by the call, as its price is, or in credits: what its operator says a call takes is one of these."""
    priced_units = [unit for unit in ("image", "request") if unit in units]
    return call._replace(units=units, quantities={priced_units[0]: 1}) if priced_units else call._replace(units=units)


def request_facts(call: Call) -> Mapping[str, Any]:
    return {"things": dict(call.quantities)}


def read_end(job: Job, answer: Answer) -> Ended | None:
    """A 200 is what was made; a 202 says that it is being made."""
    if answer.status != 200 or answer.body.get("status") in ("in-progress", "in_progress"):
        return None
    if isinstance(answer.body.get("errors"), list) and not answer.body.get("image"):
        return Ended("upstream_error", Reading(source="provider"))
    return Ended("ok", Reading(usage=job.asked.get("things", {}), source="provider"))


def gone(job: Job, answer: Answer, now_us: int) -> Ended | None:
    """Moderation has stopped it: it failed."""
    return (
        Ended("upstream_error", Reading(source="provider")) if answer.body.get("name") == "content_moderation" else None
    )


def _operation(name: str) -> str:
    return "video" if name == _VIDEO else next((kind for kind in _OTHERS if name.startswith(f"{kind}/")), "image")


def _endpoint(name: str, target: str, results: str, api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    return JobEndpoint(
        STABILITY, _operation(name), target, partial(parse, name), openai.cap_nothing, encode=_encode,
        api=api, facts={"results": results}, at_once=True,
    )  # fmt: skip


def _encode(call: Call, model: str) -> Outgoing:
    """The form as it came; where its field names the model, that is the one that it was routed to."""
    assert call.form is not None
    parts = call.form.parts
    if call.operation == "audio":
        model = str(call.body.get("model", ""))
    elif "model" in call.body and not any(part.name == "model" for part in parts):
        parts = (*parts, multipart.Part("model", model.encode()))
    return media.encode_form(call._replace(form=call.form._replace(parts=parts)), model)


def _creations() -> Iterable[JobRoute]:
    images = [f"stable-image/{group}/{name}" for group, names in _IMAGES.items() for name in names]
    for path in (*images, *[f"{kind}/{name}" for kind, names in _OTHERS.items() for name in names]):
        yield JobRoute(
            "POST", rf"/stability/v2beta/{path}\Z", "create",
            endpoint=partial(_endpoint, path, f"/v2beta/{path}", _RESULTS),
        )  # fmt: skip
    yield JobRoute(
        "POST", rf"/stability/v2beta/{_VIDEO}\Z", "create",
        endpoint=partial(_endpoint, _VIDEO, f"/v2beta/{_VIDEO}", _VIDEO_RESULTS),
    )  # fmt: skip


_ID = r"(?P<id>[A-Za-z0-9][A-Za-z0-9_-]{0,199})"
_OF_THE_ACCOUNT = "It is of the account, and of no team; ask /v1/key what is left of your budgets."

API = JobApi(
    name="stability.generations",
    family=STABILITY,
    operation="image",
    routes=(
        *_creations(),
        JobRoute("GET", rf"/stability/v2beta/results/{_ID}\Z", "read", _RESULTS),
        JobRoute("GET", rf"/stability/v2beta/image-to-video/result/{_ID}\Z", "read", _VIDEO_RESULTS),
        JobRoute("GET", r"/stability/v1/user/(?:balance|account)\Z", "refused", why=_OF_THE_ACCOUNT),
    ),
    poll=lambda job: str(job.asked.get("results", _RESULTS)).format(id=job.provider_id),
    read_end=read_end,
    request_facts=request_facts,
    gone=gone,
    providers=frozenset({"stability", "stability-ai", "stabilityai"}),
    bounded=bounded,
    makes_bytes=True,
)
