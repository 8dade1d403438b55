"""A provider that replays recorded bytes: every dialect's paths, unary and streamed, as the real ones answer them.

A model whose name begins with `broken` breaks off in the middle of its streams. As a command: `python -m tests.support.replay` prints its port as JSON and serves until it ends. `GET /_seen` tells what it was asked.
Standard library only: it shares no code with the product. Bodies follow the providers' API references.
"""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from tests.support.http_server import Handler, serve_forever

TEXT = "Zebras have stripes."
CHAT_USAGE = {
    "prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 100}, "completion_tokens_details": {"reasoning_tokens": 10},
}  # fmt: skip
RESPONSES_USAGE = {
    "input_tokens": 120, "output_tokens": 30, "total_tokens": 150,
    "input_tokens_details": {"cached_tokens": 100}, "output_tokens_details": {"reasoning_tokens": 10},
}  # fmt: skip
MESSAGES_USAGE = {
    "input_tokens": 20, "cache_creation_input_tokens": 40, "cache_read_input_tokens": 100, "output_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 0}, "service_tier": "standard",
}  # fmt: skip
GEMINI_USAGE = {
    "promptTokenCount": 120, "cachedContentTokenCount": 100, "candidatesTokenCount": 20, "thoughtsTokenCount": 10,
    "totalTokenCount": 150, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 120}],
}  # fmt: skip
IMAGE_USAGE = {
    "input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210,
    "input_tokens_details": {"text_tokens": 20, "image_tokens": 30},
}  # fmt: skip
TRANSCRIPT_USAGE = {
    "type": "tokens", "input_tokens": 40, "output_tokens": 8, "total_tokens": 48,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 30},
}  # fmt: skip
AUDIO = b"ID3\x04" + bytes(range(256)) * 8


def sse(*events: Any, names: bool = False, done: bool = False) -> bytes:
    blocks = []
    for event in events:
        name = f"event: {event['type']}\n" if names else ""
        blocks.append(f"{name}data: {json.dumps(event)}\n\n")
    return ("".join(blocks) + ("data: [DONE]\n\n" if done else "")).encode()


def chat(body: dict[str, Any]) -> Any:
    base = {"id": "chatcmpl-1", "created": 1, "model": f"{body['model']}"}
    if not body.get("stream"):
        message = {"role": "assistant", "content": TEXT}
        choices: list[Any] = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return base | {"object": "chat.completion", "choices": choices, "usage": CHAT_USAGE}
    base["object"] = "chat.completion.chunk"
    deltas = [{"role": "assistant", "content": ""}, {"content": TEXT[:6]}, {"content": TEXT[6:]}]
    chunks = [base | {"choices": [{"index": 0, "delta": delta}], "usage": None} for delta in deltas]
    chunks.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None})
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append(base | {"choices": [], "usage": CHAT_USAGE})
    return sse(*chunks, done=True)


def responses(body: dict[str, Any]) -> Any:
    part = {"type": "output_text", "text": TEXT, "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    base = {
        "id": f"resp_{body['model']}", "object": "response", "created_at": 1, "model": body["model"], "error": None,
        "status": "in_progress", "output": [], "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "usage": None,
    }  # fmt: skip
    whole = base | {"status": "completed", "output": [message], "usage": RESPONSES_USAGE}
    if not body.get("stream"):
        return whole
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return sse(
        {"type": "response.created", "sequence_number": 0, "response": base},
        {
            "type": "response.output_item.added",
            "sequence_number": 1,
            "output_index": 0,
            "item": message | {"content": []},
        },
        {"type": "response.content_part.added", "sequence_number": 2, "part": part | {"text": ""}, **where},
        {"type": "response.output_text.delta", "sequence_number": 3, "delta": TEXT, "logprobs": [], **where},
        {"type": "response.output_text.done", "sequence_number": 4, "text": TEXT, "logprobs": [], **where},
        {"type": "response.completed", "sequence_number": 5, "response": whole},
        names=True,
    )


def messages(body: dict[str, Any]) -> Any:
    base = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None}
    if not body.get("stream"):
        content = [{"type": "text", "text": TEXT}]
        return base | {"content": content, "stop_reason": "end_turn", "usage": MESSAGES_USAGE}
    begun = base | {"content": [], "stop_reason": None, "usage": MESSAGES_USAGE | {"output_tokens": 1}}
    return sse(
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 30}},
        {"type": "message_stop"},
        names=True,
    )


def gemini(model: str, action: str, query: str) -> Any:
    def chunk(text: str, **usage: Any) -> dict[str, Any]:
        content = {"role": "model", "parts": [{"text": text}]}
        return {
            "candidates": [{"index": 0, "content": content}],
            "modelVersion": model,
            "usageMetadata": GEMINI_USAGE | usage,
        }

    if action == "countTokens":
        return {"totalTokens": 120}
    if action in ("embedContent", "batchEmbedContents"):
        usage = {"promptTokenCount": 6, "totalTokenCount": 6}
        values = {"values": [0.5, 0.25]}
        found = {"embedding": values} if action == "embedContent" else {"embeddings": [values]}
        return found | {"usageMetadata": usage}
    if action == "generateContent":
        return chunk(TEXT)
    chunks = [chunk(TEXT[:6], candidatesTokenCount=5, totalTokenCount=135), chunk(TEXT[6:])]
    return sse(*chunks) if "alt=sse" in query else chunks


def image(body: dict[str, Any]) -> Any:
    if body.get("stream"):
        event = {"type": "image_generation.completed", "b64_json": "AAAA", "usage": IMAGE_USAGE, "size": "1024x1024"}
        return sse(
            {"type": "image_generation.partial_image", "b64_json": "AA", "partial_image_index": 0}, event, names=True
        )
    return {"created": 1, "data": [{"b64_json": "AAAA"}], "usage": IMAGE_USAGE}


def transcript(body: dict[str, Any]) -> Any:
    if body["model"].startswith("whisper"):
        return {"text": TEXT, "usage": {"type": "duration", "seconds": 7}}
    if body.get("stream") == "true":
        done = {"type": "transcript.text.done", "text": TEXT, "usage": TRANSCRIPT_USAGE}
        return sse({"type": "transcript.text.delta", "delta": TEXT}, done, names=True)
    return {"text": TEXT, "usage": TRANSCRIPT_USAGE}


def form_fields(raw: bytes) -> dict[str, Any]:
    """The plain fields of a form; enough to answer by."""
    found = re.findall(rb'name="([^"]+)"\r\n\r\n(.*?)\r\n--', raw, re.DOTALL)
    return {name.decode(): value.decode() for name, value in found}


def answer(method: str, path: str, query: str, raw: bytes) -> tuple[str, bytes]:
    """The content type and the bytes for a request."""
    if path.startswith("/v1/responses/resp_"):
        gone = {"id": path.split("/")[3], "object": "response.deleted", "deleted": True}
        return "application/json", json.dumps(
            gone if method == "DELETE" else responses({"model": "gpt-4o-mini"})
        ).encode()
    body: dict[str, Any] = form_fields(raw) if raw.startswith(b"--") else json.loads(raw)
    if found := re.match(r"/v1(?:beta)?/models/([^:]+):(\w+)", path):
        model, action = found.groups()
        value = gemini(model, action, query)
        return (
            ("text/event-stream", value)
            if isinstance(value, bytes)
            else ("application/json", json.dumps(value).encode())
        )
    if path == "/v1/audio/speech":
        return "audio/mpeg", AUDIO
    table: dict[str, Any] = {
        "/v1/chat/completions": chat,
        "/v1/responses": responses,
        "/v1/responses/compact": lambda body: responses(body) | {"object": "response.compaction"},
        "/v1/responses/input_tokens": lambda _: {"object": "response.input_tokens", "input_tokens": 120},
        "/v1/messages": messages,
        "/v1/messages/count_tokens": lambda _: {"input_tokens": 120},
        "/v1/completions": lambda body: {"id": "c", "object": "text_completion", "created": 1, "model": body["model"],
                                         "choices": [{"index": 0, "text": TEXT, "finish_reason": "stop"}], "usage": CHAT_USAGE},
        "/v1/embeddings": lambda body: {"object": "list", "model": body["model"], "usage": {"prompt_tokens": 6, "total_tokens": 6},
                                        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]},
        "/v1/moderations": lambda body: {"id": "modr-1", "model": body["model"], "results": []},
        "/v1/images/generations": image,
        "/v1/images/edits": image,
        "/v1/audio/transcriptions": transcript,
        "/v1/audio/translations": transcript,
    }  # fmt: skip
    value = table[path](body)
    return (
        ("text/event-stream", value) if isinstance(value, bytes) else ("application/json", json.dumps(value).encode())
    )


class Replay(Handler):
    """One connection. What is asked is kept in `seen`, for the tests to look at."""

    seen: ClassVar[list[dict[str, Any]]] = []

    def answer_request(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/_seen":
            self.send_json(self.seen)
            return
        raw = self.read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        shown = json.loads(raw) if raw.startswith(b"{") else form_fields(raw)
        self.seen.append(
            {"method": self.command, "path": self.path, "headers": headers, "body": shown, "bytes": len(raw)}
        )
        broken = b'"broken-' in raw or "/broken-" in path
        self._send(*answer(self.command, path, query, raw), broken=broken)

    def _send(self, kind: str, data: bytes, *, broken: bool = False) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if broken:
            events = data.split(b"\n\n")
            data = b"\n\n".join(events[: len(events) // 2]) + b"\n\n"  # before anything says that it has ended
            self.close_connection = True
        self.wfile.write(data)


if __name__ == "__main__":
    serve_forever(Replay)
