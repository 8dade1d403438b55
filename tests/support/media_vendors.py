"""Fake Replicate, fal and Luma, each under its own path (`/replicate/v1/…`, `/fal/…`, `/luma/dream-machine/v1/…`), with a bill
of its own. It shares no code with the product.

What becomes of a job stands in its prompt: `nonce=7 end=done after=0.2`. Ends: `done`, `failed`, `aborted` (Replicate: never
ran), `rejected` (fal: 422, with units where `units=` orders some). `units=` is what fal's header counts; `gpu=` the seconds that
Replicate's hardware ran. Each vendor takes its own key alone, in its own scheme: any other is noted as a leak.

The bill is a file of JSON lines, `{"nonce", "usd", "why"}`, on disk before any answer that follows from it.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.http_server import Handler, serve_with_bill

KEYS = {"replicate": "Bearer r8-real-replicate", "fal": "Key fal-real-0001:secret", "luma": "Bearer luma-real-0001"}

IMAGE_USD = {"black-forest-labs/flux-schnell": Decimal("0.003"), "photon-1": Decimal("0.0073")}
GPU_SECOND_USD = {
    "acme/by-hardware": Decimal("0.000225"),
    "acme/upscaler": Decimal("0.000975"),
    "a" * 64: Decimal("0.0014"),
    "deployments/acme/mine": Decimal("0.001525"),
}
TOKEN_USD = {
    "meta/llama-3-8b-instruct": (Decimal("0.05"), Decimal("0.25")),
    "openai/gpt-5-nano": (Decimal("0.05"), Decimal("0.40")),
}
VIDEO_SECOND_USD = {
    ("ray-2", "720p"): Decimal(1280 * 720 * 24) * Decimal("0.0064") / 1_000_000,
    ("ray-2", "540p"): Decimal(960 * 540 * 24) * Decimal("0.0064") / 1_000_000,
    ("acme/film", ""): Decimal("0.5"),
}
FAL_UNIT_USD = {"fal-ai/flux/schnell": Decimal("0.003"), "acme/pixels": Decimal("0.025"), "acme/film/pro": Decimal("0.5"),
                "acme/per-call": Decimal("0.2")}  # fmt: skip

_LOCK = threading.Lock()


def orders_in(value: Any) -> dict[str, str]:
    """`name=value` pairs in the texts of a request."""
    return dict(re.findall(r"\b(\w+)=([\w.-]+)", json.dumps(value)))


class Job:
    def __init__(self, job_id: str, model: str, body: dict[str, Any]) -> None:
        self.id, self.model, self.body = job_id, model, body
        self.orders = orders_in(body)
        self.created = time.time()
        self.due = self.created + float(self.orders.get("after", "0"))
        self.cancelled = False

    @property
    def running(self) -> bool:
        return not self.cancelled and time.time() < self.due

    @property
    def end(self) -> str:
        return "cancelled" if self.cancelled else self.orders.get("end", "done")


class Vendors:
    """All that they know, in memory, and their bill on disk. seen: requests, by method and path. leaks: keys of others."""

    def __init__(self, bill: Path) -> None:
        self.bill = bill.open("a", encoding="utf-8")
        self.jobs: dict[str, Job] = {}
        self.numbers = itertools.count(1)
        self.files: dict[str, dict[str, Any]] = {}
        self.seen: list[dict[str, Any]] = []
        self.leaks: list[str] = []

    def begin(self, prefix: str, model: str, body: dict[str, Any], rate: Callable[[Job], Decimal]) -> Job:
        with _LOCK:
            job = Job(f"{prefix}{next(self.numbers):022d}", model, body)
            self.jobs[job.id] = job
            self.write(job, rate(job), job.end)
        return job

    def write(self, job: Job, usd: Decimal, why: str) -> None:
        self.bill.write(json.dumps({"nonce": job.orders.get("nonce", ""), "usd": str(usd), "why": why}) + "\n")
        self.bill.flush()


class Requests(Handler):
    vendors: Vendors

    do_PUT = do_PATCH = Handler.do_POST  # noqa: N815 - the base class's naming

    def answer_request(self) -> None:
        url = urlsplit(self.path)
        _, vendor, *rest = url.path.split("/")
        if url.path == "/seen":
            self.send_json({"seen": self.vendors.seen, "leaks": self.vendors.leaks})
            return
        key = self.headers.get("authorization", "")
        with _LOCK:
            self.vendors.seen.append({
                "method": self.command, "path": url.path, "query": url.query,
                "headers": {name.lower(): value for name, value in self.headers.items() if name.lower() != "authorization"},
            })  # fmt: skip
            if key != KEYS.get(vendor):
                self.vendors.leaks.append(key)
        if key != KEYS.get(vendor):
            self.send_json({"detail": f"no such key: {key}"}, status=401)
        else:
            getattr(self, vendor)(rest)

    def missing(self) -> None:
        self.send_json({"detail": "Not found"}, status=404)

    def host(self, vendor: str) -> str:
        """URLs in answers name a host of the vendor's own, where nobody is."""
        return f"https://{vendor}.invalid"

    # Replicate

    def replicate(self, rest: list[str]) -> None:
        assert rest[0] == "v1", rest
        rest = rest[1:]
        if self.command == "POST" and rest[-1:] == ["predictions"]:
            body = self.read_json()
            model = (
                "/".join(rest[1:3]) if rest[0] == "models" else "/".join(rest[:3]) if len(rest) > 1 else body["version"]
            )
            self.replicate_create(model, body)
        elif rest == ["predictions"]:
            mine = [self.prediction(job, whole=False) for job in self.vendors.jobs.values() if job.id.startswith("rep")]
            start = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
            more = f"https://replicate.invalid/v1/predictions?cursor={start + 100}" if len(mine) > start + 100 else None
            self.send_json({"previous": None, "next": more, "results": mine[::-1][start : start + 100]})
        elif rest[0] == "predictions" and rest[1] in self.vendors.jobs:
            job = self.vendors.jobs[rest[1]]
            if rest[2:] == ["cancel"] and job.running:
                job.cancelled = True
                self.vendors.write(job, self.ran(job), "cancelled")
            self.send_json(self.prediction(job))
        elif rest[0] == "files":
            self.replicate_files(rest[1:])
        elif rest[0] in ("models", "hardware", "collections"):
            name = {"owner": rest[1], "name": rest[2]} if len(rest) > 2 else {}
            self.send_json({"url": self.host("replicate"), "results": [], "next": None, "previous": None, **name})
        else:
            self.missing()

    def replicate_create(self, model: str, body: dict[str, Any]) -> None:
        if not isinstance(body.get("input"), dict):
            self.send_json(
                {"title": "Input validation failed", "detail": "- input is required", "status": 422}, status=422
            )
            return
        job = self.vendors.begin("rep", model, body, self.replicate_usd)
        wait = self.headers.get("prefer", "")
        if wait.startswith("wait"):
            time.sleep(min(max(0.0, job.due - time.time()), float(wait.partition("=")[2] or "60")))
        self.send_json(self.prediction(job), status=201)

    def replicate_usd(self, job: Job) -> Decimal:
        given = job.body["input"]
        if job.model in GPU_SECOND_USD:  # in runs that failed, too
            return Decimal(0) if job.end == "aborted" else self.ran(job)
        if job.end != "done":
            return Decimal(0)
        if job.model in TOKEN_USD:
            tokens = int(job.orders.get("in", "10")), int(job.orders.get("out", "5"))
            return (
                sum((count * usd for count, usd in zip(tokens, TOKEN_USD[job.model], strict=True)), Decimal(0))
                / 1_000_000
            )
        if (job.model, "") in VIDEO_SECOND_USD:
            return VIDEO_SECOND_USD[job.model, ""] * int(given["duration"])
        return IMAGE_USD[job.model] * int(given.get("num_outputs", 1))

    def ran(self, job: Job) -> Decimal:
        """What the time on its hardware costs."""
        return GPU_SECOND_USD.get(job.model, Decimal(0)) * Decimal(job.orders.get("gpu", "2.5"))

    def prediction(self, job: Job, *, whole: bool = True) -> dict[str, Any]:
        given, host = job.body["input"], self.host("replicate")
        end = {"done": "succeeded", "cancelled": "canceled"}.get(job.end, job.end)
        told = {
            "id": job.id, "model": job.model if "/" in job.model else "acme/of-a-version", "version": "hidden",
            "status": "processing" if job.running else end, "created_at": "2026-11-29T06:00:00.0Z", "error": None,
            "source": "api", "data_removed": False,
            "urls": {"get": f"{host}/v1/predictions/{job.id}", "cancel": f"{host}/v1/predictions/{job.id}/cancel",
                     "stream": f"https://stream.replicate.invalid/v1/files/{job.id}", "web": f"{host}/p/{job.id}"},
        }  # fmt: skip
        if not whole:
            return told
        metrics: dict[str, Any] = {}
        output: Any = None
        if not job.running and end != "aborted":
            metrics = {"predict_time": float(job.orders.get("gpu", "2.5")), "total_time": 3.25}
        if not job.running and end == "succeeded":
            output = [f"https://delivery.replicate.invalid/{n}.png" for n in range(int(given.get("num_outputs", 1)))]
            if job.model in TOKEN_USD:
                output = ["a", "b"]
                metrics |= {"input_token_count": int(job.orders.get("in", "10")),
                            "output_token_count": int(job.orders.get("out", "5"))}  # fmt: skip
            elif (job.model, "") in VIDEO_SECOND_USD:
                output = "https://delivery.replicate.invalid/film.mp4"
                metrics |= {"video_output_duration_seconds": float(given["duration"])}
            elif job.model in IMAGE_USD:
                metrics |= {"image_count": int(given.get("num_outputs", 1))}
        return told | {
            "input": given, "output": output, "logs": "", "metrics": metrics or None, "started_at": None,
            "error": "it failed" if end == "failed" and not job.running else None,
            "completed_at": None if job.running else "2026-11-29T06:00:02.5Z",
        }  # fmt: skip

    def replicate_files(self, rest: list[str]) -> None:
        known = self.vendors.files
        if self.command == "POST":
            data = self.chunked() if "chunked" in self.headers.get("transfer-encoding", "") else self.read_body()
            file_id = f"file{len(known) + 1:020d}"
            known[file_id] = {"id": file_id, "name": "cat.png", "content_type": "image/png", "size": len(data), "etag": "e",
                              "checksums": {}, "metadata": {}, "created_at": "2026-11-29T06:00:00Z", "expires_at": None,
                              "urls": {"get": f"https://api.replicate.com/v1/files/{file_id}"}}  # fmt: skip
            self.send_json(known[file_id], status=201)
        elif not rest:
            self.send_json({"previous": None, "next": None, "results": list(known.values())})
        elif rest[0] not in known:
            self.missing()
        elif self.command == "DELETE":
            del known[rest[0]]
            self.send(b"", status=204)
        else:
            self.send_json(known[rest[0]])

    def chunked(self) -> bytes:
        pieces = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    # fal

    def fal(self, rest: list[str]) -> None:
        if "requests" in rest:
            at = rest.index("requests")
            job = self.vendors.jobs.get(rest[at + 1])
            if job is None or at != 2 or not job.model.startswith("/".join(rest[:2])):
                self.missing()
            else:
                self.fal_request(job, rest[at + 2 :])
        elif rest[0] == "run":  # the other host's paths
            job = self.vendors.begin("run", "/".join(rest[1:]), self.read_json(), self.fal_usd)
            self.fal_result(job)
        else:
            job = self.vendors.begin("fal", "/".join(rest), self.read_json(), self.fal_usd)
            own = f"{self.host('queue')}/{'/'.join(rest[:2])}/requests/{job.id}"
            self.send_json({"request_id": job.id, "status": "IN_QUEUE", "queue_position": 0, "response_url": own,
                            "status_url": f"{own}/status", "cancel_url": f"{own}/cancel"})  # fmt: skip

    def fal_units(self, job: Job) -> Decimal | None:
        """What the header counts; None: there is none."""
        if "units" in job.orders:
            return Decimal(job.orders["units"])
        if job.end != "done" or job.orders.get("header") == "no":
            return None
        if job.model == "acme/film/pro":
            return Decimal(str(job.body["duration"]).rstrip("s"))
        return Decimal(job.body.get("num_images", 1))

    def fal_usd(self, job: Job) -> Decimal:
        if job.end == "done" and job.orders.get("header") == "no":
            return FAL_UNIT_USD[job.model] * int(job.body.get("num_images", 1))
        return FAL_UNIT_USD[job.model] * (self.fal_units(job) or 0)

    def fal_request(self, job: Job, rest: list[str]) -> None:
        own = f"{self.host('queue')}/{'/'.join(job.model.split('/')[:2])}/requests/{job.id}"
        if rest == ["cancel"]:
            if not job.running:
                self.send_json({"status": "ALREADY_COMPLETED"}, status=400)
                return
            job.cancelled = True
            if "vanishes" in job.orders:  # the model went on, and its request is forgotten
                del self.vendors.jobs[job.id]
            else:
                self.vendors.write(job, Decimal(0), "cancelled")
            self.send_json({"status": "CANCELLATION_REQUESTED"}, status=202)
        elif rest == ["status"]:
            told = {
                "request_id": job.id,
                "response_url": own,
                "status_url": f"{own}/status",
                "cancel_url": f"{own}/cancel",
            }
            if job.running:
                self.send_json(told | {"status": "IN_PROGRESS", "logs": None}, status=202)
            else:
                self.send_json(told | {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": 1.5}})
        elif not rest and job.running:
            self.send_json({"detail": "Request is still in progress"}, status=400)
        elif not rest:
            self.fal_result(job)
        else:
            self.missing()

    def fal_result(self, job: Job) -> None:
        units = self.fal_units(job)
        headers = {"x_fal_request_id": job.id} | ({} if units is None else {"x_fal_billable_units": str(units)})
        status = {"done": 200, "failed": 500}.get(job.end, 422)
        told: dict[str, Any] = {"detail": [{"msg": job.end, "type": "value_error", "loc": ["body"]}]}
        if status == 200 and job.model == "acme/film/pro":
            told = {"video": {"url": "https://v3.fal.invalid/film.mp4", "content_type": "video/mp4"}}
        elif status == 200:
            image = {"url": "https://v3.fal.invalid/1.png", "width": 1024, "height": 768, "content_type": "image/png"}
            told = {"images": [image] * int(job.body.get("num_images", 1)), "seed": 7, "prompt": job.body["prompt"]}
        self.send(json.dumps(told).encode(), status=status, **headers)

    # Luma

    def luma(self, rest: list[str]) -> None:
        if rest[0] == "v1":
            self.luma_agents(rest[1:])
            return
        assert rest[:2] == ["dream-machine", "v1"], rest
        rest = rest[2:]
        if self.command == "POST":
            body = json.loads(self.read_body() or b"{}")
            model = body.get("model", "ray-2" if "image" not in rest else "photon-1")
            if rest[-1] in ("upscale", "audio", "reframe", "modify"):
                body["kind"] = rest[-1]
            job = self.vendors.begin("luma", model, body, self.luma_usd)
            if body.get("sync"):
                time.sleep(max(0.0, job.due - time.time()))
            self.send_json(self.generation(job), status=201)
        elif rest == ["generations"]:
            query = {name: int(values[-1]) for name, values in parse_qs(urlsplit(self.path).query).items()}
            limit, offset = query.get("limit", 10), query.get("offset", 0)
            mine = [self.generation(job) for job in self.vendors.jobs.values() if job.id.startswith("luma")][::-1]
            self.send_json({"generations": mine[offset : offset + limit], "count": len(mine), "limit": limit, "offset": offset,
                            "has_more": offset + limit < len(mine)})  # fmt: skip
        elif rest == ["ping"]:
            self.send_json({"message": "pong"})
        elif rest == ["generations", "concepts", "list"]:
            self.send_json(["dolly_zoom", "crash_zoom"])
        elif rest[0] == "generations" and rest[1] in self.vendors.jobs:
            if self.command == "DELETE":
                del self.vendors.jobs[rest[1]]
                self.send(b"", status=204)
            else:
                self.send_json(self.generation(self.vendors.jobs[rest[1]]))
        else:
            self.missing()

    def luma_agents(self, rest: list[str]) -> None:
        """The newer API: images by what is sent along, films by the second."""
        if self.command == "POST":
            body = json.loads(self.read_body())
            job = self.vendors.begin("lumaagents", body["model"], body, self.luma_agents_usd)
        else:
            job = self.vendors.jobs[rest[1]]
        done = not job.running and job.end == "done"
        self.send_json({
            "id": job.id, "model": job.model, "type": job.body.get("type", "image"), "created_at": "2026-11-29T06:00:00Z",
            "state": "processing" if job.running else "completed" if done else "failed",
            "output": [{"type": "image", "url": f"https://storage.luma.invalid/{job.id}"}] if done else None,
        })  # fmt: skip

    def luma_agents_usd(self, job: Job) -> Decimal:
        if job.end != "done":
            return Decimal(0)
        if "video" in job.body:
            return Decimal("0.20") * int(job.body["video"]["duration"].rstrip("s"))
        sent = len(job.body.get("image_ref", [])) + ("source" in job.body)
        return {"uni-1": Decimal("0.0404"), "uni-1-max": Decimal("0.1")}[job.model] + sent * Decimal("0.003")

    def luma_usd(self, job: Job) -> Decimal:
        if job.end != "done":
            return Decimal(0)
        if "kind" in job.body:
            return Decimal("0.25")
        if job.model.startswith("photon"):
            return IMAGE_USD[job.model]
        rate = VIDEO_SECOND_USD[job.model, job.body.get("resolution", "720p")]
        return rate * int(job.body.get("duration", "5s").rstrip("s"))

    def generation(self, job: Job) -> dict[str, Any]:
        kind = "image" if job.model.startswith("photon") else "video"
        state = "dreaming" if job.running else {"done": "completed"}.get(job.end, "failed")
        assets = {kind: f"https://storage.luma.invalid/{job.id}"} if state == "completed" else None
        request = {"generation_type": kind, **{name: value for name, value in job.body.items() if name != "kind"}}
        return {"id": job.id, "generation_type": kind, "state": state, "failure_reason": "moderation" if state == "failed" else None,
                "created_at": "2026-11-29T06:00:00Z", "assets": assets, "model": job.model, "request": request}  # fmt: skip


if __name__ == "__main__":
    serve_with_bill(Requests, "vendors", Vendors)
