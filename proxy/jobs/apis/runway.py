"""Runway's tasks: video, images and sound in credits of a cent, taken when they are asked for and given back where they fail.

A task says itself what it costs: the answer to its creation the most (`estimatedCost`), its end what was charged (`cost`:
"Fully refunded tasks report 0; tasks that later returned unused prepaid credits report what remains charged"), so that
moderated ones are charged as Runway does. Before it is made its model's price by the second or the image bounds it, and what
`outputFormat` adds; sound by its characters or seconds (`runway_sound.py`). What is made with quantities of the account's own
(voices, avatars, documents, saved routers, workflows) is nobody's here. Types: runwayml SDK 5.24.0 (`TaskRetrieveResponse`,
`ImageToVideoCreateParams`, …).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from pricing.usage import Quantity, Reading
from proxy.dialects import fields, openai
from proxy.dialects.outgoing import Outgoing, json_body
from proxy.dialects.vendors import RUNWAY
from proxy.errors import invalid_request, stored_not_found
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute, seconds
from proxy.jobs.apis import runway_sound
from proxy.jobs.job import Job
from proxy.meters.reading_builder import number
from proxy.types import Call

_BOUNDED = frozenset({"model", "duration", "ratio", "resolution", "audio", "quality", "outputCount", "outputFormat"})
_MOST_SECONDS = 60
# Where a model takes no duration, or the request leaves it out: the longest that any of these models makes by default.
_SECONDS_BY_DEFAULT, _SECONDS_OF_AUTO = 15, 30
_TAKES_NO_LENGTH = frozenset({"video_upscale", "video_to_hdr", "avatar_videos", "character_performance"})
# `act_two`: "The video must be between 3 and 30 seconds in duration" (SDK, `CharacterPerformanceCreateParams`).
_LONGEST_S = {
    "act_two": 30,
    "gen4_aleph": 5,
    "gen4_turbo": 10,
    "gen3a_turbo": 10,
    "veo3": 8,
    "veo3.1": 8,
    "veo3.1_fast": 8,
}
_MOST_IMAGES, _IMAGES_BY_DEFAULT = 16, 4
_ONE_IMAGE = frozenset({"gen4_image", "gen4_image_turbo", "gemini_2.5_flash"})  # which take no `outputCount`
# "Non-mp4 formats incur an additional per-second credit surcharge: 5 … for prores and png_sequence, and 20 … for every HDR
# format (increasing to 40 … when the output is larger than 4 megapixels)" (SDK, `ImageToVideoCreateParams`).
_SURCHARGES = {"mp4": 0, "prores": 5, "png_sequence": 5}
_DEAREST_SURCHARGE = 40
# As long as what was sent.
_WITHOUT_LENGTH = frozenset({"video_to_video", "video_upscale", "video_to_hdr", "avatar_videos"})
_IMAGES = frozenset({"text_to_image", "image_upscale"})
_VIDEOS = (
    "image_to_video", "text_to_video", "video_to_video", "video_upscale", "video_to_hdr", "character_performance",
    "avatar_videos",
)  # fmt: skip
# Workflows of several models, without one of their own: they go by their paths.
_RECIPES = (
    "ad_localization", "marketing_stock_image", "multi_shot_video", "product_ad", "product_campaign_image", "product_swap",
    "product_ugc",
)  # fmt: skip
_ENDS = {"SUCCEEDED": "ok", "FAILED": "upstream_error", "CANCELLED": "upstream_error"}
_UPLOADED = re.compile(r"[\s\x00-\x20]*runway:", re.IGNORECASE)
_OF_THE_ACCOUNTS = re.compile(r"(?!presetId\Z).*(?:[a-z]I[dD]|_[iI][dD])s?\Z")
_ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}"


def parse(kind: str, raw: bytes) -> Call:
    """kind: the path behind the version."""
    body = fields.parse_object(raw)
    fields.refuse_names(body, _BOUNDED)
    _refuse_uploads(body)
    if kind in runway_sound.KINDS:
        return runway_sound.parse(kind, body, len(raw))
    recipe = kind.startswith("recipes/")
    if recipe:
        fields.refuse_names({"model": None} if "model" in body else {}, frozenset())
    model = kind if recipe else fields.model_name(body)
    quantities, unbounded = _max_quantities(kind, body, model)
    return Call(
        dialect="runway.task", operation=_operation(kind), model=model, body=body, stream=False, size_bytes=len(raw),
        output_caps=(0,), least_output_tokens=fields.MAX_TOKENS, quantities=quantities, fixed=_conditions(body),
        unbounded=unbounded,
    )  # fmt: skip


def of_model(kind: str, call: Call, model: str) -> Call:
    """What the provider's model makes at most: clients may know it by another name."""
    if model == call.model or kind.startswith("recipes/"):
        return call
    bound = runway_sound.max_quantities if kind in runway_sound.KINDS else _max_quantities
    quantities, unbounded = bound(kind, call.body, model)
    return call._replace(quantities=quantities, unbounded=unbounded)


def _max_quantities(kind: str, body: dict[str, Any], model: str) -> tuple[dict[str, int], str]:
    """What it comes to at most, and why nothing bounds that."""
    if kind.startswith("recipes/"):
        return {}, ""
    count = fields.integer(body, "outputCount", 1, _MOST_IMAGES) or (1 if model in _ONE_IMAGE else _IMAGES_BY_DEFAULT)
    quantities: dict[str, int] = {"image": count}
    unbounded = ""
    if kind not in _IMAGES:
        length = _seconds(body, kind, model)
        surcharge = _SURCHARGES.get(fields.text(body, "outputFormat") or "mp4", _DEAREST_SURCHARGE)
        quantities = {"video_second": length or 0} | ({"credit": surcharge * (length or 0)} if surcharge else {})
        if length is None:
            unbounded = "its video is as long as the one that is sent, of which nothing is known here"
    elif kind == "image_upscale":
        unbounded = "an enlarged image costs by its size, of which nothing is known here"
    return quantities, unbounded


def _seconds(body: Mapping[str, Any], kind: str, model: str) -> int | None:
    """How long it is at most; None where nothing says."""
    if body.get("duration") == "auto":
        return _SECONDS_OF_AUTO
    length = fields.integer(body, "duration", 1, _MOST_SECONDS)
    if length is not None and kind not in _TAKES_NO_LENGTH and not (kind in _WITHOUT_LENGTH and model in _LONGEST_S):
        return length
    return _LONGEST_S.get(model, None if kind in _WITHOUT_LENGTH else _SECONDS_BY_DEFAULT)


def _conditions(body: Mapping[str, Any]) -> dict[str, str]:
    """What a price may depend on: the resolution, as such or by the ratio of two lengths in pixels, quality, and sound."""
    quality = fields.text(body, "quality")
    conditions: dict[str, str] = {} if quality is None else {"quality": quality.lower()}
    resolution, ratio = fields.text(body, "resolution"), fields.text(body, "ratio")
    sides = re.fullmatch(r"([1-9][0-9]{2,4}):([1-9][0-9]{2,4})", ratio or "", re.ASCII)
    if resolution is not None:
        conditions["resolution"] = resolution.lower()
    elif sides is not None:
        conditions["resolution"] = _lines(min(int(sides[1]), int(sides[2])))
    elif ratio is not None and (named := re.fullmatch(r"auto_([0-9a-z]{1,8})", ratio, re.ASCII)):
        conditions["resolution"] = named[1]
    if body.get("audio") is not None:
        if not isinstance(body["audio"], bool):
            raise invalid_request("`audio` must be true or false.", "audio")
        conditions["audio"] = "on" if body["audio"] else "off"
    return conditions


def _lines(shorter: int) -> str:
    return next(
        (name for most, name in ((480, "480p"), (720, "720p"), (1080, "1080p"), (1440, "2k")) if shorter <= most), "4k"
    )


def _refuse_uploads(body: Any) -> None:
    """What was uploaded to the account, or is kept in it, is nobody's here."""
    stack = [body]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            for name, inner in value.items():
                if inner and _OF_THE_ACCOUNTS.match(name):
                    raise stored_not_found(name[:40])
            stack += value.values()
        elif isinstance(value, list):
            stack += value
        elif isinstance(value, str) and _UPLOADED.match(value):
            raise stored_not_found("uri")


def bounded(call: Call, units: frozenset[str]) -> Call:
    """In those of its units that its model is priced in; what `outputFormat` adds stands in credits."""
    quantities = {**call.quantities, "request": 1}
    billed = {unit: count for unit, count in quantities.items() if unit in units or unit == "credit"}
    measured = units - {"credit"}
    why = "" if measured == {"request"} else call.unbounded  # priced by the call, it is bounded whatever it makes
    if measured and measured.isdisjoint(billed):
        why = f"the model is priced by the {min(measured)}, and makes something else on this path"
    elif not measured:
        unit = next((unit for unit in call.quantities if unit != "credit"), "call")
        why = f"nobody knows how many credits {call.model!r} takes: give it a price by `{unit}`, or by `request`"
    return call._replace(units=units, quantities=billed, unbounded=why)


def request_facts(call: Call) -> Mapping[str, Any]:
    return {
        "units": sorted(call.units), "things": dict(call.quantities), "conditions": dict(call.fixed),
    }  # fmt: skip


def creation_facts(body: Mapping[str, Any]) -> Mapping[str, Any]:
    estimate = _credits(body, "estimatedCost")
    return {} if estimate is None else {"estimate": str(estimate)}


def _credits(body: Mapping[str, Any], name: str) -> Quantity | None:
    cost = body.get(name)
    stated = number(cost.get("credits")) if isinstance(cost, dict) else None
    return stated if stated is not None and stated >= 0 else None


def read_end(job: Job, answer: Answer) -> Ended | None:
    body = answer.body
    status = body.get("status")
    outcome = _ENDS.get(status.upper()) if isinstance(status, str) else None
    if outcome is None:
        return None
    charged = _credits(body, "cost")
    if charged is None:  # versions of the API before it said so
        charged = _unsaid(job, body, ok=outcome == "ok")
    made = body.get("output")
    reading = None if charged is None else _reading(job, charged, len(made) if isinstance(made, list) else None)
    return Ended(outcome, reading, seconds(body.get("endedAt")))


def withdrawn(job: Job) -> Ended:
    """What was deleted cannot be fetched again, and nothing is given back for what ran (SDK, `tasks.delete`: "If that check
    observes RUNNING, cancellation does not refund credits … A prior GET response reporting PENDING or THROTTLED does not
    guarantee a refund"): its estimate is what was taken."""
    taken = number(job.asked.get("estimate"))
    return Ended(_ENDS["CANCELLED"], None if taken is None else _reading(job, taken, None)._replace(source="estimated"))


def _unsaid(job: Job, body: Mapping[str, Any], *, ok: bool) -> Quantity | None:
    """What a task costs that does not say: its estimate where it was made, or cancelled (which gives back nothing for what ran,
    see `withdrawn`), or refused for what was sent ("SAFETY.INPUT.*: not refundable",
    docs.dev.runwayml.com/errors/task-failures); any other failure is given back."""
    code = body.get("failureCode")
    refused = isinstance(code, str) and code.upper().startswith("SAFETY.INPUT")
    if not (ok or refused or str(body.get("status")).upper() == "CANCELLED"):
        return 0
    return number(job.asked.get("estimate"))


def _reading(job: Job, charged: Quantity, made: int | None) -> Reading:
    """In credits; in seconds or images (made: how many) where that is what the operator has a price for."""
    units = job.asked.get("units", ())
    conditions: Mapping[str, str] = job.asked.get("conditions", {})
    quantities: Mapping[str, int] = job.asked.get("things", {})
    own: dict[str, Quantity] = {unit: quantities[unit] for unit in units if unit in quantities}
    if made and "image" in own:
        own["image"] = made
    if "credit" in units or not own or not charged:
        return Reading(usage={"credit": charged} if charged else {}, source="provider", conditions=conditions)
    return Reading(usage=own, source="provider", conditions=conditions)


def _endpoint(kind: str, api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    return JobEndpoint(
        RUNWAY, _operation(kind), f"/v1/{kind}", partial(parse, kind),
        openai.cap_nothing, encode=_encode, of_model=partial(of_model, kind), api=api,
    )  # fmt: skip


def _operation(kind: str) -> str:
    return "audio" if kind in runway_sound.KINDS else "image" if kind in _IMAGES else "video"


def _encode(call: Call, model: str) -> Outgoing:
    return json_body(call.body if call.model.startswith("recipes/") else {**call.body, "model": model})


def _creations(kinds: Iterable[str]) -> Iterable[JobRoute]:
    for kind in kinds:
        yield JobRoute("POST", rf"/runway/v1/{kind}\Z", "create", endpoint=partial(_endpoint, kind))


_OF_THE_ACCOUNT = "It is of the account, and of no team; ask /v1/key what is left of your budgets."
API = JobApi(
    name="runway.tasks",
    family=RUNWAY,
    operation="video",
    routes=(
        *_creations((*_VIDEOS, *sorted(_IMAGES), *runway_sound.KINDS, *[f"recipes/{name}" for name in _RECIPES])),
        JobRoute("GET", rf"/runway/v1/tasks/(?P<id>{_ID})\Z", "read", "/v1/tasks/{id}"),
        JobRoute("DELETE", rf"/runway/v1/tasks/(?P<id>{_ID})\Z", "forget", "/v1/tasks/{id}"),
        JobRoute("GET", r"/runway/v1/organization\Z", "refused", why=_OF_THE_ACCOUNT),
        JobRoute("POST", r"/runway/v1/organization/usage\Z", "refused", why=_OF_THE_ACCOUNT),
        JobRoute(
            "POST", r"/runway/v1/uploads\Z", "refused",
            why="What is uploaded belongs to the account; send a URL or the data itself (`data:`).",
        ),
    ),
    poll=lambda job: f"/v1/tasks/{job.provider_id}",
    read_end=read_end,
    request_facts=request_facts,
    creation_facts=creation_facts,
    withdrawn=withdrawn,
    changes_later=True,
    providers=frozenset({"runway", "runwayml"}),
    bounded=bounded,
)  # fmt: skip
