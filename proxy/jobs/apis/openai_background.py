"""OpenAI's responses with `background: true`: answered at once with an id, worked on behind it, and billed by their usage.

They are made and asked for on the paths of all responses (`dialects/__init__.py`); what is here is how they end (openai SDK
3.54: `ResponseStatus` queued, in_progress, completed, failed, cancelled, incomplete).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as fields_of
from typing import Any

from pricing.usage import Reading
from proxy.dialects import RESPONSES, Endpoint
from proxy.jobs.api import Answer, Ended, JobApi, JobEndpoint, read_by, seconds
from proxy.jobs.job import Job
from proxy.types import Call

_ENDS = {"completed": "ok", "incomplete": "ok", "failed": "upstream_error", "cancelled": "upstream_error"}
_ASKED = ("service_tier", "prompt_cache_retention", "prompt_cache_options")


def request_facts(call: Call) -> Mapping[str, Any]:
    return {name: call.body[name] for name in _ASKED if isinstance(call.body.get(name), str | dict)}


def read_end(job: Job, answer: Answer) -> Ended | None:
    status = answer.body.get("status")
    outcome = _ENDS.get(status) if isinstance(status, str) else None
    if outcome is None:
        return None
    reading = read_by("openai.responses", job, answer, endpoint="/responses")
    if status == "failed" and not reading.usage:
        reading = Reading(source="provider")  # what failed before any work
    return Ended(outcome, reading, seconds(answer.body.get("completed_at")))


API = JobApi(
    name="openai.background",
    family=RESPONSES,
    operation="responses",
    routes=(),
    poll=lambda job: f"/responses/{job.provider_id}",
    read_end=read_end,
    request_facts=request_facts,
)


def endpoint_of(endpoint: Endpoint, call: Call) -> Endpoint:
    """The endpoint of a response that goes on in the background; any other as it is."""
    if call.operation != "responses" or call.body.get("background") is not True:
        return endpoint
    fields = {field.name: getattr(endpoint, field.name) for field in fields_of(Endpoint) if field.init}
    return JobEndpoint(**fields, api=API)
