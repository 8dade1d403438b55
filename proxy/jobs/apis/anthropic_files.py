"""Anthropic's files, which messages refer to by their ids. They are free, and their team's own.

Types: anthropic SDK 2.12 (`client.beta.files`); a file that was uploaded cannot be downloaded, one that a tool made can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.dialects import ANTHROPIC
from proxy.jobs.api import JobApi, JobRoute


def next_page(page: Mapping[str, Any], items: object) -> Mapping[str, str]:
    """By a cursor (SDK 2.12 and later), or behind the last item."""
    cursor, last = page.get("next_page"), page.get("last_id")
    if isinstance(cursor, str) and cursor:
        return {"page": cursor}
    return {"after_id": last} if page.get("has_more") and isinstance(last, str) else {}


_PATH = r"(?:/anthropic)?/v1/files"
_ID = r"/(?P<id>[A-Za-z0-9_-]{1,200})"
_BETA = frozenset({"beta"})

API = JobApi(
    name="anthropic.files",
    family=ANTHROPIC,
    operation="files",
    routes=(
        JobRoute("POST", _PATH + r"\Z", "upload", "/v1/files", queries=_BETA),
        JobRoute(
            "GET", _PATH + r"\Z", "list", "/v1/files",
            queries=frozenset({"limit", "after_id", "before_id", "page", "ids", "scope_id", "beta"}),
        ),
        JobRoute("GET", _PATH + _ID + r"\Z", "content", "/v1/files/{id}", queries=_BETA),
        JobRoute("GET", _PATH + _ID + r"/content\Z", "content", "/v1/files/{id}/content", queries=_BETA),
        JobRoute("DELETE", _PATH + _ID + r"\Z", "forget", "/v1/files/{id}", queries=_BETA),
    ),
    poll=lambda job: f"/v1/files/{job.provider_id}",
    read_end=lambda job, answer: None,
    providers=frozenset({"anthropic"}),
    owned="stored",
    first_field="",
    next_page=next_page,
    cursor="next_page",
)  # fmt: skip
