"""The fake providers of the translation's bench, a program of its own: `python -m bench.clouds --port PORT`.

Each API's answer is always the same, whole or streamed, at once and for everybody: it costs the shared core little, and what
differs between two gateways is theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import uvloop

from bench.upstream import Connection

WORDS = [f"word{number} " for number in range(50)]  # one event each where they are streamed
TEXT = "".join(WORDS)
_JSON, _EVENTS, _FRAMES = b"application/json", b"text/event-stream", b"application/vnd.amazon.eventstream"


def _http(kind: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(body), body)


def _streamed(kind: bytes, pieces: Iterable[bytes]) -> bytes:
    """Each piece a chunk of HTTP's; they are written together, and read together where the reader is slow."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n%s0\r\n\r\n" % (kind, chunks)


def _event(value: Mapping[str, Any], *, named: bool = False) -> bytes:
    data = b"data: %s\n\n" % json.dumps(value).encode()
    return b"event: %s\n%s" % (str(value["type"]).encode(), data) if named else data


def _frame(name: str, value: Mapping[str, Any]) -> bytes:
    """A message of AWS's event stream: lengths, their checksum, headers, payload, checksum of it all."""
    headers = b"".join(
        struct.pack(">B", len(key)) + key + b"\x07" + struct.pack(">H", len(text)) + text
        for key, text in ((b":event-type", name.encode()), (b":content-type", _JSON), (b":message-type", b"event"))
    )
    payload = json.dumps(value).encode()
    prelude = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return head + struct.pack(">I", zlib.crc32(head))


def _anthropic() -> tuple[bytes, bytes]:
    usage = {
        "input_tokens": 20, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7, "output_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}, "service_tier": "standard",
    }  # fmt: skip
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
    whole = head | {"content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn", "stop_sequence": None}
    start = head | {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage | {"output_tokens": 1}}
    events = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in WORDS),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return (
        _http(_JSON, json.dumps(whole | {"usage": usage}).encode()),
        _streamed(_EVENTS, (_event(event, named=True) for event in events)),
    )


def _openai() -> tuple[bytes, bytes]:
    usage = {
        "prompt_tokens": 30, "completion_tokens": 100, "total_tokens": 130, "prompt_tokens_details": {"cached_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }  # fmt: skip
    head = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "gpt-4.1-mini", "system_fingerprint": "fp_x"}
    message = {"role": "assistant", "content": TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    whole = head | {"object": "chat.completion", "choices": [choice], "usage": usage, "service_tier": "default"}

    def chunk(choices: list[Any], **more: Any) -> bytes:
        return _event(head | {"object": "chat.completion.chunk", "choices": choices} | more)

    deltas: list[Any] = [{"role": "assistant", "content": ""}, *({"content": word} for word in WORDS)]
    chunks = [chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]) for delta in deltas]
    chunks += [chunk([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]), chunk([], usage=usage)]
    return _http(_JSON, json.dumps(whole).encode()), _streamed(_EVENTS, [*chunks, b"data: [DONE]\n\n"])


def _converse() -> tuple[bytes, bytes]:
    usage = {
        "inputTokens": 20, "outputTokens": 100, "totalTokens": 132, "cacheReadInputTokens": 5, "cacheWriteInputTokens": 7,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 3}, {"ttl": "1h", "inputTokens": 4}],
    }  # fmt: skip
    end = {"usage": usage, "metrics": {"latencyMs": 1}}
    message = {"role": "assistant", "content": [{"text": TEXT}]}
    frames = [
        _frame("messageStart", {"role": "assistant"}),
        *(_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}}) for word in WORDS),
        _frame("contentBlockStop", {"contentBlockIndex": 0}),
        _frame("messageStop", {"stopReason": "end_turn"}),
        _frame("metadata", end),
    ]
    whole = {"output": {"message": message}, "stopReason": "end_turn", **end}
    return _http(_JSON, json.dumps(whole).encode()), _streamed(_FRAMES, frames)


def _gemini() -> tuple[bytes, bytes]:
    usage = {
        "promptTokenCount": 32, "cachedContentTokenCount": 10, "candidatesTokenCount": 96, "thoughtsTokenCount": 4,
        "totalTokenCount": 132, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 32}],
    }  # fmt: skip

    def answer(text: str, **more: Any) -> dict[str, Any]:
        content = {"role": "model", "parts": [{"text": text}]}
        return {"candidates": [{"content": content, "index": 0} | more], "modelVersion": "gemini-2.5-flash"}

    last = answer("", finishReason="STOP") | {"usageMetadata": usage}
    whole = answer(TEXT, finishReason="STOP") | {"usageMetadata": usage}
    return (
        _http(_JSON, json.dumps(whole).encode()),
        _streamed(_EVENTS, (_event(value) for value in (*map(answer, WORDS), last))),
    )


ANSWERS = {
    b"/anthropic": _anthropic(),
    b"/openai": _openai(),
    b"/bedrock": _converse(),
    b"/gemini": _gemini(),
}  # by how the path begins


class Cloud(Connection):
    """Answers by path; a stream where the path or the body asks for one."""

    def answer(self, url: bytes, body: bytes) -> None:
        whole, streamed = ANSWERS[b"/" + url.split(b"/", 2)[1]]
        asks = b"stream" in url.lower() or b'"stream":true' in body.replace(b" ", b"")
        self.transport.write(streamed if asks else whole)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Cloud, "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(_serve(parser.parse_args().port))
