"""A fake provider of jobs, with a bill of its own: video in OpenAI's form. It shares no code with the product.

What becomes of a job stands in its prompt, so that a test and not the proxy decides it: `end=done; after=0.2; nonce=7`.

| end | what happens | billed |
|---|---|---|
| `done` | it is done `after` seconds | seconds x rate |
| `failed`, `cancelled`, `expired` | it ends without a result | nothing |
| `refunded` | done; `later` seconds after that the money is given back | nothing, in the end |
| `forgotten` | after `after` seconds nobody knows its id any more | seconds x rate |

The bill is a file of JSON lines, `{"nonce", "id", "usd", "why"}`, on disk before any answer that follows from it.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from decimal import Decimal
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.http_server import Handler

RATE_USD = {"film-1": Decimal("0.50"), "film-2": Decimal("0.125")}
"""USD a second, by model."""

_LOCK = threading.Lock()


def orders_in(text: str) -> dict[str, str]:
    """What a prompt orders: `name=value` pairs."""
    return dict(re.findall(r"(\w+)=([\w.]+)", text))


class Job:
    """One job and what was ordered for it."""

    def __init__(self, number: int, kind: str, body: dict[str, Any], text: str) -> None:
        self.id = f"{kind}_{number:08d}"
        self.body = body
        self.orders = orders_in(text)
        self.end = self.orders.get("end", "done")
        self.created = time.time()
        self.due = self.created + float(self.orders.get("after", "0"))
        self.cancelled = False
        self.deleted = False
        self.ended: str | None = None

    @property
    def nonce(self) -> str:
        return self.orders.get("nonce", "")

    def status(self) -> str:
        """running, done, failed, cancelled, expired, forgotten or refunded."""
        if self.deleted:
            return "forgotten"
        if self.cancelled:
            return "cancelled"
        if time.time() < self.due:
            return "running"
        if self.end == "refunded":
            return "refunded" if time.time() >= self.due + float(self.orders.get("later", "0")) else "done"
        return self.end


class Provider:
    """All that the provider knows, in memory, and its bill on disk."""

    def __init__(self, bill: Path) -> None:
        self.bill = bill.open("a", encoding="utf-8")
        self.jobs: dict[str, Job] = {}
        self.requests: dict[str, int] = {}

    def begin(self, kind: str, body: dict[str, Any], text: str, usd: Decimal) -> Job:
        """A new job. What it will be billed is settled here, by the provider's own rule, and written down."""
        with _LOCK:
            job = Job(len(self.jobs) + 1, kind, body, text)
            self.jobs[job.id] = job
            billed = usd if job.end in ("done", "forgotten") else Decimal(0)
            self.write(job, billed, job.end)
        return job

    def write(self, job: Job, usd: Decimal, why: str) -> None:
        self.bill.write(json.dumps({"nonce": job.nonce, "id": job.id, "usd": str(usd), "why": why}) + "\n")
        self.bill.flush()


class Requests(Handler):
    provider: Provider

    def answer_request(self) -> None:
        path, provider = urlsplit(self.path).path.removeprefix("/v1"), self.provider
        with _LOCK:
            key = f"{self.command} {re.sub(r'_[0-9]+', '_N', path)}"
            provider.requests[key] = provider.requests.get(key, 0) + 1
        if path == "/requests":
            self.send_json(provider.requests)
        elif path.startswith("/videos"):
            self.videos(path.split("/")[2:])
        else:
            self.missing()

    def missing(self) -> None:
        self.send_json({"error": {"message": "there is no such thing", "code": "not_found"}}, status=404)

    # Video

    def videos(self, rest: list[str]) -> None:
        if self.command == "POST":
            body = self.fields()
            seconds = int(body.get("seconds", "4")) * int(body.get("n", 1))
            job = self.provider.begin("video", body, str(body["prompt"]), RATE_USD[body["model"]] * seconds)
            self.send_json(self.video(job))
            return
        if not rest:
            mine = [self.video(job) for job in list(self.provider.jobs.values()) if job.id.startswith("video")]
            self.page(mine)
            return
        job = self.provider.jobs.get(rest[0])
        if job is None or job.status() == "forgotten":
            self.missing()
        elif self.command == "DELETE":
            job.deleted = True
            self.send_json({"id": job.id, "deleted": True, "object": "video.deleted"})
        elif rest[1:] == ["content"]:
            self.send(b"\x00film" * 1000, kind="video/mp4")
        else:
            self.send_json(self.video(job))

    def video(self, job: Job) -> dict[str, Any]:
        status = job.status()
        told = {"running": "in_progress", "done": "completed", "refunded": "completed"}.get(status, "failed")
        return {
            "id": job.id, "object": "video", "model": job.body["model"], "status": told, "progress": 0,
            "created_at": int(job.created), "seconds": str(job.body.get("seconds", "4")),
            "size": job.body.get("size", "720x1280"), "completed_at": int(job.due) if told == "completed" else None,
            "error": {"code": status, "message": status} if told == "failed" else None,
        }  # fmt: skip

    def page(self, items: list[dict[str, Any]]) -> None:
        """OpenAI's paging, the newest first."""
        query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        items.reverse()
        ids = [item["id"] for item in items]
        start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
        some = items[start : start + int(query.get("limit", 20))]
        self.send_json({
            "object": "list", "data": some, "has_more": start + len(some) < len(items),
            "first_id": some[0]["id"] if some else None, "last_id": some[-1]["id"] if some else None,
        })  # fmt: skip

    def fields(self) -> dict[str, Any]:
        """A JSON body, or the plain fields of a form."""
        raw = self.read_body()
        if not raw.startswith(b"--"):
            return dict(json.loads(raw))
        found = re.findall(rb'name="(\w+)"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', raw, re.DOTALL)
        return {name.decode(): value.decode() for name, value in found}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bill", type=Path, required=True)
    given = parser.parse_args()
    handler = type("Bound", (Requests,), {"provider": Provider(given.bill)})
    server = ThreadingHTTPServer(("127.0.0.1", given.port), handler)
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
