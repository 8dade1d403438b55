"""A fake of Gemini's and Anthropic's files, and of Gemini's batches from files, with the bill of `tests/torture/jobs_provider.py`.

Uploads are resumable as Google's are: begun, then sent in parts of multiples of 256 KiB to a URL that carries its own secret,
each where the last one ended. A line of a batch orders its own usage in its text (`in=100 out=20`; `line=failed`), the batch
the rest in its first line. It shares no code with the product.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.http_server import serve_with_bill
from tests.torture.jobs_provider import Provider, Requests, batch_usd, gemini_answer, orders_of

GRANULARITY = 256 * 1024
_LOCK = threading.Lock()


class Files(Requests):
    uploads: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - one provider in a process
    stored: dict[str, dict[str, Any]] = {}  # noqa: RUF012

    def answer_request(self) -> None:
        parts = urlsplit(self.path)
        path = parts.path
        if path.startswith("/upload/"):
            self.upload(path, parse_qs(parts.query))
        elif path.startswith(("/v1beta/files", "/v1/files")) and "anthropic-version" not in self.headers:
            self.gemini_files(path.partition("/files")[2])
        elif path.startswith("/v1/files"):
            self.anthropic_files(path.removeprefix("/v1/files"))
        elif path.startswith("/v1/messages") and not path.startswith("/v1/messages/batches"):
            self.message()
        elif path.endswith((":generateContent", ":countTokens")):
            self.generate(path)
        else:
            super().answer_request()

    # Gemini

    def upload(self, path: str, query: dict[str, list[str]]) -> None:
        command = self.headers.get("x-goog-upload-command", "")
        if "upload_id" not in query:
            assert self.headers["x-goog-api-key"] == "sk-real-google", self.headers
            body = json.loads(self.read_body())
            upload_id = secrets.token_hex(8)
            self.uploads[upload_id] = {
                "file": body.get("file", {}), "data": b"", "size": int(self.headers["x-goog-upload-header-content-length"]),
                "type": self.headers["x-goog-upload-header-content-type"],
            }  # fmt: skip
            url = f"https://generativelanguage.googleapis.com{path}?upload_id={upload_id}&upload_protocol=resumable"
            self.send(b"", x_goog_upload_url=url, x_goog_upload_status="active",
                      x_goog_upload_chunk_granularity=str(GRANULARITY))  # fmt: skip
            return
        upload, data = self.uploads.get(query["upload_id"][0]), self.read_body()
        if upload is None:
            self.missing()
            return
        final = command == "upload, finalize"
        if final and (file := upload.get("made")) is not None:  # said again, it is answered again
            self.send(json.dumps({"file": told(file)}).encode(), x_goog_upload_status="final")
            return
        if int(self.headers["x-goog-upload-offset"]) != len(upload["data"]) or (not final and len(data) % GRANULARITY):
            self.send_json({"error": {"code": 400, "message": "not where the last part ended"}}, status=400)
            return
        upload["data"] += data
        if not final:
            self.send(b"", x_goog_upload_status="active")
            return
        assert len(upload["data"]) == upload["size"], "a whole file"
        with _LOCK:
            name = upload["file"].get("name") or f"files/f{len(self.stored) + 1:07d}"
            self.stored[name] = {
                "name": name, "displayName": upload["file"].get("displayName") or upload["file"].get("display_name", ""),
                "mimeType": upload["type"], "sizeBytes": str(len(upload["data"])), "state": "ACTIVE", "source": "UPLOADED",
                "uri": f"https://generativelanguage.googleapis.com/v1beta/{name}", "data": upload["data"],
                "sha256Hash": base64.b64encode(hashlib.sha256(upload["data"]).hexdigest().encode()).decode(),
                "createTime": f"2026-11-29T12:00:00.{len(self.uploads):06d}Z",
            }  # fmt: skip
            upload["made"] = self.stored[name]
        self.send(json.dumps({"file": told(self.stored[name])}).encode(), x_goog_upload_status="final")

    def gemini_files(self, rest: str) -> None:
        name = f"files{rest.removesuffix(':download')}"
        if not rest:
            self.send_json({"files": [told(file) for name, file in self.stored.items() if name.startswith("files/")]})
        elif name not in self.stored:
            self.missing()
        elif self.command == "DELETE":
            del self.stored[name]
            self.send_json({})
        elif rest.endswith(":download"):
            file = self.stored[name]
            if file["source"] == "UPLOADED":
                self.send_json({"error": {"code": 400, "message": "only what was made can be downloaded"}}, status=400)
            else:
                self.send(file["data"], kind="application/jsonl")
        else:
            self.send_json(told(self.stored[name]))

    def gemini(self, path: str) -> None:
        model, _, action = path.removeprefix("/models/").partition(":")
        if action != "batchGenerateContent":
            super().gemini(path)
            return
        raw = self.read_body()
        source = json.loads(raw)["batch"]["inputConfig"]
        if "fileName" in source:
            rows = [json.loads(line) for line in self.stored[source["fileName"]]["data"].splitlines() if line.strip()]
        else:
            rows = source["requests"]["requests"]
        lines = [{"custom_id": row.get("key"), "body": {"model": model, "text": row["request"]}} for row in rows]
        orders = orders_of(lines[0])
        text = " ".join(f"{name}={value}" for name, value in orders.items())
        body = {
            "lines": lines,
            "from_file": "fileName" in source,
            "webhook": json.loads(raw)["batch"].get("webhookConfig"),
        }
        job = self.provider.begin("gbatch", body, text, batch_usd(lines, orders))
        self.send_json(self.gemini_batch(job))

    def gemini_batch(self, job: Any) -> dict[str, Any]:
        if not job.body.get("from_file") or job.status() != "done":
            return super().gemini_batch(job)
        lines = job.body["lines"]
        name = f"files/batch-{job.id}"
        answers = [{"key": line["custom_id"]} | gemini_answer(line) for line in lines]
        self.stored.setdefault(name, {
            "name": name, "source": "GENERATED", "data": "".join(json.dumps(one) + "\n" for one in answers).encode(),
        })  # fmt: skip
        good = sum("response" in one for one in answers)
        return {
            "name": f"batches/{job.id}", "done": True, "response": {"responsesFile": name},
            "metadata": {"state": "BATCH_STATE_SUCCEEDED", "output": {"responsesFile": name},
                         "batchStats": {"requestCount": str(len(lines)), "successfulRequestCount": str(good)}},
        }  # fmt: skip

    def generate(self, path: str) -> None:
        """Says how many bytes of files it was asked about."""
        text = self.read_body().decode()
        named = [file for name, file in self.stored.items() if f"/v1beta/{name}" in text]
        tokens = 100 + sum(len(file["data"]) for file in named)
        if path.endswith(":countTokens"):
            self.send_json({"totalTokens": tokens})
            return
        usage = {"promptTokenCount": tokens, "candidatesTokenCount": 10, "totalTokenCount": tokens + 10}
        content = {"role": "model", "parts": [{"text": "ok"}]}
        self.send_json({
            "candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage,
            "modelVersion": "gemini-2.5-flash",
        })  # fmt: skip

    # Anthropic

    def anthropic_files(self, rest: str) -> None:
        file_id = rest.strip("/").partition("/")[0]
        if self.command == "POST":
            data = self.fields()["file"].encode()
            with _LOCK:
                file_id = f"file_{len(self.stored) + 1:024d}"
                self.stored[file_id] = {
                    "id": file_id, "type": "file", "filename": "notes.txt", "mime_type": "text/plain",
                    "size_bytes": len(data), "created_at": "2026-11-29T00:00:00Z", "downloadable": False, "data": data,
                }  # fmt: skip
            self.send_json(told(self.stored[file_id]))
        elif not file_id:
            mine = [told(file) for name, file in self.stored.items() if name.startswith("file_")]
            ids = [file["id"] for file in mine] or [None]
            self.send_json({"data": mine, "has_more": False, "first_id": ids[0], "last_id": ids[-1], "next_page": None})
        elif file_id not in self.stored:
            self.send_json(
                {"type": "error", "error": {"type": "not_found_error", "message": "no such file"}}, status=404
            )
        elif self.command == "DELETE":
            del self.stored[file_id]
            self.send_json({"id": file_id, "type": "file_deleted"})
        elif rest.endswith("/content"):
            self.send(self.stored[file_id]["data"], kind="text/plain")
        else:
            self.send_json(told(self.stored[file_id]))

    def message(self) -> None:
        text = self.read_body().decode()
        tokens = 100 + sum(len(file["data"]) for name, file in self.stored.items() if f'"{name}"' in text)
        self.send_json({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "ok"}], "usage": {"input_tokens": tokens, "output_tokens": 10},
        })  # fmt: skip


def told(file: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in file.items() if name != "data"}


if __name__ == "__main__":
    serve_with_bill(Files, "provider", Provider)
