"""OpenAI's files, as far as batches and inputs need them. They are free; what they come to as a batch is bounded as they pass.

Types: openai SDK 3.54 `FileObject`.
"""

from __future__ import annotations

from proxy.dialects import OPENAI
from proxy.jobs.api import JobApi, JobRoute

_PATH = r"(?:/openai)?(?:/v1)?/files"
_ID = r"/(?P<id>[A-Za-z0-9_-]{1,200})"

API = JobApi(
    name="openai.files",
    family=OPENAI,
    operation="files",
    routes=(
        JobRoute("POST", _PATH + r"\Z", "upload", "/files"),
        JobRoute(
            "GET",
            _PATH + r"\Z",
            "list",
            "/files",
            queries=frozenset({"limit", "after", "order", "purpose"}),
        ),
        JobRoute("GET", _PATH + _ID + r"\Z", "content", "/files/{id}"),
        JobRoute("GET", _PATH + _ID + r"/content\Z", "content", "/files/{id}/content"),
        JobRoute("DELETE", _PATH + _ID + r"\Z", "forget", "/files/{id}"),
    ),
    poll=lambda job: f"/files/{job.provider_id}",
    read_end=lambda job, answer: None,
    owned="stored",
    of_lines=True,
)
