"""Gemini's files: uploaded in parts, listed, deleted, named in requests by their URIs; what work has made is downloaded.

They are free, and gone after two days (ai.google.dev/gemini-api/docs/files; google-genai 3.6 `files.py`). A client may choose a
file's name, so that it is owned as `files/…`, which nobody's id of another API can be; what work has made goes by the bare id
as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from proxy.dialects import GEMINI
from proxy.jobs.api import JobApi, JobRoute

FILE_NAME = re.compile(r"files/[A-Za-z0-9_-]{1,100}\Z")


def file_ids(name: str) -> Iterable[str]:
    """By what a file that work has made is known. name: the bare one."""
    yield name
    yield f"files/{name}"


def next_page(page: Mapping[str, Any], items: object) -> Mapping[str, str]:
    token = page.get("nextPageToken")
    return {"pageToken": token} if isinstance(token, str) and token else {}


def _name(body: Mapping[str, Any]) -> str | None:
    name = body.get("name", body.get("id"))
    return name if isinstance(name, str) and FILE_NAME.match(name) else None


_ROOT = r"/(?:v1beta|v1)"
_FILE = r"/(?P<id>files/[A-Za-z0-9_-]{1,100})\Z"

API = JobApi(
    name="gemini.files",
    family=GEMINI,
    operation="files",
    routes=(
        JobRoute("POST", rf"/upload{_ROOT}/files\Z", "resumable", "/upload/v1beta/files"),
        JobRoute(
            "GET", _ROOT + r"/files\Z", "list", "/v1beta/files", queries=frozenset({"pageSize", "pageToken"})
        ),
        JobRoute("GET", _ROOT + _FILE, "content", "/v1beta/{id}"),
        JobRoute("DELETE", _ROOT + _FILE, "forget", "/v1beta/{id}"),
        JobRoute(
            "GET", _ROOT + r"/files/(?P<id>[A-Za-z0-9_-]{1,100}):download\Z", "content",
            "/v1beta/files/{id}:download", queries=frozenset({"alt"}),
        ),
    ),
    poll=lambda job: "",
    read_end=lambda job, answer: None,
    job_id=_name,
    providers=frozenset({"google"}),
    owned="stored",
    list_of="files",
    id_of="name",
    next_page=next_page,
    cursor="nextPageToken",
)  # fmt: skip
