"""Anthropic's message batches: up to 100,000 messages in one body, answered within a day at half the price.

Billed are the lines that succeeded; errored, cancelled and expired ones are free. Their usage stands in the results alone
(anthropic SDK 2.12: `MessageBatch`, `MessageBatchIndividualResponse`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pricing.usage import Reading
from proxy.dialects import ANTHROPIC, fields, openai
from proxy.dialects.outgoing import Outgoing, json_body
from proxy.errors import invalid_request
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute, PassedLines, Results, read_by, seconds, text_id
from proxy.jobs.job import Job
from proxy.types import Call

_COUNTED = ("succeeded", "errored", "canceled", "expired")


def parse(raw: bytes) -> Call:
    body = fields.parse_object(raw)
    fields.refuse_names(body, frozenset({"requests"}))
    for request in fields.objects(body, "requests"):
        if fields.mapping(request, "params") is None:
            raise invalid_request("`params` of a request is missing.", "requests")
    return Call(
        dialect="anthropic.batch", operation="batch", model="", body=body, stream=False, size_bytes=len(raw),
        output_caps=(0,), least_output_tokens=fields.MAX_TOKENS,
    )  # fmt: skip


def lines(call: Call) -> Iterable[tuple[str, dict[str, Any]]]:
    for request in call.body["requests"]:
        yield "/v1/messages", request["params"]


def read_end(job: Job, answer: Answer) -> Ended | None:
    body = answer.body
    if body.get("processing_status") != "ended":
        return None
    counts = body.get("request_counts")
    counted = {name: counts.get(name) for name in _COUNTED} if isinstance(counts, dict) else {}
    numbers = [number for number in counted.values() if type(number) is int]
    succeeded = counted.get("succeeded")
    at_s = seconds(body.get("ended_at"))
    if succeeded == 0:
        return Ended("ok", Reading(source="provider"), at_s)
    path = f"/v1/messages/batches/{job.provider_id}/results"
    return Ended(
        "ok", Reading(), at_s, (Results(path, read_line, sum(numbers) if len(numbers) == len(_COUNTED) else None),)
    )


def read_line(job: Job, line: Mapping[str, Any]) -> Reading | None:
    """One line of the results: `{"custom_id", "result": {"type": "succeeded", "message"}}`."""
    result = line.get("result")
    if not isinstance(result, dict) or result.get("type") != "succeeded":
        return None
    return read_by("anthropic.batch", job, Answer(200, line))


def next_page(page: Mapping[str, Any], items: object) -> Mapping[str, str]:
    last = page.get("last_id")
    return {"after_id": last} if page.get("has_more") and isinstance(last, str) else {}


def shown(body: Mapping[str, Any], root: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the provider's host in `results_url`: SDKs follow that, with the key of this proxy."""
    batch_id = text_id(body.get("id"))
    if not body.get("results_url") or batch_id is None:
        return body
    return {**body, "results_url": f"{_TARGET}/{batch_id}/results"}


def _endpoint(api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    return JobEndpoint(
        ANTHROPIC, "batch", "/v1/messages/batches", parse, openai.cap_nothing, encode=_encode,
        queries=frozenset({"beta=true"}), api=api, lines=lines,
        passed_as=PassedLines("requests", "/v1/messages", "params"),
    )  # fmt: skip


def _encode(call: Call, model: str) -> Outgoing:
    return json_body(call.body)


_PATH = r"(?:/anthropic)?/v1/messages/batches"
_TARGET = "/v1/messages/batches"
_ID = r"/(?P<id>[A-Za-z0-9_-]{1,200})"
_BETA = frozenset({"beta"})

API = JobApi(
    name="anthropic.batches",
    family=ANTHROPIC,
    operation="batch",
    routes=(
        JobRoute("POST", _PATH + r"\Z", "create", endpoint=_endpoint),
        JobRoute(
            "GET",
            _PATH + r"\Z",
            "list",
            _TARGET,
            queries=frozenset({"limit", "after_id", "before_id", "beta"}),
        ),
        JobRoute("GET", _PATH + _ID + r"\Z", "read", _TARGET + "/{id}", queries=_BETA),
        JobRoute("POST", _PATH + _ID + r"/cancel\Z", "read", _TARGET + "/{id}/cancel", queries=_BETA),
        JobRoute("GET", _PATH + _ID + r"/results\Z", "content", _TARGET + "/{id}/results", queries=_BETA),
        JobRoute("DELETE", _PATH + _ID + r"\Z", "forget", _TARGET + "/{id}", queries=_BETA),
    ),
    poll=lambda job: f"{_TARGET}/{job.provider_id}",
    read_end=read_end,
    providers=frozenset({"anthropic"}),
    next_page=next_page,
    shown=shown,
)
