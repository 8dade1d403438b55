"""Fakes of the hosts that calls are translated for: each speaks its own API, checks who asks as the real one does, and keeps a
bill of its own. As a command: `python -m tests.support.clouds` prints its port; `GET /_bill` has what each has billed,
`GET /_fetched` what else was fetched, `GET /_asked` the last request to each.

Anthropic and OpenAI check a key, Bedrock a signature (SigV4, from AWS's description of it), Vertex a token that it gave for a
service account's signed assertion, Azure a key and an API version or, by its v1 API, one of Entra ID's tokens, Foundry a key,
Gemini a key. What the last message says is what happens:
TOOL calls the first tool twice, THINK thinks first, LENGTH ends at the cap, REFUSE in a refusal, FAILURE in a failure, BUSY is a
429, WRONG a 400, HALVES words with halves of characters, ENDLESS a stream that only a hang-up ends, PATIENT a stream of many words.

Standard library only: it shares no code with the product.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import threading
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.aws_frames import frame
from tests.support.aws_signatures import wrong_signature
from tests.support.aws_sts import ROLE_SECRETS, WEB_TOKEN, give_role
from tests.support.http_server import Handler, serve_forever

TEXT, THOUGHT = "Zebras have stripes.", "Which animals have stripes?"
HALVES = [
    "Zebras ",
    "are ",
    "\ud83e",
    "\udd93",
    " or ",
    "\ud800",
    " not.",
]  # as models write bytes, and some servers cut them
KEY = "sk-of-the-provider-0123456789"
AWS_KEY, AWS_SECRET, AWS_REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"
VERTEX_TOKEN, WATSONX_TOKEN, ENTRA_TOKEN = "ya29.of-the-tests", "iam.of-the-tests", "entra.of-the-tests"
ENTRA_TENANT, ENTRA_CLIENT = "tenant-of-the-tests", "client-of-the-tests"
ACCOUNT = "tests@project.iam.gserviceaccount.com"
API_VERSION, FOUNDRY_VERSION = "2024-10-21", "2024-05-01-preview"
PUBLIC_KEY = "CLOUDS_PUBLIC_KEY"  # environment: the service account's modulus and exponent

# Nano-dollars a token; a provider's own arithmetic.
PRICE = {"input": 1000, "read": 100, "write_5m": 1250, "write_1h": 2000, "output": 10_000}
ANTHROPIC = {"input": 20, "read": 5, "write_5m": 3, "write_1h": 4, "output": 9}
CONVERSE = {"input": 21, "read": 5, "write_5m": 3, "write_1h": 4, "output": 9}
OPENAI = {"input": 20, "read": 10, "output": 13}  # of the output 4 are thoughts
GEMINI = {"input": 22, "read": 10, "output": 13}  # 9 written, 4 thought
EMBEDDED = {"input": 6}

_bill: dict[str, dict[str, int]] = {}
_fetched: list[str] = []
_asked: dict[str, Any] = {}
_lock = threading.Lock()


def charge(provider: str, used: dict[str, int]) -> None:
    with _lock:
        row = _bill.setdefault(provider, {"calls": 0, "nanousd": 0, "hung_up": 0})
        row["calls"] += 1
        row["nanousd"] += sum(PRICE[unit] * count for unit, count in used.items())


def hung_up(provider: str) -> None:
    with _lock:
        _bill.setdefault(provider, {"calls": 0, "nanousd": 0, "hung_up": 0})["hung_up"] += 1


def said(body: Any) -> str:
    """All that the last message says, whatever the API."""
    turns = body.get("messages") or body.get("contents") or body.get("input") or [""]
    turns = [turns] if isinstance(turns, str) else turns
    return json.dumps(turns[-1])


# Why an answer ends, in each API's words: as it should, with tools, at its cap, refused, failed.
STOPS = {
    "messages": ("end_turn", "tool_use", "max_tokens", "refusal", "end_turn"),
    "converse": ("end_turn", "tool_use", "max_tokens", "content_filtered", "malformed_model_output"),
    "chat": ("stop", "tool_calls", "length", "content_filter", "error"),
    "gemini": ("STOP", "STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL"),
    "cohere": ("COMPLETE", "TOOL_CALL", "MAX_TOKENS", "COMPLETE", "ERROR"),
}


def stop_of(api: str, body: Any, calls: list[str]) -> str:
    text = said(body)
    return STOPS[api][
        1 if calls else 2 if "LENGTH" in text else 3 if "REFUSE" in text else 4 if "FAILURE" in text else 0
    ]


_MESSAGE = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio", "function_call"})
_PART = frozenset({"type", "text", "image_url", "input_audio", "file", "refusal"})


def unknown_to_openai(body: Any) -> str:
    """The first field of a message, or of a part of it, that OpenAI's chat completions do not know; they refuse it by name."""
    for message in body.get("messages") or ():
        parts = message["content"] if isinstance(message.get("content"), list) else []
        for fields, known in ((message, _MESSAGE), *((part, _PART) for part in parts)):
            if unknown := sorted(fields.keys() - known):
                return str(unknown[0])
    return ""


def pieces_of(body: Any) -> list[str]:
    """The text in the pieces that a stream has it in."""
    if "HALVES" in said(body):
        return HALVES
    return re.findall(r"\S+\s*", " ".join([TEXT] * (8 if "PATIENT" in said(body) else 1)))


def text_of(body: Any) -> str:
    """All that is said, whole."""
    return "".join(HALVES) if "HALVES" in said(body) else TEXT


def thinks(body: Any) -> bool:
    return "THINK" in said(body)


def tool_names(body: Any) -> list[str]:
    text = json.dumps(body.get("tools") or (body.get("toolConfig") or {}).get("tools") or [])
    return re.findall(r'"name": "(\w+)"', text)


class Clouds(Handler):
    """`/PROVIDER/…`, each as its own."""

    provider = ""

    def answer_request(self) -> None:
        if self.path == "/_bill":
            self.send_json(_bill)
            return
        if self.path == "/_fetched":
            self.send_json(_fetched)
            return
        if self.path == "/_asked":
            self.send_json(_asked)
            return
        if self.command == "GET":
            _fetched.append(self.path)
        data = self.read_body()
        self.provider, _, path = self.path.removeprefix("/").partition("/")
        if self.provider == "token":
            self._give_token(data)
            return
        if self.provider == "sts":
            give_role(self, data, AWS_KEY, AWS_SECRET, AWS_REGION)
            return
        if self.provider == "entra":
            self._give_entra_token(path, parse_qs(data.decode()))
            return
        if self.provider == "iam":  # IBM's: a key buys a token
            known = parse_qs(data.decode()).get("apikey") == [KEY]
            token = {"access_token": WATSONX_TOKEN, "expires_in": 3600} if known else {"errorMessage": "unknown key"}
            self.send_json(token, status=200 if known else 400)
            return
        body = json.loads(data)
        _asked[self.provider] = body
        problem = getattr(self, f"_check_{self.provider.partition('-')[0]}")(data)
        if problem:
            self._error(401, problem)
        elif self._is_openais and (unknown := unknown_to_openai(body)):
            self._error(400, f"Unknown parameter: '{unknown}'.")
        elif "BUSY" in said(body):
            self._error(429, "Too many requests, said the provider.")
        elif "WRONG" in said(body):
            self._error(400, "The provider does not like this.")
        else:
            self._answer(unquote(path), body)

    @property
    def _is_openais(self) -> bool:
        return self.provider == "openai" or self.provider.startswith("azure")

    def _error(self, status: int, message: str) -> None:
        value: Any = {"error": {"message": message, "type": "error", "code": status, "status": "ERROR"}}
        if self.provider == "anthropic" or "/anthropic/" in self.path:
            value = {
                "type": "error",
                "error": {"type": "rate_limit_error" if status == 429 else "invalid_request_error", "message": message},
            }
        elif self.provider.startswith("bedrock"):
            value = {"message": message}
        self.send(json.dumps(value).encode(), status=status, **({"retry_after": "7"} if status == 429 else {}))

    # Who asks

    def _check_anthropic(self, _: bytes) -> str:
        return "" if self.headers.get("x-api-key") == KEY else "invalid x-api-key"

    def _check_openai(self, _: bytes) -> str:
        return "" if self.headers.get("authorization") == f"Bearer {KEY}" else "invalid key"

    def _check_watsonx(self, _: bytes) -> str:
        asked = parse_qs(urlsplit(self.path).query)
        if not asked.get("version"):
            return "no version"
        return "" if self.headers.get("authorization") == f"Bearer {WATSONX_TOKEN}" else "invalid token"

    def _check_sagemaker(self, data: bytes) -> str:
        return wrong_signature(self, data, {AWS_KEY: (AWS_SECRET, "")}, AWS_REGION, "sagemaker")

    _check_mistral = _check_cohere = _check_databricks = _check_openai

    def _has_azures_key(self) -> bool:
        return KEY in (self.headers.get("api-key"), (self.headers.get("authorization") or "").removeprefix("Bearer "))

    def _check_foundry(self, _: bytes) -> str:
        """Models of many makers by one API, Claude by Anthropic's."""
        address = urlsplit(self.path)
        if address.path.endswith("/anthropic/v1/messages"):
            known = self.headers.get("x-api-key") == KEY or self._has_azures_key()
            return "" if known and self.headers.get("anthropic-version") else "invalid key, or no anthropic-version"
        if not address.path.endswith("/models/chat/completions"):
            return f"there is no {address.path}"
        if parse_qs(address.query).get("api-version") != [FOUNDRY_VERSION]:
            return "wrong api-version"
        return "" if self._has_azures_key() else "invalid api-key"

    def _check_azures_v1(self) -> str:
        """No API version, or a preview's name; a key or a token of Entra ID's."""
        address = urlsplit(self.path)
        if not address.path.startswith(f"/{self.provider}/openai/v1/"):
            return f"there is no {address.path}"
        if parse_qs(address.query).get("api-version", ["v1"]) not in (["v1"], ["preview"]):
            return "wrong api-version"
        if self.provider == "azure-entra":
            return "" if self.headers.get("authorization") == f"Bearer {ENTRA_TOKEN}" else "invalid token"
        return "" if self._has_azures_key() else "invalid key"

    def _give_entra_token(self, path: str, asked: dict[str, list[str]]) -> None:
        """A workload's own token buys one (client credentials with a federated credential)."""
        wanted = {
            "client_id": [ENTRA_CLIENT], "client_assertion": [WEB_TOKEN], "grant_type": ["client_credentials"],
            "scope": ["https://cognitiveservices.azure.com/.default"],
        }  # fmt: skip
        if path != f"{ENTRA_TENANT}/oauth2/v2.0/token" or {name: asked.get(name) for name in wanted} != wanted:
            self.send_json({"error": "invalid_client"}, status=401)
        else:
            self.send_json({"access_token": ENTRA_TOKEN, "expires_in": 3600, "token_type": "Bearer"})

    def _check_azure(self, _: bytes) -> str:
        if self.provider != "azure":
            return self._check_azures_v1()
        asked = parse_qs(urlsplit(self.path).query)
        own = "preview" if "/responses" in self.path else API_VERSION  # Responses: only the preview has them
        if asked.get("api-version") != [own]:
            return "wrong api-version"
        return "" if self.headers.get("api-key") == KEY else "invalid api-key"

    def _check_gemini(self, _: bytes) -> str:
        asked = parse_qs(urlsplit(self.path).query).get("key", [None])[0]
        return "" if KEY in (asked, self.headers.get("x-goog-api-key")) else "invalid key"

    def _check_vertex(self, _: bytes) -> str:
        return "" if self.headers.get("authorization") == f"Bearer {VERTEX_TOKEN}" else "invalid token"

    def _check_bedrock(self, data: bytes) -> str:
        known = ROLE_SECRETS if self.provider == "bedrock-role" else {AWS_KEY: (AWS_SECRET, "")}
        return wrong_signature(self, data, known, AWS_REGION, "bedrock")

    def _give_token(self, data: bytes) -> None:
        """RFC 7523: an assertion that the service account signed (RS256) buys a token."""
        head, claims, signature = parse_qs(data.decode())["assertion"][0].split(".")
        modulus, exponent = map(int, os.environ[PUBLIC_KEY].split(","))
        size = (modulus.bit_length() + 7) // 8
        signed = pow(int.from_bytes(_unpadded(signature)), exponent, modulus).to_bytes(size)
        digest = hashlib.sha256(f"{head}.{claims}".encode()).digest()
        if not signed.endswith(digest) or json.loads(_unpadded(claims))["iss"] != ACCOUNT:
            self.send_json({"error": "invalid_grant"}, status=400)
        else:
            self.send_json({"access_token": VERTEX_TOKEN, "expires_in": 3600, "token_type": "Bearer"})

    # What is answered

    def _answer(self, path: str, body: Any) -> None:
        path = path.partition("?")[0]
        if path.endswith("/embeddings"):
            charge(self.provider, EMBEDDED)
            data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
            self.send_json(
                {
                    "object": "list",
                    "data": data,
                    "model": body.get("model"),
                    "usage": {"prompt_tokens": 6, "total_tokens": 6},
                }
            )
        elif "/converse" in path:
            self._converse(body, stream=path.endswith("-stream"))
        elif "/invoke" in path:
            self._messages(body, "aws" if path.endswith("-stream") else None)
        elif "enerateContent" in path:
            self._gemini(body, stream="streamGenerate" in path)
        elif path.endswith("/responses"):
            self._responses(body)
        elif path.endswith("v2/chat"):
            self._cohere(body)
        elif path.endswith("/messages") or "awPredict" in path:
            self._messages(body, "sse" if body.get("stream") else None)
        elif self.provider == "watsonx":
            self._chat(body | {"model": body["model_id"], "stream": path.endswith("_stream")})
        elif path.endswith("/invocations-response-stream"):
            self._chat(body | {"stream": True}, framed=True)
        else:
            self._chat(body)

    def _tools(self, body: Any) -> list[str]:
        names = tool_names(body)
        return [names[0], names[0]] if names and "TOOL" in said(body) else []

    def _messages(self, body: Any, framing: str | None) -> None:
        calls = self._tools(body)
        blocks: list[Any] = [
            {"type": "tool_use", "id": f"toolu_{i}", "name": name, "input": {"n": i}} for i, name in enumerate(calls)
        ]
        blocks = blocks or [{"type": "text", "text": text_of(body)}]
        if thinks(body):
            blocks.insert(0, {"type": "thinking", "thinking": THOUGHT, "signature": "c2lnbmVk"})
        stop = stop_of("messages", body, calls)
        usage = {
            "input_tokens": 20, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7, "output_tokens": 9,
            "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}, "service_tier": "standard",
        }  # fmt: skip
        head = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body.get("model") or "claude-sonnet-4-5",
            "stop_sequence": None,
        }
        if framing is None:
            charge(self.provider, ANTHROPIC)
            self.send_json(head | {"content": blocks, "stop_reason": stop, "usage": usage})
            return
        events: list[Any] = [
            {
                "type": "message_start",
                "message": head | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}},
            }
        ]
        for index, block in enumerate(blocks):
            if block["type"] == "thinking":
                empty, deltas = (
                    block | {"thinking": "", "signature": ""},
                    [
                        {"type": "thinking_delta", "thinking": THOUGHT},
                        {"type": "signature_delta", "signature": block["signature"]},
                    ],
                )
            elif block["type"] == "text":
                empty, deltas = (
                    block | {"text": ""},
                    [{"type": "text_delta", "text": word} for word in pieces_of(body)],
                )
            else:
                empty, deltas = (
                    block | {"input": {}},
                    [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}],
                )
            events.append({"type": "content_block_start", "index": index, "content_block": empty})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        end = [
            {
                "type": "message_delta",
                "delta": {"stop_reason": stop, "stop_sequence": None},
                "usage": {"output_tokens": 9},
            },
            {"type": "message_stop"},
        ]
        if framing == "aws":
            end[-1] |= {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 20, "outputTokenCount": 9}}
            frames = [
                frame("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()})
                for event in (*events, *end)
            ]
            self._stream("application/vnd.amazon.eventstream", frames, ANTHROPIC, body)
        else:
            pieces = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in (*events, *end)]
            self._stream("text/event-stream", pieces, ANTHROPIC, body)

    def _converse(self, body: Any, *, stream: bool) -> None:
        calls = self._tools(body)
        usage = {
            "inputTokens": 21, "outputTokens": 9, "totalTokens": 42, "cacheReadInputTokens": 5, "cacheWriteInputTokens": 7,
            "cacheDetails": [{"ttl": "5m", "inputTokens": 3}, {"ttl": "1h", "inputTokens": 4}],
        }  # fmt: skip
        stop = stop_of("converse", body, calls)
        thought = {"reasoningText": {"text": THOUGHT, "signature": "c2lnbmVk"}}
        if not stream:
            content: list[Any] = [
                {"toolUse": {"toolUseId": f"tooluse_{i}", "name": name, "input": {"n": i}}}
                for i, name in enumerate(calls)
            ]
            charge(self.provider, CONVERSE)
            content = ([{"reasoningContent": thought}] if thinks(body) else []) + (content or [{"text": text_of(body)}])
            message = {"role": "assistant", "content": content}
            self.send_json(
                {"output": {"message": message}, "stopReason": stop, "usage": usage, "metrics": {"latencyMs": 1}}
            )
            return
        events: list[tuple[str, Any]] = [("messageStart", {"role": "assistant"})]
        first = 0
        if thinks(body):
            first = 1
            events += [
                ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": delta}})
                for delta in ({"text": THOUGHT}, {"signature": "c2lnbmVk"})
            ]
            events.append(("contentBlockStop", {"contentBlockIndex": 0}))
        for index, name in enumerate(calls, first):
            start = {"toolUse": {"toolUseId": f"tooluse_{index}", "name": name}}
            events.append(("contentBlockStart", {"contentBlockIndex": index, "start": start}))
            events.append(
                (
                    "contentBlockDelta",
                    {"contentBlockIndex": index, "delta": {"toolUse": {"input": json.dumps({"n": index - first})}}},
                )
            )
            events.append(("contentBlockStop", {"contentBlockIndex": index}))
        if not calls:
            events += [
                (
                    "contentBlockDelta",
                    {"contentBlockIndex": first, "delta": {"text": word}, "p": "abcdefgh"[: number % 9]},
                )
                for number, word in enumerate(pieces_of(body))
            ]
            events.append(("contentBlockStop", {"contentBlockIndex": first}))
        events += [("messageStop", {"stopReason": stop}), ("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})]
        self._stream(
            "application/vnd.amazon.eventstream", [frame(name, value) for name, value in events], CONVERSE, body
        )

    def _chat(self, body: Any, *, framed: bool = False) -> None:
        calls = self._tools(body)
        usage = {
            "prompt_tokens": 30, "completion_tokens": 13, "total_tokens": 43,
            "prompt_tokens_details": {"cached_tokens": 10}, "completion_tokens_details": {"reasoning_tokens": 4},
        }  # fmt: skip
        head = {"id": "chatcmpl-1", "created": 1, "model": body.get("model") or "deployed"}
        made = [
            {
                "index": i,
                "id": f"call_{i}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps({"n": i})},
            }
            for i, name in enumerate(calls)
        ]
        stop = stop_of("chat", body, calls)
        if not body.get("stream"):
            charge(self.provider, OPENAI)
            message: Any = (
                {"role": "assistant", "content": None, "tool_calls": made}
                if calls
                else {"role": "assistant", "content": text_of(body)}
            )
            self.send_json(
                head
                | {
                    "object": "chat.completion",
                    "choices": [{"index": 0, "message": message, "finish_reason": stop}],
                    "usage": usage,
                }
            )
            return
        deltas: list[Any] = [{"role": "assistant", "content": ""}]
        deltas += [{"tool_calls": [call]} for call in made] or [{"content": word} for word in pieces_of(body)]
        chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": stop}]}, {"choices": [], "usage": usage}]
        if self._is_openais:
            chunks = [chunk | {"obfuscation": "AbCdEfGh"[: number % 9]} for number, chunk in enumerate(chunks)]
        pieces = [
            f"data: {json.dumps(head | {'object': 'chat.completion.chunk'} | chunk)}\n\n".encode() for chunk in chunks
        ]
        if framed:
            frames = [frame("PayloadPart", piece) for piece in pieces]
            self._stream("application/vnd.amazon.eventstream", frames, OPENAI, body)
            return
        self._stream("text/event-stream", [*pieces, b"data: [DONE]\n\n"], OPENAI, body)

    def _gemini(self, body: Any, *, stream: bool) -> None:
        calls = self._tools(body)
        usage = {
            "promptTokenCount": 32, "cachedContentTokenCount": 10, "candidatesTokenCount": 9, "thoughtsTokenCount": 4,
            "totalTokenCount": 45, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 32}],
        }  # fmt: skip
        parts: list[Any] = [{"functionCall": {"name": name, "args": {"n": i}}} for i, name in enumerate(calls)]
        stop = stop_of("gemini", body, calls)
        thoughts: list[Any] = [{"text": THOUGHT, "thought": True}] if thinks(body) else []

        def answer(parts: list[Any], **more: Any) -> dict[str, Any]:
            return {
                "candidates": [{"content": {"role": "model", "parts": parts}, "index": 0} | more],
                "modelVersion": "gemini-2.5-flash",
            }

        if not stream:
            charge(self.provider, GEMINI)
            self.send_json(
                answer([*thoughts, *(parts or [{"text": text_of(body)}])], finishReason=stop) | {"usageMetadata": usage}
            )
            return
        words = [
            answer([{"text": word}]) | {"usageMetadata": usage | {"candidatesTokenCount": number}}
            for number, word in enumerate(pieces_of(body), 1)
        ]
        events = [answer(thoughts)] if thoughts else []
        events += [answer(parts)] if parts else words
        events.append(answer([{"text": ""}], finishReason=stop) | {"usageMetadata": usage})
        self._stream(
            "text/event-stream", [f"data: {json.dumps(event)}\r\n\r\n".encode() for event in events], GEMINI, body
        )

    def _cohere(self, body: Any) -> None:
        usage = {
            "billed_units": {"input_tokens": 20, "output_tokens": 13},
            "tokens": {"input_tokens": 90, "output_tokens": 15},
        }
        used = {"input": 20, "output": 13}
        if not body.get("stream"):
            charge(self.provider, used)
            message = {"role": "assistant", "content": [{"type": "text", "text": text_of(body)}]}
            self.send_json(
                {"id": "1", "finish_reason": stop_of("cohere", body, []), "message": message, "usage": usage}
            )
            return
        events: list[Any] = [
            {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant", "content": []}}}
        ]
        events.append(
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}}
        )
        events += [
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": word}}}}
            for word in pieces_of(body)
        ]
        events += [
            {"type": "content-end", "index": 0},
            {"type": "message-end", "delta": {"finish_reason": stop_of("cohere", body, []), "usage": usage}},
        ]
        if "text/event-stream" in self.headers.get("accept", ""):
            pieces = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
            self._stream("text/event-stream", pieces, used, body)
        else:
            self._stream(
                "application/stream+json", [json.dumps(event).encode() + b"\n" for event in events], used, body
            )

    def _responses(self, body: Any) -> None:
        calls = self._tools(body)
        usage = {
            "input_tokens": 30, "output_tokens": 13, "total_tokens": 43,
            "input_tokens_details": {"cached_tokens": 10}, "output_tokens_details": {"reasoning_tokens": 4},
        }  # fmt: skip
        output: list[Any] = [
            {
                "type": "function_call",
                "id": f"fc_{i}",
                "call_id": f"call_{i}",
                "name": name,
                "arguments": json.dumps({"n": i}),
                "status": "completed",
            }
            for i, name in enumerate(calls)
        ]
        text = {"type": "output_text", "text": text_of(body), "annotations": []}
        output = output or [
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
        ]
        if thinks(body):
            summary = [{"type": "summary_text", "text": THOUGHT}]
            output.insert(0, {"type": "reasoning", "id": "rs_1", "summary": summary, "status": "completed"})
        cut = "max_output_tokens" if "LENGTH" in said(body) else "content_filter" if "REFUSE" in said(body) else None
        head = {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "model": body.get("model"),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
        whole = head | {"status": "incomplete" if cut else "completed", "output": output, "usage": usage}
        if cut:
            whole |= {"incomplete_details": {"reason": cut}}
        if not body.get("stream"):
            charge(self.provider, OPENAI)
            self.send_json(whole)
            return
        events: list[Any] = [{"type": "response.created", "response": head | {"status": "in_progress", "output": []}}]
        for index, item in enumerate(output):
            events.append(
                {"type": "response.output_item.added", "output_index": index, "item": item | {"status": "in_progress"}}
            )
            if item["type"] == "message":
                where = {"item_id": item["id"], "output_index": index, "content_index": 0}
                events += [
                    {"type": "response.output_text.delta", "delta": word, "logprobs": [], **where}
                    for word in pieces_of(body)
                ]
            elif item["type"] == "reasoning":
                where = {"item_id": item["id"], "output_index": index, "summary_index": 0}
                events.append({"type": "response.reasoning_summary_text.delta", "delta": THOUGHT, **where})
            events.append({"type": "response.output_item.done", "output_index": index, "item": item})
        events.append({"type": f"response.{whole['status']}", "response": whole})
        numbered = [event | {"sequence_number": number} for number, event in enumerate(events)]
        self._stream(
            "text/event-stream",
            [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in numbered],
            OPENAI,
            body,
        )

    def _stream(self, kind: str, pieces: list[bytes], used: dict[str, int], body: Any) -> None:
        """All pieces; an endless one only begins, and waits for its caller to leave."""
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            if "ENDLESS" in said(body):
                if self._left(pieces[:4]):
                    hung_up(self.provider)
                return
            pause_s = 0.02 if "SLOW" in said(body) else 0
            for piece in pieces:
                self.wfile.write(piece)
                time.sleep(pause_s)
            charge(self.provider, used)

    def _left(self, pieces: list[bytes]) -> bool:
        """Whether the caller leaves within half a minute of these. One that has not read them all resets the connection."""
        self.connection.settimeout(30)
        try:
            for piece in pieces:
                self.wfile.write(piece)
            while self.connection.recv(1000):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


if __name__ == "__main__":
    serve_forever(Clouds)
