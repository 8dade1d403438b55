"""fal: models behind a queue, or called directly, billed in units that the answer's `x-fal-billable-units` counts.

Server errors are never charged, time in the queue and cold starts neither; of a 422 that header tells (fal.ai/docs: FAQ,
pricing, queue, "publishing to the marketplace"; read 2026-11-29). `/fal/{owner}/{model}[/…]` is the queue, on
https://queue.fal.run, also as `/fal/queue.fal.run/…`; `/fal/fal.run/{owner}/{model}[/…]` is answered when it is done, on
https://fal.run. A status does not say what a request came to: that stands at the request's own path. Types: fal-client 1.0.3
(`Queued`, `InProgress`, `Completed`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from pricing.units import is_token
from pricing.usage import Quantity, Reading
from proxy.dialects import fields, openai
from proxy.dialects.family import Family
from proxy.dialects.outgoing import Outgoing, json_body
from proxy.dialects.vendors import FAL, FAL_RUN
from proxy.jobs import media_usage
from proxy.jobs.api import Answer, Does, Ended, JobApi, JobEndpoint, JobRoute, text_id
from proxy.jobs.job import Job
from proxy.meters.reading_builder import number
from proxy.types import Call

_BILLED = "x-fal-billable-units"
_WORD = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
_PATH = re.compile(rf"(?:/{_WORD}){{2,12}}\Z")
_QUEUED = frozenset({
    "request_id", "gateway_request_id", "response_url", "status_url", "cancel_url", "status", "queue_position", "logs",
    "metrics", "error", "error_type",
})  # fmt: skip
_WITHOUT_RESULT = ("CANCELLED", "CANCELED", "FAILED", "ERROR")
# fal.ai/docs, queue: nothing says how long a model may run that is billed by its time [no source].
_LONGEST_S = 3600
_CAPS = ("max_tokens", "max_new_tokens", "max_completion_tokens")
_NO_END = frozenset({401, 403, 404, 408, 425, 429, 502, 503, 504})
"""Statuses of a result that say nothing of the job: whoever asked was not let through, or nobody was there."""


def parse(model: str, raw: bytes) -> Call:
    body = fields.parse_object(raw) if raw.strip() else {}
    caps = [cap for name in _CAPS if (cap := number(body.get(name))) is not None and 0 < cap <= fields.MAX_TOKENS]
    return Call(
        dialect="fal.request", operation="prediction", model=model, body=body, stream=False, size_bytes=len(raw),
        output_caps=(int(max(caps)),) if caps else (), least_output_tokens=fields.MAX_TOKENS,
    )  # fmt: skip


def bounded(call: Call, units: frozenset[str]) -> Call:
    return media_usage.with_max_usage(call, call.body, units, gpu_seconds=_LONGEST_S)


def request_facts(call: Call) -> Mapping[str, Any]:
    return {"units": sorted(call.units), "fields": media_usage.price_fields(call.body)}


def read_end(job: Job, answer: Answer) -> Ended | None:
    """The end of a job: from a status, where its result is; from that result, what it used."""
    body = answer.body
    if answer.path.endswith("/status"):
        if body.get("status") in _WITHOUT_RESULT:
            return Ended("upstream_error", Reading(source="provider"))
        if body.get("status") != "COMPLETED":
            return None
        return Ended("ok", None, ask=f"{_path_of(job.asked)}/requests/{job.provider_id}")
    if answer.path.endswith("/cancel"):  # `OK`: it was still in the queue, and is no more
        return Ended("upstream_error", Reading(source="provider")) if body.get("status") == "OK" else None
    if answer.status >= 300 or request_id(body) is not None:
        return None
    return Ended("ok", _reading(job, answer))


def request_id(body: Mapping[str, Any]) -> str | None:
    """The id in the queue's answer about a request; None for a model's own answer, whose fields are its own."""
    queued = _QUEUED.issuperset(body) or all(isinstance(body.get(name), str) for name in ("response_url", "status_url"))
    return text_id(body.get("request_id")) if queued else None


def creation_facts(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where the queue says that the request is asked for: of that URL nothing counts but the path of the model in it."""
    url = body.get("response_url")
    path, separator, _ = urlsplit(url).path.rpartition("/requests/") if isinstance(url, str) else ("", "", "")
    return {"path": path} if separator and _PATH.match(path) else {}


def read_result(job: Job, answer: Answer) -> Ended | None:
    """What a request came to that has ended; None where the answer is not its own."""
    if answer.status in _NO_END or 300 <= answer.status < 400:
        return None
    if answer.status < 300:
        return Ended("ok", _reading(job, answer))
    if answer.status < 500 and _BILLED in answer.headers:
        return Ended("upstream_error", _reading(job, answer))
    return Ended("upstream_error", Reading(source="provider"))


def _reading(job: Job, answer: Answer) -> Reading | None:
    units = job.asked.get("units", ())
    made = _made(answer.body)
    billed = number(answer.headers.get(_BILLED))
    if billed is not None and billed >= 0:
        unit = _billed_unit(units, made)
        if unit is None:
            return None
        made = {**{name: 0 for name in units if not is_token(name)}, unit: billed}
    return media_usage.reading_of(units, job.asked.get("fields", {}), made)


def _billed_unit(units: Iterable[str], made: Mapping[str, Quantity | None]) -> str | None:
    """The unit that the header counts: that of the model's price, which is fal's own; of several that which was made."""
    counted = [unit for unit in units if not is_token(unit)]
    shown = [unit for unit in counted if made.get(unit)]
    return next(iter(shown or counted), None)


def _made(body: Mapping[str, Any]) -> dict[str, Quantity | None]:
    """What an answer shows, by unit: images with their sizes, a video or a sound with its length, tokens."""
    images = [one for one in _items(body.get("images")) if isinstance(one, dict)]
    images += [body["image"]] if isinstance(body.get("image"), dict) else []
    usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
    made: dict[str, Quantity | None] = {
        "image": len(images) if images else None,
        "megapixel": media_usage.megapixels(images) if images else None,
        "video_second": _length(body.get("video")),
        "audio_second": _length(body.get("audio")) or _length(body.get("audio_file")),
        "gpu_second": number(_mapping(body.get("timings")).get("inference")),
    }
    for unit, name in (("input", "prompt_tokens"), ("output", "completion_tokens")):
        made[unit] = number(_mapping(usage).get(name))
    return made


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _length(medium: Any) -> Quantity | None:
    seconds = number(_mapping(medium).get("duration"))
    return seconds if seconds is not None and seconds > 0 else None


# Answers to clients


def shown(body: Mapping[str, Any], root: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer with URLs that lead here, because the SDK follows them with its key."""
    own_id = request_id(body)
    if own_id is None:
        return body
    own = f"{root}/fal{_path_of(facts)}/requests/{own_id}"
    urls = {"response_url": own, "status_url": f"{own}/status", "cancel_url": f"{own}/cancel"}
    return {name: urls.get(name, value) for name, value in body.items()}


# Tables

_APP = rf"/(?P<app>(?:(?:workflows|comfy)/)?{_WORD}/{_WORD})"
_ASKED = (
    rf"/(?P<app>(?:(?!requests/){_WORD}/){{1,9}}(?!requests/){_WORD})"  # whose first `requests` is the caller's own
)
_QUEUE = r"/fal(?:/queue\.fal\.run)?"
_RUN = r"/fal/fal\.run"
_NOT_AN_APP = r"(?!/(?:fal\.run|queue\.fal\.run)/)"
_ID = r"/requests/(?P<id>[A-Za-z0-9][A-Za-z0-9_-]{0,99})"
_STREAMS = "Streams are not metered and not passed on; call the model itself, or submit it to the queue and ask for its status."


def _endpoint(family: Family, api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    app, rest = groups["app"], groups.get("rest") or ""
    return JobEndpoint(
        family, "prediction", "/{model}", partial(parse, f"{app}{rest}"), openai.cap_nothing, encode=_encode, api=api,
        facts={"app": f"/{app}"}, query_names=frozenset({"fal_webhook"}), at_once=True,
    )  # fmt: skip


def _encode(call: Call, model: str) -> Outgoing:
    return json_body(call.body)


def _path_of(facts: Mapping[str, Any]) -> str:
    """Where a request is asked for: its model's path as the queue stated it, else without what stands behind its name."""
    app, stated = str(facts.get("app", "")), str(facts.get("path", ""))
    _, separator, rest = stated.partition(app)
    return app + rest if separator and app else app


def _queue(method: str, rest: str, does: Does, target: str, *queries: str) -> JobRoute:
    pattern = _QUEUE + _NOT_AN_APP + _ASKED + _ID + rest + r"\Z"
    return JobRoute(method, pattern, does, target, queries=frozenset(queries), why=_STREAMS)


def _create(prefix: str, family: Family) -> tuple[JobRoute, ...]:
    path = prefix + _NOT_AN_APP + _APP
    return (
        JobRoute("POST", path + rf"(?:/{_WORD})*/stream\Z", "refused", why=_STREAMS),
        JobRoute(
            "POST", path + rf"(?P<rest>(?:/(?!requests/|requests\Z){_WORD}){{0,6}})\Z", "create",
            endpoint=partial(_endpoint, family),
        ),
    )  # fmt: skip


_PROVIDERS = frozenset({"fal", "fal-ai"})
QUEUE = JobApi(
    name="fal.queue",
    family=FAL,
    operation="prediction",
    routes=(
        _queue("GET", "/status", "read", "/{app}/requests/{id}/status", "logs"),
        _queue("GET", "/status/stream", "refused", ""),
        _queue("GET", "", "read", "/{app}/requests/{id}"),
        _queue("PUT", "/cancel", "cancel", "/{app}/requests/{id}/cancel"),
        *_create(_QUEUE, FAL),
    ),
    poll=lambda job: f"{_path_of(job.asked)}/requests/{job.provider_id}/status",
    read_end=read_end,
    read_result=read_result,
    job_id=request_id,
    request_facts=request_facts,
    creation_facts=creation_facts,
    providers=_PROVIDERS,
    shown=shown,
    bounded=bounded,
)
RUN = JobApi(
    name="fal.run",
    family=FAL_RUN,
    operation="prediction",
    routes=_create(_RUN, FAL_RUN),
    poll=lambda job: "",
    read_end=read_end,
    read_result=read_result,
    job_id=lambda body: None,
    request_facts=request_facts,
    providers=_PROVIDERS,
    bounded=bounded,
)
