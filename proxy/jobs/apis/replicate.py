"""Replicate's predictions, by model, by version and by deployment, waited for (`Prefer: wait`) or not.

Official models are billed by what they make, others by the seconds that their hardware was active, in runs that failed or were
cancelled too; `aborted` ones never ran (replicate.com/docs/topics/billing, /predictions/lifecycle, changelog 2025-10-16, read
2026-11-29). Time on instances of one's own (deployments, private models) that sets up or idles stands in no answer. Types:
replicate SDK 1.0.7 (`Prediction`, `File`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pricing.usage import Quantity, Reading
from proxy.dialects import fields, openai
from proxy.dialects.outgoing import Outgoing, json_body
from proxy.dialects.vendors import REPLICATE
from proxy.errors import invalid_request
from proxy.jobs import media_usage
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute, seconds, text_id
from proxy.jobs.job import Job
from proxy.meters.reading_builder import number
from proxy.types import Call

_BOUNDED = frozenset({"input", "version", "stream", "webhook", "webhook_events_filter", "webhook_completed"})
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
_ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
_VERSION = re.compile(rf"(?:(?P<model>{_NAME}/{_NAME})(?::{_ID})?|(?P<alone>{_ID}))\Z")
_FILE = re.compile(
    r"https?:/+(?:[^/@\s]*@)?(?:[a-z0-9-]+\.)*replicate\.com\.?(?::[0-9]*)?/+(?:\./+)*v1/+(?:\./+)*files/+(?:\./+)*([\w-]{1,200})",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"[\s\x00-\x20]*")
_LONGEST_URL = 1000
_ENDS = {"succeeded": "ok", "failed": "upstream_error", "canceled": "upstream_error", "aborted": "upstream_error"}
# Predictions time out after they ran for half an hour (replicate.com/docs, topics, predictions, lifecycle; 2026-11-29).
_LONGEST_S = 1800
_DEADLINE = re.compile(rb"(?:([0-9]{1,5})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s?)?\Z")
_CAPS = ("max_tokens", "max_new_tokens", "max_completion_tokens", "max_output_tokens", "max_length")
# Names by which official models count what they bill, by unit.
_METRICS = {
    "input": ("input_token_count", "token_input_count"),
    "output": ("output_token_count", "token_output_count"),
    "image": ("image_count", "image_output_count"),
    "video_second": ("video_output_duration_seconds",),
    "audio_second": ("audio_output_duration_seconds", "audio_input_duration_seconds"),
    "character": ("character_count", "character_input_count", "characters_input_count"),
    "page": ("page_count", "document_page_count"),
    "gpu_second": ("predict_time",),
}


def parse(model: str, raw: bytes) -> Call:
    """model: as the path names it; "" where `version` does."""
    body = fields.parse_object(raw)
    fields.refuse_names(body, _BOUNDED)
    inputs = fields.mapping(body, "input") or {}
    body.setdefault("input", inputs)
    if body.get("stream"):
        raise invalid_request(
            "A stream of a prediction comes from another host and is not passed on; leave out `stream` and ask for the "
            "prediction, or send `Prefer: wait`.", "stream",
        )  # fmt: skip
    if not model:
        version = body.get("version")
        match = _VERSION.match(version) if isinstance(version, str) else None
        if match is None:
            raise invalid_request("`version` must be the id of a version, or `owner/name:version`.", "version")
        model = match["model"] or match["alone"]
    elif body.get("version") is not None:
        raise invalid_request("`version` is for /v1/predictions; this path names the model already.", "version")
    caps = [cap for name in _CAPS if (cap := number(inputs.get(name))) is not None and 0 < cap <= fields.MAX_TOKENS]
    return Call(
        dialect="replicate.prediction", operation="prediction", model=model, body=body, stream=False, size_bytes=len(raw),
        output_caps=(int(max(caps)),) if caps else (), least_output_tokens=fields.MAX_TOKENS, held=tuple(_files(inputs)),
    )  # fmt: skip


def _files(inputs: Mapping[str, Any]) -> Iterable[str]:
    """Uploaded files that an input names by their URLs: they have to be the team's own."""
    for text in media_usage.texts(inputs):
        begin = len(_BLANKS.match(text)[0])  # type: ignore[index]  # it matches anything
        if match := _FILE.match(unquote(text[begin : begin + _LONGEST_URL])):
            yield match[1]


def deadline(call: Call, headers: Mapping[bytes, bytes]) -> Call:
    """The call with how long it may run at most, by `Cancel-After`: "90", "90s", "5m", "1h30m"."""
    value = headers.get(b"cancel-after")
    if value is None:
        return call
    match = _DEADLINE.match(value.strip().lower())
    parts = [int(part or 0) for part in match.groups()] if match else []
    longest = parts[0] * 3600 + parts[1] * 60 + parts[2] if parts else 0
    if longest < 1:
        raise invalid_request("`Cancel-After` must be a time, as in `90s`, `5m` or `1h30m`.", "Cancel-After")
    return call._replace(extra={**call.extra, "gpu_second": min(longest, _LONGEST_S)})


def bounded(call: Call, units: frozenset[str]) -> Call:
    longest = call.extra.get("gpu_second", _LONGEST_S)
    extra = {name: count for name, count in call.extra.items() if name != "gpu_second"}
    return media_usage.with_max_usage(call._replace(extra=extra), call.body["input"], units, gpu_seconds=longest)


def request_facts(call: Call) -> Mapping[str, Any]:
    return {"units": sorted(call.units), "fields": media_usage.price_fields(call.body["input"])}


def read_end(job: Job, answer: Answer) -> Ended | None:
    body = answer.body
    status = body.get("status")
    outcome = _ENDS.get(status) if isinstance(status, str) else None
    if outcome is None or body.get("id") != job.provider_id or answer.path == _LIST:
        return None  # lists leave out what it is billed by
    at_s = seconds(body.get("completed_at"))
    stated = body.get("metrics")
    metrics: Mapping[str, Any] = stated if isinstance(stated, dict) else {}
    counted = {unit: _counted(metrics, names) for unit, names in _METRICS.items()}
    units = job.asked.get("units", ())
    if status == "aborted":
        return Ended(outcome, Reading(source="provider"), at_s)
    if status != "succeeded" and not units:
        return Ended(outcome, None, at_s)
    if status != "succeeded":  # billed is what it did until then, as far as that is counted
        usage = {unit: quantity for unit in units if (quantity := counted.get(unit))}
        return Ended(outcome, Reading(usage=usage, source="provider", conditions=_conditions(job, body)), at_s)
    if counted["image"] is None:
        counted["image"] = _urls(body.get("output"))
    reading = media_usage.reading_of(units, job.asked.get("fields", {}), counted, conditions=_conditions(job, body))
    return Ended(outcome, reading and reading._replace(model=_another(job, body)), at_s)


def _another(job: Job, body: Mapping[str, Any]) -> str | None:
    """The model that ran, where the request named another before its version."""
    model = body.get("model")
    named = _VERSION.match(job.model)
    return (
        model if named is not None and named["model"] and isinstance(model, str) and model != named["model"] else None
    )


def _counted(metrics: Mapping[str, Any], names: Iterable[str]) -> Quantity | None:
    counts = [count for name in names if (count := number(metrics.get(name))) is not None and count >= 0]
    return max(counts) if counts else None


def _conditions(job: Job, body: Mapping[str, Any]) -> Mapping[str, str]:
    """As the model was told, by what the provider repeats of it."""
    inputs = body.get("input")
    return media_usage.conditions_of(
        {**job.asked.get("fields", {}), **(media_usage.price_fields(inputs) if isinstance(inputs, dict) else {})}
    )


def _urls(output: Any) -> int | None:
    """How many files a model made: a URL, or a list of them."""
    made = output if isinstance(output, list) else [output]
    return len(made) if made and all(isinstance(one, str) for one in made) else None


# Answers to clients


def shown(body: Mapping[str, Any], root: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer with URLs that lead here, without that of its stream, which is at another host."""
    prediction_id = text_id(body.get("id"))
    if not isinstance(body.get("urls"), dict) or prediction_id is None:
        return body
    own = f"{root}/replicate{_LIST}/{prediction_id}"
    urls = {name: url for name, url in body["urls"].items() if name == "web"}
    return {**body, "urls": {**urls, "get": own, "cancel": f"{own}/cancel"}}


def next_page(page: Mapping[str, Any], items: object) -> Mapping[str, str]:
    """The page that `next` leads to: of that URL nothing counts but its cursor."""
    following = page.get("next")
    cursor = parse_qs(urlsplit(following).query).get("cursor") if isinstance(following, str) else None
    return {"cursor": cursor[0]} if cursor else {}


def envelope(page: Mapping[str, Any], root: str, more: bool) -> Mapping[str, Any]:
    query = f"?cursor={next_page(page, ())['cursor']}" if more else ""
    return {"previous": None, "next": f"{root}/replicate{_LIST}{query}" if more else None}


# Tables


def _endpoint(kind: str, api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    target = {"": _LIST, "models": "/v1/models/{model}/predictions", "deployments": "/v1/{model}/predictions"}[kind]
    model = f"{groups['owner']}/{groups['name']}" if kind else ""
    return JobEndpoint(
        REPLICATE, "prediction", target, partial(parse, f"deployments/{model}" if kind == "deployments" else model),
        openai.cap_nothing, encode=_encode, api=api, of_headers=deadline,
    )  # fmt: skip


def _encode(call: Call, model: str) -> Outgoing:
    """What runs is what its price is of: a version's id is the operator's word, a name goes where it is routed to."""
    body = call.body
    if "version" in body and model != call.model and "/" in call.model:
        body = {**body, "version": model}
    return json_body(body)


def _path(path: str) -> str:
    return rf"/replicate/v1{path}\Z"


def _open(path: str, target: str, *queries: str) -> JobRoute:
    return JobRoute("GET", _path(path), "open", f"/v1{target}", queries=frozenset(queries))


def _refused(method: str, path: str, why: str) -> JobRoute:
    return JobRoute(method, _path(path), "refused", why=why)


_LIST = "/v1/predictions"
_ITEM = rf"/predictions/(?P<id>{_ID})"
_MODEL = rf"/(?P<owner>{_NAME})/(?P<name>{_NAME})"
_THE_ACCOUNTS = "This is the account's, and no team's."
_NOT_METERED = "A training is billed by the time of its hardware, of which nothing here knows a bound."
_INSTANCES = "Instances of deployments and models of one's own are billed while they idle; manage them at Replicate."
_PROVIDERS = frozenset({"replicate"})

PREDICTIONS = JobApi(
    name="replicate.predictions",
    family=REPLICATE,
    operation="prediction",
    routes=(
        JobRoute("POST", _path("/predictions"), "create", endpoint=partial(_endpoint, "")),
        JobRoute("POST", _path(f"/models{_MODEL}/predictions"), "create", endpoint=partial(_endpoint, "models")),
        JobRoute("POST", _path(f"/deployments{_MODEL}/predictions"), "create", endpoint=partial(_endpoint, "deployments")),
        JobRoute("GET", _path("/predictions"), "list", _LIST, queries=frozenset({"cursor"})),
        JobRoute("GET", _path(_ITEM), "read", "/v1/predictions/{id}"),
        JobRoute("POST", _path(_ITEM + "/cancel"), "read", "/v1/predictions/{id}/cancel"),
        _refused("GET", _ITEM + "/stream", "Streams of predictions come from another host and are not passed on; ask for it."),
        _open("/models", "/models", "cursor"),
        _open(f"/models{_MODEL}", "/models/{owner}/{name}"),
        _open(f"/models{_MODEL}/versions", "/models/{owner}/{name}/versions", "cursor"),
        _open(f"/models{_MODEL}/versions/(?P<version>{_ID})", "/models/{owner}/{name}/versions/{version}"),
        _open("/collections", "/collections", "cursor"),
        _open(f"/collections/(?P<name>{_NAME})", "/collections/{name}"),
        _open("/hardware", "/hardware"),
        _refused("POST", f"/models{_MODEL}/versions/{_ID}/trainings", _NOT_METERED),
        _refused("GET", f"/trainings(?:/{_ID})?", _NOT_METERED),
        _refused("POST", "/models", _INSTANCES),
        _refused("POST", "/deployments", _INSTANCES),
        _refused("GET", f"/deployments(?:{_MODEL})?", _INSTANCES),
        _refused("PATCH", f"/deployments{_MODEL}", _INSTANCES),
        _refused("DELETE", f"/deployments{_MODEL}", _INSTANCES),
        _refused("DELETE", f"/models{_MODEL}(?:/versions/{_ID})?", _INSTANCES),
        _refused("GET", "/account", _THE_ACCOUNTS),
        _refused("GET", "/webhooks/default/secret", _THE_ACCOUNTS),
    ),
    poll=lambda job: f"{_LIST}/{job.provider_id}",
    read_end=read_end,
    request_facts=request_facts,
    providers=_PROVIDERS,
    list_of="results",
    next_page=next_page,
    envelope=envelope,
    shown=shown,
    bounded=bounded,
)  # fmt: skip

# Their URLs stay Replicate's own: they are what an input names, and Replicate fetches them itself.
FILES = JobApi(
    name="replicate.files",
    family=REPLICATE,
    operation="files",
    routes=(
        JobRoute("POST", _path("/files"), "upload", "/v1/files"),
        JobRoute("GET", _path("/files"), "list", "/v1/files", queries=frozenset({"cursor"})),
        JobRoute("GET", _path("/files/(?P<id>[A-Za-z0-9_-]{1,200})"), "content", "/v1/files/{id}"),
        JobRoute("DELETE", _path("/files/(?P<id>[A-Za-z0-9_-]{1,200})"), "forget", "/v1/files/{id}"),
    ),
    poll=lambda job: "",
    read_end=lambda job, answer: None,
    providers=_PROVIDERS,
    owned="stored",
    list_of="results",
    next_page=next_page,
    envelope=lambda page, root, more: {"previous": None, "next": None},
    file_field="content",
    first_field="",
)
