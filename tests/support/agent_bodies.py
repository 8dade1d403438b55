"""Bodies as agents send them, turn by turn, in each dialect, with all that changes a ceiling, a price or a refusal put anywhere.

    python -m tests.support.agent_bodies DIALECT [--agents 200] [--seed 1] [--long]

prints a line a body: what is made of it (a refusal, or the call with its ceilings and the bytes that are sent on). Another commit
says the same lines, run with its folder as PYTHONPATH, where nothing of that has changed. `--long`: of more than 64 KB each.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from proxy.ceilings import ceiling
from proxy.ceilings.conditions import fixed_conditions
from proxy.dialects import anthropic, bedrock, fields, gemini, openai, responses
from proxy.errors import Refused
from proxy.meters.reader import requested_by
from proxy.sessions.chains import Chains
from proxy.sessions.keyed_hash import KeyedHash
from proxy.types import Call, Route

PARSERS: dict[str, Callable[[bytes], Call]] = {
    "chat": openai.parse_chat,
    "anthropic": anthropic.parse_messages,
    "responses": responses.parse,
    "compact": responses.parse_compact,
    "gemini": partial(gemini.parse_generate, "m", False),
    "converse": partial(bedrock.parse_converse, "m", False),
    "invoke": partial(bedrock.parse_invoke, "anthropic.claude-m", False),
}
_ENCODERS: dict[str, Callable[[Call, str], Any]] = {
    "gemini": gemini.encode, "converse": bedrock.encode, "invoke": bedrock.encode,
}  # fmt: skip
FIELDS = {"responses": "input", "compact": "input", "gemini": "contents"}  # elsewhere it is `messages`
_PROVIDERS = ("anthropic", "openai", "google", "aws-bedrock", "openrouter", "fake")
# Of a call, all that was there before it was said which of its messages are new.
_OF_A_CALL = (
    "dialect", "operation", "model", "body", "stream", "size_bytes", "output_caps", "sequences", "wants_usage", "media_items",
    "media", "betas", "beside_tokens", "least_output_tokens", "prompts", "hidden_tokens", "passes", "tool_calls", "extra",
    "fixed", "unbounded", "free", "held", "mentioned", "urls", "shape",
)  # fmt: skip
_KEY = KeyedHash(b"k" * 32)

_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_IMAGE = {"type": "base64", "media_type": "image/png", "data": _PNG}
# What stands in a block, or beside it, and must be seen wherever it stands; as an object, or as JSON that no writer makes.
_MARKS: tuple[dict[str, Any], ...] = (
    {"cache_control": {"type": "ephemeral"}},
    {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
    {"ttl": "1h"},
    {"1h": 1},
    {"citations": {"enabled": True}},
    {"citations": None},
    {"cachePoint": {"type": "default"}},
    {"prompt_cache_retention": "24h"},
    {"prompt_cache_options": {"ttl": "1h"}},
    {"file_id": "file-0123456789abcdef"},
    {"container": "cntr_0123456789"},
    {"container_id": "cntr_0123456789"},
    {"previous_message_id": "msg_01abc"},
    {"source": {"type": "url", "url": "https://example.com/a.png"}},
    {"source": "https://example.com"},
    {"url": "http://10.0.0.1/x"},
    {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
    {"id": "item_0123456789"},
    {"id": 7},
    {"type": 7},
    {"type": "compaction_trigger"},
    {"type": "item_reference", "id": "rs_0123456789"},
    {"tools": [{"type": "web_search"}]},
    {"tools": 3},
    {"service_tier": "priority"},
    {"n": 18446744073709551616},
    {"n": 1.8446744073709552e19},
    {"text": 5},
    {"cachedContent": "cachedContents/abc"},
    {"serviceAccount": "x"},
    {"system": "x", "role": "system"},
    {"role": "developer"},
    {"audio": {"id": "audio_0123456789"}},
    {"images": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
    {"tool_calls": [{"id": "c", "custom": {"name": "n", "input": "x"}}]},
    {"function_call": {"name": "f", "arguments": "{}"}},
)
_TOP: tuple[dict[str, Any], ...] = (
    {"service_tier": "priority"},
    {"speed": "fast"},
    {"container": "cntr_0123456789"},
    {"mcp_servers": [{"type": "url", "url": "https://mcp.example.com", "name": "m"}]},
    {"context_management": {"edits": [{"type": "compact_20260101"}]}},
    {"thread": {"type": "x", "previous_message_id": "msg_01abc"}},
    {"fallbacks": ["other"]},
    {"prompt_cache_retention": "24h"},
    {"previous_response_id": "resp_0123456789"},
    {"betas": ["context-1m-2025-08-07"]},
    {"metadata": {"user_id": "1h"}},
    {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
    {"thinking": {"type": "enabled", "budget_tokens": 2048}},
    {"model": {"file_id": "file-0123456789abcdef"}},
    {"model": "1h"},
    {"seed": 36893488147419103232},
    {"previous_message_id": "msg_01abc"},
    {"diagnostics": {"previous_message_id": "msg_01abc"}},
    {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 99}, "x": "1h"}},
    {"cachedContent": "cachedContents/abc"},
    {"anthropic_beta": ["context-1m-2025-08-07"]},
    {"max_tokens": 0},
)
_ODD: tuple[Any, ...] = (7, None, {}, [], {"role": "user"}, {"role": "user", "content": 7})
_TOOLS: tuple[dict[str, Any], ...] = (
    {"type": "web_search_20250305", "name": "web_search"},
    {"type": "web_search"},
    {"type": "code_execution_20250825", "name": "c"},
    {"type": "namespace", "name": "n", "tools": [{"type": "shell"}, {"type": "function", "name": "f"}]},
    {"type": "mcp", "server_url": "https://example.com"},
    {"type": "bash_20250124", "name": "bash"},
    {"googleSearch": {}},
    {"type": "function", "name": "f", "parameters": {"properties": {"1h": {"type": "string"}}}},
)


def bodies(dialect: str, seed: int, *, long: bool = False) -> Iterator[bytes]:
    """The requests of one agent, each with one turn more than the last, what it says of itself and its past now and then changed."""
    rng = random.Random(f"{dialect} {seed}")
    body = _beginning(dialect, rng)
    messages: list[Any] = body[FIELDS.get(dialect, "messages")]
    as_programs = rng.random() < 0.6  # most bodies are written in one way, without blanks
    filler = ("of no use " * 700, 12) if long else ("", 0)
    for number in range(filler[1]):
        messages += _turn(dialect, rng, number, filler[0])
    for number in range(rng.randint(3, 7)):
        messages += _turn(dialect, rng, number, "")
        if rng.random() < 0.1:
            _marked(rng, messages, rng.choice(_MARKS))
        changed = json.loads(json.dumps(body))
        if rng.random() < 0.25:
            changed |= rng.choice(_TOP)
        if rng.random() < 0.2:
            changed["tools"] = [*changed.get("tools", []), rng.choice(_TOOLS)] if rng.random() < 0.9 else 3
        listed = changed[FIELDS.get(dialect, "messages")]
        if rng.random() < 0.4:
            _marked(rng, [rng.choice(listed)], rng.choice(_MARKS))
        if rng.random() < 0.06:
            listed.append(rng.choice(_ODD))
        elif rng.random() < 0.06:
            listed.append(_deep(rng.randint(240, 260)))
        if rng.random() < 0.1:
            changed = {"x": {FIELDS.get(dialect, "messages"): listed[: rng.randint(0, 9)]}, **changed}
        raw = _as_programs(changed) if as_programs and rng.random() < 0.8 else _written(rng, changed)
        yield _damaged(rng, raw) if rng.random() < 0.15 else raw
        if rng.random() < 0.15:
            del messages[rng.randrange(len(messages))]


def _beginning(dialect: str, rng: random.Random) -> dict[str, Any]:
    system = f"You are agent {rng.randint(0, 3)}."
    tools = [{"name": f"t{number}", "input_schema": {"type": "object"}} for number in range(rng.randint(0, 3))]
    if dialect in ("anthropic", "invoke"):
        own: dict[str, Any] = {"model": "m", "max_tokens": 4096, "messages": [], "system": system, "tools": tools}
        return own if dialect == "anthropic" else {**own, "anthropic_version": "bedrock-2023-05-31"}
    if dialect == "gemini":
        return {
            "contents": [],
            "systemInstruction": {"parts": [{"text": system}]},
            "generationConfig": {"maxOutputTokens": 99},
        }
    if dialect == "converse":
        return {"system": [{"text": system}], "messages": [], "inferenceConfig": {"maxTokens": 99}}
    if dialect == "chat":
        functions = [{"type": "function", "function": {"name": tool["name"], "parameters": {}}} for tool in tools]
        return {"model": "m", "max_tokens": 99, "messages": [{"role": "system", "content": system}], "tools": functions}
    tools = [{"type": "function", "name": tool["name"], "parameters": {}} for tool in tools]
    return {"model": "m", "instructions": system, "input": [], "tools": tools, "store": False}


def _turn(dialect: str, rng: random.Random, number: int, filler: str) -> list[Any]:
    """What an agent does, and what comes of it."""
    text = f'{number} "line"\n\té {rng.randint(0, 5)} {filler}'
    edit = {"path": f"/a/{number}", "old": text, "n": rng.choice([1, 1.0, 2.5])}
    picture = rng.random() < 0.12
    if dialect in ("anthropic", "invoke"):
        result: list[Any] = [
            {"type": "text", "text": text},
            *([{"type": "image", "source": {**_IMAGE}}] if picture else []),
        ]
        return [
            {"role": "user", "content": text if rng.random() < 0.5 else [{"type": "text", "text": text}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": text, "signature": "Eq=="}, {"type": "text", "text": text},
                {"type": "tool_use", "id": f"toolu_{number}", "name": "t0", "input": edit},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": result}]},
        ]  # fmt: skip
    if dialect == "gemini":
        inline = [{"inlineData": {"mimeType": "image/png", "data": _PNG}}] if picture else []
        return [
            {"role": "user", "parts": [{"text": text}, *inline]},
            {"role": "model", "parts": [{"functionCall": {"name": "t0", "args": edit}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "t0", "response": {"output": text}}}]},
        ]
    if dialect == "converse":
        image = [{"image": {"format": "png", "source": {"bytes": _PNG}}}] if picture else []
        content = [{"text": text}, *image]
        return [
            {"role": "user", "content": [{"text": text}]},
            {
                "role": "assistant",
                "content": [{"text": text}, {"toolUse": {"toolUseId": "u", "name": "t0", "input": edit}}],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "u", "content": content, "status": "success"}}]},
        ]
    if dialect == "chat":
        call = {"id": f"call_{number}", "type": "function", "function": {"name": "t0", "arguments": json.dumps(edit)}}
        seen = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PNG}"}}] if picture else []
        return [
            {"role": "user", "content": [{"type": "text", "text": text}, *seen] if seen else text},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": text},
        ]
    inputs: list[Any] = [{"type": "input_text", "text": text}]
    inputs += [{"type": "input_image", "image_url": f"data:image/png;base64,{_PNG}"}] if picture else []
    return [
        {"type": "message", "role": "user", "content": inputs},
        {"type": "reasoning", "summary": [], "encrypted_content": "Eq=="},
        {"type": "function_call", "name": "t0", "arguments": json.dumps(edit), "call_id": f"call_{number}"},
        {"type": "function_call_output", "call_id": f"call_{number}", "output": text},
    ]


def _marked(rng: random.Random, messages: list[Any], mark: dict[str, Any]) -> None:
    """Put something into an object somewhere in the messages."""
    places: list[dict[str, Any]] = []
    stack: list[Any] = [messages]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            places.append(value)
            stack += value.values()
        elif isinstance(value, list):
            stack += value
    if places:
        rng.choice(places).update(copy.deepcopy(mark))


def _deep(depth: int) -> Any:
    value: Any = {"role": "user"}
    for _ in range(depth // 2):
        value = {"role": "user", "content": [value]}
    return value


def _written(rng: random.Random, body: dict[str, Any]) -> bytes:
    """As JSON: plain, with escapes of anything, or with a name that stands twice, of which readers take the last."""
    text = json.dumps(body, ensure_ascii=rng.random() < 0.5, separators=rng.choice([(",", ":"), (", ", ": ")]))
    way = rng.random()
    if way < 0.3:
        for word in ("1h", "citations", "cache_control", "cachePoint", "prompt_cache", "file_id", "type", "image"):
            letter = rng.randrange(len(word))
            escaped = f"{word[:letter]}\\u{ord(word[letter]):04x}{word[letter + 1 :]}"
            text = text.replace(f'"{word}', f'"{escaped}')
    elif way < 0.4:
        name = rng.choice([*body])
        text = f'{{"{name}": {rng.choice(["null", "[]", "7", json.dumps([{"1h": "1h"}])])}, {text[1:]}'
    elif way < 0.45:
        text = text[: rng.randrange(len(text))] + rng.choice(["", "}", "]", "7", '"'])
    return text.encode()


def _as_programs(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _damaged(rng: random.Random, raw: bytes) -> bytes:
    """With some bytes of it left out, doubled, moved or changed: what comes of that is seldom JSON."""
    first, last = sorted(rng.randrange(len(raw)) for _ in range(2))
    at = rng.randrange(len(raw))
    way = rng.randrange(6)
    if way == 0:
        return (
            raw[:at]
            + rng.choice([b"x", b'"', b"{", b"}", b"[", b"]", b",", b" ", b"\xff", b"\\", b"0"])
            + raw[at + 1 :]
        )
    if way == 1:
        at = raw.find(rng.choice([b'{"', b'":', b"},", b"]"]), at)
        return raw[:at] + rng.choice([b" ", b"\n", b""]) + raw[at:]
    if way == 2:
        return raw[:first] + raw[last:]
    if way == 3:
        return raw[:last] + raw[first:]
    places = [one for one, byte in enumerate(raw) if byte == ord("{")]
    first, last = sorted(rng.choice(places) for _ in range(2))
    if way == 4:
        return raw[:first] + raw[last:]
    return raw[:last] + raw[first:]


def outcome(dialect: str, raw: bytes) -> dict[str, Any]:
    """All that a body comes to, before it has a price: to be compared."""
    try:
        call = PARSERS[dialect](raw)
        sent = _ENCODERS.get(dialect, fields.encode)(call, "upstream-model").written({})
        told: dict[str, Any] = {"sent": sent.decode("latin-1")}
        for provider in _PROVIDERS:
            route = Route("m", "up", provider, "upstream-model")
            for context in (None, 200_000):
                told[f"{provider} {context}"] = repr(ceiling.estimate(call, route, len(sent), context, 8192))
            told[provider] = sorted(fixed_conditions(call, requested_by(call.body), provider, None).items())
        for translated in (False, True):
            told[f"without {translated}"] = sorted(ceiling.impossible_units(call, sent, translated=translated))
        told["conversation"] = _conversation(call)
        told["call"] = [repr(getattr(call, name)) for name in _OF_A_CALL]
        told["again"] = _ENCODERS.get(dialect, fields.encode)(call, "upstream-model").written({}) == sent
    except Refused as refused:
        refusal = refused.refusal
        return {"refused": [refusal.status, refusal.message, refusal.param, refusal.code]}
    return told


def _conversation(call: Call) -> list[Any]:
    chains = Chains(_KEY)
    read = chains.conversation(call, "key")
    return [[digest.hex() for digest in (*read.digests, read.system, read.asked)], chains.asked_elsewhere(read)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dialect", choices=[*PARSERS])
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--long", action="store_true")
    given = parser.parse_args()
    with contextlib.suppress(ImportError):  # another commit's
        from proxy.dialects.plain_messages import PlainMessages  # noqa: PLC0415 - see there

        PlainMessages.hash_is_secret = True
    for seed in range(given.seed, given.seed + given.agents):
        for number, raw in enumerate(bodies(given.dialect, seed, long=given.long)):
            told = outcome(given.dialect, raw)
            digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
            print(seed, number, len(raw), "refused" if "refused" in told else "sent", digest)


if __name__ == "__main__":
    main()
