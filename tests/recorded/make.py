"""Make `calls.jsonl.gz` again: `python -m tests.recorded.make FOLDER`, a folder with the unpacked source distributions that
`README.md` here names. A call is kept once, and only with the usage that its provider stated.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

FILE = Path(__file__).parent / "calls.jsonl.gz"
_HOSTS = {"api.openai.com": "openai", "api.anthropic.com": "anthropic", "api.groq.com": "groq", "api.deepseek.com": "deepseek"}  # fmt: skip
_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages")
_MOST_BYTES = 60_000
_MOST_LONG = 8
_LONG_TEXT = 64


def main(folder: Path) -> None:
    kept: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*/**/cassettes/**/*.y*ml*")):
        package = file.relative_to(folder).parts[0]
        for call in _calls(file, package):
            kept.setdefault(json.dumps([call["path"], call["request"]], sort_keys=True), call)
    short = [call for key, call in kept.items() if len(key) <= _MOST_BYTES]
    long = [call for key, call in kept.items() if _MOST_BYTES < len(key) < 10 * _MOST_BYTES][:_MOST_LONG]
    lines = "".join(json.dumps(call, ensure_ascii=False) + "\n" for call in short + long)
    FILE.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))
    print(f"{len(short) + len(long)} calls, {FILE.stat().st_size} bytes")


def _calls(file: Path, package: str) -> Iterator[dict[str, Any]]:
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    cassette = yaml.load(data, Loader=yaml.CSafeLoader)
    if not isinstance(cassette, dict):
        return
    pairs = [(one["request"], one["response"]) for one in cassette.get("interactions") or ()]
    pairs += zip(cassette.get("requests", ()), cassette.get("responses", ()), strict=True)
    for asked, told in pairs:
        request, answer = _object(asked.get("body")), _text(told.get("body") or told.get("content"))
        provider, path = _where(asked.get("uri") or asked["url"], package, request or {})
        if request is None or answer is None or path not in _PATHS or '"usage"' not in answer:
            continue
        if answer.lstrip().startswith(("event:", "data:", ":")):
            lines = [line[5:].strip() for line in answer.splitlines() if line.startswith("data:")]
            frames = [
                _shortened(json.loads(line)) for line in lines if '"usage"' in line and '"usage":null' not in line
            ]
            stated = {"frames": frames}
        else:
            stated = {"answer": _shortened(json.loads(answer))}
        if any(stated.values()):
            yield {"from": package, "provider": provider, "path": path, "request": request} | stated


def _where(uri: str, package: str, request: dict[str, Any]) -> tuple[str, str]:
    """The provider and the path; some cassettes leave both out, and their packages call one provider only."""
    parts = urlsplit(uri)
    path = parts.path.removeprefix("/openai").replace("/beta/", "/v1/")
    if "REDACTED" in uri:
        provider = package.split("_")[1].split("-", maxsplit=1)[0]
        operation = (
            "messages" if provider == "anthropic" else "chat/completions" if "messages" in request else "responses"
        )
        return provider, f"/v1/{operation}"
    if parts.netloc.endswith(".azure.com") and "/deployments/" in path:
        return "openai", "/v1/" + path.split("/deployments/")[1].partition("/")[2]
    return _HOSTS.get(parts.netloc, "vllm" if parts.netloc.startswith("localhost") else ""), path


def _text(body: Any) -> str | None:
    if isinstance(body, dict):
        body = body.get("string")
    if isinstance(body, bytes):
        try:
            return (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode()
        except (OSError, UnicodeDecodeError):
            return None
    return body if isinstance(body, str) else None


def _object(body: Any) -> dict[str, Any] | None:
    try:
        value = json.loads(_text(body) or "")
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _shortened(value: Any) -> Any:
    """An answer without its texts and vectors: what it was billed for stays."""
    if isinstance(value, str):
        return value if len(value) <= _LONG_TEXT else ""
    if isinstance(value, list):
        if all(isinstance(one, float) for one in value):
            return value[:1]
        return [_shortened(one) for one in value]
    return {name: _shortened(one) for name, one in value.items()} if isinstance(value, dict) else value


if __name__ == "__main__":
    main(Path(sys.argv[1]))
