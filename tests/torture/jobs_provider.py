"""A fake provider of jobs, with a bill of its own: OpenAI's video, files and batches, Anthropic's batches. It shares no code with
the product.

What becomes of a job stands in its prompt, so that a test and not the proxy decides it: `end=done; after=0.2; nonce=7`.

| end | what happens | billed |
|---|---|---|
| `done` | it is done `after` seconds | seconds x rate |
| `failed`, `cancelled`, `expired` | it ends without a result | nothing |
| `refunded` | done; `later` seconds after that the money is given back | nothing, in the end |
| `forgotten` | after `after` seconds nobody knows its id any more | seconds x rate |

A line of a batch orders its own end and usage in its text (`line=ok in=100 out=20`; `line=failed`), the batch the rest in its
metadata (OpenAI) or in its first line. A batch that expires or is cancelled has answered the first `ready` lines.

The bill is a file of JSON lines, `{"nonce", "id", "usd", "why"}`, on disk before any answer that follows from it.
"""

from __future__ import annotations

import json
import re
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.http_server import Handler, serve_with_bill

PER_MILLION_USD = {"gpt-5-mini": ("0.125", "1.00"), "gpt-5": ("0.625", "5.00"), "claude-haiku-4-5": ("0.50", "2.50"),
                   "gemini-2.5-flash": ("0.15", "1.25")}  # fmt: skip
"""USD for a million tokens in a batch, in and out, by model: the half of the list price."""

RESPONSE_USD = {"gpt-5-mini": ("0.25", "2.00")}
"""USD for a million tokens of a response that is no batch's."""

VEO_USD = {"720p": Decimal("0.40"), "1080p": Decimal("0.40")}
"""USD a second of veo-3.0-generate-001, by resolution."""

RATE_USD = {"film-1": Decimal("0.50"), "film-2": Decimal("0.125")}
"""USD a second, by model."""

_LOCK = threading.Lock()


def orders_in(text: str) -> dict[str, str]:
    """What a prompt orders: `name=value` pairs."""
    return dict(re.findall(r"\b(\w+)=([\w.]+)", text))


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
        self.answered: list[dict[str, Any]] = []
        self.good: list[dict[str, Any]] = []
        self.data = ""

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
        self.files: dict[str, dict[str, Any]] = {}
        self.most_at_once = 0

    def begin(self, kind: str, body: dict[str, Any], text: str, usd: Decimal) -> Job:
        """A new job. What it will be billed is settled here, by the provider's own rule, and written down."""
        with _LOCK:
            job = Job(len(self.jobs) + 1, kind, body, text)
            self.jobs[job.id] = job
            self.write(job, usd, job.end)
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
        elif path.startswith("/responses"):
            self.background(path.split("/")[2:])
        elif path.startswith("beta/"):
            self.gemini("/" + path.partition("beta/")[2])
        elif path.startswith("/files"):
            self.files(path.split("/")[2:])
        elif path.startswith("/batches"):
            self.batches(path.split("/")[2:])
        elif path.startswith("/messages/batches"):
            self.message_batches(path.split("/")[3:])
        else:
            self.missing()

    def read_body(self) -> bytes:
        """With a length, or in chunks."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return super().read_body()
        pieces = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def missing(self) -> None:
        self.send_json({"error": {"message": "there is no such thing", "code": "not_found"}}, status=404)

    # Video

    def videos(self, rest: list[str]) -> None:
        if self.command == "POST":
            body = self.fields()
            seconds = int(body.get("seconds", "4")) * int(body.get("n", 1))
            billed = orders_in(str(body["prompt"])).get("end", "done") in ("done", "forgotten")
            usd = RATE_USD[body["model"]] * seconds if billed else Decimal(0)
            job = self.provider.begin("video", body, str(body["prompt"]), usd)
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
        told = {"running": "in_progress", "forgotten": "in_progress", "done": "completed"}.get(status, "failed")
        return {
            "id": job.id, "object": "video", "model": job.body["model"], "status": told, "progress": 0,
            "created_at": int(job.created), "seconds": str(job.body.get("seconds", "4")),
            "size": job.body.get("size", "720x1280"), "completed_at": int(job.due) if told == "completed" else None,
            "error": {"code": status, "message": status} if told == "failed" else None,
        }  # fmt: skip

    # What goes on in the background

    def background(self, rest: list[str]) -> None:
        if self.command == "POST" and not rest:
            body = json.loads(self.read_body())
            orders = orders_in(json.dumps(body["input"]))
            job = self.provider.begin("resp", body, json.dumps(body["input"]), _response_usd(body["model"], orders))
            self.send_json(self.response(job))
            return
        job = self.provider.jobs.get(rest[0])
        if job is None:
            self.missing()
            return
        if self.command == "DELETE":
            del self.provider.jobs[rest[0]]
            self.send_json({"id": job.id, "object": "response.deleted", "deleted": True})
            return
        if rest[1:] == ["cancel"]:
            job.cancelled = True
        self.send_json(self.response(job))

    def response(self, job: Job) -> dict[str, Any]:
        status = job.status()
        told = {"running": "in_progress", "done": "completed"}.get(status, status)
        given, taken = int(job.orders.get("in", "10")), int(job.orders.get("out", "5"))
        usage = {"input_tokens": given, "output_tokens": taken, "total_tokens": given + taken}
        return {"id": job.id, "object": "response", "status": told, "model": job.body["model"], "background": True,
                "created_at": int(job.created), "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                "usage": usage if told == "completed" else None}  # fmt: skip

    # Video and batches in the form of Gemini

    def gemini(self, path: str) -> None:
        model, _, action = path.removeprefix("/models/").partition(":")
        if self.command == "POST" and action == "predictLongRunning":
            body = json.loads(self.read_body())
            orders = orders_in(json.dumps(body["instances"]))
            asked = body["parameters"]
            made = asked["sampleCount"] - int(orders.get("filtered", "0")) if orders.get("end", "done") == "done" else 0
            usd = VEO_USD[asked.get("resolution", "720p")] * asked["durationSeconds"] * made
            job = self.provider.begin("operation", body | {"made": made}, json.dumps(body["instances"]), usd)
            self.send_json({"name": f"models/{model}/operations/{job.id}"})
        elif self.command == "POST" and action == "batchGenerateContent":
            body = json.loads(self.read_body())
            requests = body["batch"]["inputConfig"]["requests"]["requests"]
            lines = [
                {"custom_id": n, "body": {"model": model, "text": one["request"]}} for n, one in enumerate(requests)
            ]
            orders = orders_of(lines[0])
            text = " ".join(f"{name}={value}" for name, value in orders.items())
            job = self.provider.begin("gbatch", {"lines": lines}, text, batch_usd(lines, orders))
            self.send_json(self.gemini_batch(job))
        elif "/operations/" in path:
            job = self.provider.jobs.get(path.rpartition("/")[2])
            self.missing() if job is None else self.send_json(self.operation(path.removeprefix("/"), job))
        elif path == "/batches":
            mine = [self.gemini_batch(job) for job in list(self.provider.jobs.values()) if job.id.startswith("gbatch")]
            self.send_json({"operations": mine})
        elif path.startswith("/batches/"):
            job = self.provider.jobs.get(path.rpartition("/")[2])
            self.missing() if job is None else self.send_json(self.gemini_batch(job))
        elif path.startswith("/files/"):
            self.send(b"\x00veo" * 500, kind="video/mp4")
        else:
            self.missing()

    def operation(self, name: str, job: Job) -> dict[str, Any]:
        status = job.status()
        if status == "running":
            return {"name": name}
        if status != "done":
            return {"name": name, "done": True, "error": {"code": 3, "message": status}}
        host = "https://provider.invalid/v1beta/files"
        samples = [{"video": {"uri": f"{host}/{job.id}-{n}:download?alt=media"}} for n in range(job.body["made"])]
        return {"name": name, "done": True, "response": {"generateVideoResponse": {"generatedSamples": samples}}}

    def gemini_batch(self, job: Job) -> dict[str, Any]:
        status = job.status()
        state = {"running": "RUNNING", "done": "SUCCEEDED"}.get(status, status.upper())
        told: dict[str, Any] = {"name": f"batches/{job.id}", "metadata": {"state": f"BATCH_STATE_{state}"}}
        if status == "done":
            answers = [gemini_answer(line) for line in job.body["lines"]]
            told |= {"done": True, "response": {"inlinedResponses": {"inlinedResponses": answers}}}
        return told

    # Files and batches in OpenAI's form

    def files(self, rest: list[str]) -> None:
        known = self.provider.files
        if self.command == "POST":
            body = self.fields()
            data = body["file"].encode()
            with _LOCK:
                number = len(known) + 1
                file = {"id": f"file_{number:08d}", "object": "file", "bytes": len(data), "purpose": body["purpose"],
                        "filename": "lines.jsonl", "created_at": int(time.time()), "status": "processed"}  # fmt: skip
                known[file["id"]] = file | {"data": data}
            self.send_json(file)
        elif not rest:
            self.page([{k: v for k, v in file.items() if k != "data"} for file in known.values()])
        elif rest[0] not in known:
            self.missing()
        elif self.command == "DELETE":
            del known[rest[0]]
            self.send_json({"id": rest[0], "deleted": True, "object": "file"})
        elif rest[1:] == ["content"]:
            self.send(known[rest[0]]["data"], kind="application/octet-stream")
        else:
            self.send_json({k: v for k, v in known[rest[0]].items() if k != "data"})

    def batches(self, rest: list[str]) -> None:
        if self.command == "POST" and not rest:
            body = json.loads(self.read_body())
            lines = [
                json.loads(line) for line in self.provider.files[body["input_file_id"]]["data"].splitlines() if line
            ]
            text = " ".join(f"{name}={value}" for name, value in (body.get("metadata") or {}).items())
            job = self.provider.begin("batch", body | {"lines": lines}, text, batch_usd(lines, orders_in(text)))
            self.send_json(self.batch(job))
            return
        if not rest:
            self.page([self.batch(job) for job in list(self.provider.jobs.values()) if job.id.startswith("batch")])
            return
        job = self.provider.jobs.get(rest[0])
        if job is None or job.status() == "forgotten":
            self.missing()
            return
        if rest[1:] == ["cancel"] and job.status() == "running":
            job.cancelled = True
            self.provider.write(job, batch_usd(job.body["lines"], job.orders | {"end": "cancelled"}), "cancelled")
        self.send_json(self.batch(job))

    def batch(self, job: Job) -> dict[str, Any]:
        status = job.status()
        told = {"running": "in_progress", "done": "completed"}.get(status, status)
        if job.ended != status:  # worked out once
            job.ended = status
            job.answered = _answered(job.body["lines"], job.orders | {"end": status})
            job.good = [line for line in job.answered if orders_of(line).get("line") != "failed"]
            job.data = "".join(json.dumps(_output_line(line)) + "\n" for line in job.good)
        answered, good, output = job.answered, job.good, None
        if status != "running" and good:
            output = f"file_out_{job.id}"
            data = job.data
            self.provider.files[output] = {"id": output, "object": "file", "bytes": len(data), "purpose": "batch_output",
                                           "filename": "out.jsonl", "created_at": 0, "data": data.encode()}  # fmt: skip
        ended = int(job.due) if status != "running" else None
        return {
            "id": job.id, "object": "batch", "endpoint": job.body["endpoint"], "input_file_id": job.body["input_file_id"],
            "completion_window": "24h", "status": told, "created_at": int(job.created), "output_file_id": output,
            "error_file_id": None, f"{told}_at": ended, "metadata": job.body.get("metadata"),
            "request_counts": {"total": len(job.body["lines"]), "completed": len(good) if ended else 0,
                               "failed": len(answered) - len(good) if ended else 0},
        }  # fmt: skip

    # Batches in Anthropic's form

    def message_batches(self, rest: list[str]) -> None:
        if self.command == "POST" and not rest:
            requests = json.loads(self.read_body())["requests"]
            lines = [{"custom_id": one["custom_id"], "body": one["params"]} for one in requests]
            orders = orders_of(lines[0])
            text = " ".join(f"{name}={value}" for name, value in orders.items())
            job = self.provider.begin("msgbatch", {"lines": lines}, text, batch_usd(lines, orders))
            self.send_json(self.message_batch(job))
            return
        if not rest:
            mine = [
                self.message_batch(job) for job in list(self.provider.jobs.values()) if job.id.startswith("msgbatch")
            ]
            self.send_json({"data": mine, "has_more": False, "first_id": None, "last_id": None})
            return
        job = self.provider.jobs.get(rest[0])
        if job is None or job.status() == "forgotten":
            self.missing()
        elif self.command == "DELETE":
            job.deleted = True
            self.send_json({"id": job.id, "type": "message_batch_deleted"})
        elif rest[1:] == ["results"]:
            answered = _answered(job.body["lines"], job.orders | {"end": job.status()})
            self.send("".join(json.dumps(_result(line, line in answered)) + "\n" for line in job.body["lines"]).encode(),
                      kind="application/binary")  # fmt: skip
        else:
            if rest[1:] == ["cancel"] and job.status() == "running":
                job.cancelled = True
                self.provider.write(job, batch_usd(job.body["lines"], job.orders | {"end": "cancelled"}), "cancelled")
            self.send_json(self.message_batch(job))

    def message_batch(self, job: Job) -> dict[str, Any]:
        status, lines = job.status(), job.body["lines"]
        answered = _answered(lines, job.orders | {"end": status}) if status != "running" else []
        failed = [line for line in answered if orders_of(line).get("line") == "failed"]
        left = len(lines) - len(answered) if status != "running" else 0
        host = "https://provider.invalid"  # as the real one names its own
        return {
            "id": job.id, "type": "message_batch", "processing_status": "in_progress" if status == "running" else "ended",
            "request_counts": {"processing": len(lines) if status == "running" else 0, "errored": len(failed),
                               "succeeded": len(answered) - len(failed), "canceled": left if status == "cancelled" else 0,
                               "expired": left if status == "expired" else 0},
            "created_at": _rfc3339(job.created), "expires_at": _rfc3339(job.created + 86400), "archived_at": None,
            "cancel_initiated_at": None, "ended_at": None if status == "running" else _rfc3339(job.due),
            "results_url": None if status == "running" else f"{host}/v1/messages/batches/{job.id}/results",
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
        boundary = raw.partition(b"\r\n")[0]
        found = {}
        for piece in raw.split(boundary)[1:-1]:
            head, _, data = piece.partition(b"\r\n\r\n")
            name = re.search(rb'name="(\w+)"', head)
            assert name is not None
            found[name[1].decode()] = data.removesuffix(b"\r\n").decode()
        return found


def orders_of(line: dict[str, Any]) -> dict[str, str]:
    return orders_in(json.dumps(line["body"]))


def _answered(lines: list[dict[str, Any]], orders: dict[str, str]) -> list[dict[str, Any]]:
    """The lines that a batch with this end has answered."""
    end = orders.get("end", "done")
    if end in ("failed", "running"):
        return []
    return lines[: int(orders.get("ready", "0"))] if end in ("expired", "cancelled") else lines


def _tokens(line: dict[str, Any]) -> tuple[int, int]:
    orders = orders_of(line)
    return int(orders.get("in", "10")), int(orders.get("out", "5"))


def batch_usd(lines: list[dict[str, Any]], orders: dict[str, str]) -> Decimal:
    """What the answered lines come to, to the nano-dollar."""
    total = Decimal(0)
    for line in _answered(lines, orders):
        if orders_of(line).get("line") != "failed":
            given, taken = _tokens(line)
            in_usd, out_usd = PER_MILLION_USD[line["body"]["model"]]
            total += (given * Decimal(in_usd) + taken * Decimal(out_usd)) / 1_000_000
    return total.quantize(Decimal("1e-9"))


def _response_usd(model: str, orders: dict[str, str]) -> Decimal:
    if orders.get("end", "done") != "done":
        return Decimal(0)
    in_usd, out_usd = RESPONSE_USD[model]
    given, taken = int(orders.get("in", "10")), int(orders.get("out", "5"))
    return (given * Decimal(in_usd) + taken * Decimal(out_usd)) / 1_000_000


def gemini_answer(line: dict[str, Any]) -> dict[str, Any]:
    given, taken = _tokens(line)
    if orders_of(line).get("line") == "failed":
        return {"error": {"code": 3, "message": "no"}}
    usage = {"promptTokenCount": given, "candidatesTokenCount": taken, "totalTokenCount": given + taken}
    content = {"role": "model", "parts": [{"text": "ok"}]}
    return {
        "response": {
            "candidates": [{"content": content}],
            "usageMetadata": usage,
            "modelVersion": line["body"]["model"],
        }
    }


def _output_line(line: dict[str, Any]) -> dict[str, Any]:
    given, taken = _tokens(line)
    body: dict[str, Any] = {"id": "r", "model": line["body"]["model"]}
    if line["url"] == "/v1/responses":
        body |= {"object": "response", "status": "completed", "output": [],
                 "usage": {"input_tokens": given, "output_tokens": taken, "total_tokens": given + taken}}  # fmt: skip
    else:
        body |= {"object": "chat.completion", "choices": [],
                 "usage": {"prompt_tokens": given, "completion_tokens": taken, "total_tokens": given + taken}}  # fmt: skip
    return {"id": "l", "custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}


def _result(line: dict[str, Any], answered: bool) -> dict[str, Any]:
    given, taken = _tokens(line)
    result: dict[str, Any] = {"type": "expired"}
    if answered and orders_of(line).get("line") == "failed":
        result = {"type": "errored", "error": {"type": "error", "error": {"type": "api_error", "message": "no"}}}
    elif answered:
        message = {"id": "m", "type": "message", "role": "assistant", "model": line["body"]["model"], "content": [],
                   "stop_reason": "end_turn", "usage": {"input_tokens": given, "output_tokens": taken}}  # fmt: skip
        result = {"type": "succeeded", "message": message}
    return {"custom_id": line["custom_id"], "result": result}


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


if __name__ == "__main__":
    serve_with_bill(Requests, "provider", Provider)
