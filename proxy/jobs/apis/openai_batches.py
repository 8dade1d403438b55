"""OpenAI's batches: a file of calls, answered within a day at half the price.

Billed is each line that was answered, of expired and cancelled batches too; lines in the error file are not. Their usage stands
in the output file's lines; since 2025-09 the batch says the sum of it (openai SDK 3.54 `types/batch.py`: `usage`, `model`,
`request_counts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pricing.usage import Reading
from proxy.dialects import OPENAI, fields, openai
from proxy.dialects.outgoing import Outgoing, json_body
from proxy.errors import invalid_request
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, JobRoute, Results, read_by, seconds, text_id
from proxy.jobs.job import Job
from proxy.types import Call

_BOUNDED = frozenset({"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"})
_ENDS = {"completed": "ok", "failed": "upstream_error", "expired": "upstream_error", "cancelled": "upstream_error"}


def parse(raw: bytes) -> Call:
    body = fields.parse_object(raw)
    fields.refuse_names(body, _BOUNDED)
    for name in body:
        if name not in _BOUNDED:
            raise invalid_request(f"The field {name[:40]!r} is not known here.", name[:40])
    file_id = text_id(body.get("input_file_id"))
    if file_id is None:
        raise invalid_request("`input_file_id` must be the id of a file.", "input_file_id")
    return Call(
        dialect="openai.batch", operation="batch", model="", body=body, stream=False, size_bytes=len(raw), output_caps=(0,),
        least_output_tokens=fields.MAX_TOKENS, held=(file_id,),
    )  # fmt: skip


def read_end(job: Job, answer: Answer) -> Ended | None:
    body = answer.body
    status = body.get("status")
    outcome = _ENDS.get(status) if isinstance(status, str) else None
    if outcome is None:
        return None
    files = [text_id(body.get(name)) for name in ("output_file_id", "error_file_id")]
    counts = body.get("request_counts")
    completed = counts.get("completed") if isinstance(counts, dict) else None
    done = completed if type(completed) is int else None
    reading = read_by("openai.batch", job, answer)
    if not reading.usage and not reading.parts:
        reading = Reading(source="provider" if files[0] is None and not done else "none")
    at_s = seconds(body.get(f"{status}_at"))
    results = (Results(f"/files/{files[0]}/content", read_line, done),) if files[0] is not None else ()
    return Ended(outcome, reading, at_s, results, [one for one in files if one is not None])


def read_line(job: Job, line: Mapping[str, Any]) -> Reading | None:
    """One line of the output file: `{"custom_id", "response": {"status_code", "body"}, "error"}`."""
    response = line.get("response")
    if not isinstance(response, dict) or response.get("status_code") not in (200, None):
        return None
    return read_by("openai.batch", job, Answer(200, line))


def _endpoint(api: JobApi, groups: Mapping[str, str]) -> JobEndpoint:
    return JobEndpoint(OPENAI, "batch", "/batches", parse, openai.cap_nothing, encode=_encode, api=api)


def _encode(call: Call, model: str) -> Outgoing:
    return json_body(call.body)


_PATH = r"(?:/openai)?(?:/v1)?/batches"
_OF_DEPLOYMENT = r"/openai/deployments/[^/]+/batches"  # openai-node's AzureOpenAI; the lines say which model
_ID = r"/(?P<id>[A-Za-z0-9_-]{1,200})"

API = JobApi(
    name="openai.batches",
    family=OPENAI,
    operation="batch",
    routes=(
        JobRoute("POST", _PATH + r"\Z", "create", endpoint=_endpoint),
        JobRoute("POST", _OF_DEPLOYMENT + r"\Z", "create", endpoint=_endpoint),
        JobRoute("GET", _PATH + r"\Z", "list", "/batches", queries=frozenset({"limit", "after"})),
        JobRoute("GET", _PATH + _ID + r"\Z", "read", "/batches/{id}"),
        JobRoute("POST", _PATH + _ID + r"/cancel\Z", "read", "/batches/{id}/cancel"),
    ),
    poll=lambda job: f"/batches/{job.provider_id}",
    read_end=read_end,
    of_file=lambda call: call.held[0],
)
