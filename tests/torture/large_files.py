"""How large files fare: `python -m tests.torture.large_files [--lines 100000] [--megabytes 512]`.

A batch of many lines: what it is bounded by, what it costs by the provider's own bill, how long its upload and its settlement
take. A large file: what the data plane holds of it. Prints a table; exit 1 where a figure that must hold does not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.support.gateway import gateway
from tests.support.http_server import Handler
from tests.support.jobs_rig import KEY, JobsRig, config, running
from tests.support.waiting import eventually

_HEADERS = {"authorization": f"Bearer {KEY}"}
_MOST_HELD_MB = 64


def batch_lines(number: int) -> Iterator[bytes]:
    for n in range(number):
        text = f"line=ok in={100 + n % 900} out={n % 50}"
        body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": text}], "max_tokens": 50}
        line = {"custom_id": f"c{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        yield json.dumps(line).encode() + b"\n"


def peak_mb(rig_pids: list[int], *, reset: bool = False) -> dict[int, int]:
    """The most memory that each process has held since the last reset, in MiB."""
    found = {}
    for pid in rig_pids:
        if reset:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                found[pid] = int(line.split()[1]) // 1024
    return found


def large_batch(rig: JobsRig, number: int) -> dict[str, Any]:
    client = httpx.Client(base_url=rig.url, headers=_HEADERS | {"x-taximeter-session-id": "large"}, timeout=600)
    pids = rig.gateway.members()
    before = peak_mb(pids, reset=True)
    began = time.monotonic()
    data = b"".join(batch_lines(number))
    form = {"purpose": "batch"}
    file = client.post("/v1/files", data=form, files={"file": ("lines.jsonl", data)}).raise_for_status().json()
    uploaded = time.monotonic()
    body = {
        "input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h",
        "metadata": {"nonce": "large"},
    }  # fmt: skip
    client.post("/v1/batches", json=body).raise_for_status()
    created = time.monotonic()
    (entry,) = eventually(
        lambda: [one for one in rig.entries(session="large") if one["operation"] == "batch"],
        lambda found: [one["status"] for one in found] == ["settled"],
        600,
    )
    after = peak_mb(pids)
    return {
        "lines": number, "megabytes": round(len(data) / 1e6, 1), "bound_usd": entry["reserved_usd"], "cost_usd": entry["cost_usd"],
        "billed_usd": str(rig.billed()["large"]), "upload_s": round(uploaded - began, 1),
        "settled_s": round(time.monotonic() - created, 1), "held_more_mb": max(after[pid] - before[pid] for pid in pids),
    }  # fmt: skip


class _Sink(Handler):
    """Reads a file and keeps nothing of it."""

    def answer_request(self) -> None:
        total = 0
        while size := int(self.rfile.readline().strip() or b"0", 16):
            left = size
            while left:
                left -= len(piece := self.rfile.read(min(left, 1 << 16)))
                total += len(piece)
            self.rfile.readline()
        self.rfile.readline()
        self.send_json({"id": "file_large", "object": "file", "bytes": total})


def large_file(folder: Path, megabytes: int) -> dict[str, Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = config(folder, f"http://127.0.0.1:{server.server_port}", jobs={"max_file_mb": megabytes + 1})
    piece = b"x" * 1_000_000

    def body() -> Iterator[bytes]:
        yield b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for _ in range(megabytes):
            yield piece
        yield b"\r\n--b--\r\n"

    with gateway(folder, made) as running_gateway:
        pids = running_gateway.members()
        before = peak_mb(pids, reset=True)
        began = time.monotonic()
        headers = _HEADERS | {"content-type": "multipart/form-data; boundary=b"}
        answer = httpx.post(f"{running_gateway.url}/v1/files", content=body(), headers=headers, timeout=600)
        answer.raise_for_status()
        after = peak_mb(pids)
        server.shutdown()
        return {
            "megabytes": megabytes, "passed_bytes": answer.json()["bytes"], "upload_s": round(time.monotonic() - began, 1),
            "held_more_mb": max(after[pid] - before[pid] for pid in pids),
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="large_files")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--megabytes", type=int, default=512)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a").mkdir()
        (folder / "b").mkdir()
        with running(folder / "a") as rig:
            batch = large_batch(rig, given.lines)
        file = large_file(folder / "b", given.megabytes)
    print(json.dumps({"batch": batch, "file": file}, indent=2))
    if float(batch["cost_usd"]) != float(batch["billed_usd"]) or file["held_more_mb"] > _MOST_HELD_MB:
        sys.exit(1)


if __name__ == "__main__":
    main()
