"""Calls through the translator's application, without a gateway around it, as lines of JSON.

Each line has a call's name, its status, its headers, its body, the usage that was read and what the provider was asked. What is
random or the time is taken out. `beside_litellm.py` runs them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.translate.adapter import Adapter
from proxy.translate.server import Translation
from tests.support.translation_asked import PATHS, asked
from tests.support.translation_rig import (
    CHAT_TOOL,
    MESSAGES_TOOL,
    MODELS,
    RESPONSES_TOOL,
    config_fields,
    upstreams,
)

_NATIVE = {("chat", "openai"), ("messages", "anthropic"), ("responses", "openai")}
_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
_MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
_FORMAT = {"name": "answer", "schema": _SCHEMA, "strict": True}
# What varies of a call, by caller: what is said, and what else is asked.
_KINDS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "words": ("PATIENT", {}),
    "options": ("Hi", {
        "chat": {"temperature": 0.5, "top_p": 0.9, "stop": ["x"], "seed": 1, "user": "u", "n": 1},
        "responses": {"temperature": 0.5, "instructions": "Be brief.", "user": "u"},
        "messages": {"temperature": 0.5, "top_k": 3, "stop_sequences": ["x"], "system": "Be brief."},
    }),
    "tools": ("TOOL", {
        "chat": {"tools": [CHAT_TOOL], "tool_choice": "required"},
        "responses": {"tools": [RESPONSES_TOOL], "tool_choice": "required"},
        "messages": {"tools": [MESSAGES_TOOL], "tool_choice": {"type": "any"}},
    }),
    "thoughts": ("THINK PATIENT", {
        "chat": {"reasoning_effort": "low"},
        "responses": {"reasoning": {"effort": "low", "summary": "auto"}},
        "messages": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    }),
    "form": ("Hi", {
        "chat": {"response_format": {"type": "json_schema", "json_schema": _FORMAT}},
        "responses": {"text": {"format": {"type": "json_schema"} | _FORMAT}},
        "messages": {"output_format": {"type": "json_schema", "schema": _SCHEMA}},
    }),
    "marks": ("Hi", {
        "chat": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Zebras. " * 300} | _MARK]}]},
        "messages": {"system": [{"type": "text", "text": "Zebras. " * 300} | _MARK]},
    }),
    "picture": ("Hi", {
        "chat": {"messages": [{"role": "user", "content": [
            {"type": "text", "text": "What?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PNG}"}},
        ]}]},
        "responses": {"input": [{"role": "user", "content": [
            {"type": "input_text", "text": "What?"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{_PNG}"},
        ]}]},
        "messages": {"messages": [{"role": "user", "content": [
            {"type": "text", "text": "What?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PNG}},
        ]}]},
    }),
    "cut": ("LENGTH", {}),
    "refused": ("REFUSE", {}),
    "busy": ("BUSY", {}),
    "wrong": ("WRONG", {}),
}  # fmt: skip
# Where it stands, and what was read by then, depends on how much of the stream has come: its last word is compared.
_READING = re.compile(r'data: \{"taximeter_reading": (.*),"flags":.*\n\n')
_RANDOM = (
    (re.compile(r"127\.0\.0\.1:\d+"), "cloud"),
    (re.compile(r'"created(_at)?":\s*[\d.]+'), '"created":0'),
    (re.compile(r"\b(chatcmpl|msg|resp|rs|fc|call|toolu|tooluse|reasoning|cmpl)[_-][\w=+/-]+"), r"\1_"),
    (re.compile(r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b"), "uuid"),
)


def calls(*, every: bool) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """A call's name, its upstream, its caller and its body. every: else only those of a chessboard."""
    number = 0
    for provider in MODELS:
        for caller in PATHS:
            if (caller, provider) in _NATIVE:
                continue
            for row, (kind, (said, more)) in enumerate(_KINDS.items()):
                number += 1
                for stream in (False, True):
                    if every or (number + row + 3 * stream) % 8 == 0:
                        body = (
                            _body(caller, provider, said) | more.get(caller, {}) | ({"stream": True} if stream else {})
                        )
                        if stream and caller == "chat" and row % 2 == 0:
                            body["stream_options"] = {"include_usage": True}
                        yield f"{caller} {provider} {kind}{' stream' if stream else ''}", provider, caller, body


def _body(caller: str, provider: str, said: str) -> dict[str, Any]:
    if caller == "responses":
        return {"model": MODELS[provider], "input": said, "max_output_tokens": 4000, "store": False}
    return {"model": MODELS[provider], "messages": [{"role": "user", "content": said}], "max_tokens": 4000}


def _plain(text: str) -> str:
    for pattern, by in _RANDOM:
        text = pattern.sub(by, text)
    return text


async def _call(application: Translation, upstream: str, caller: str, body: dict[str, Any]) -> list[Any]:
    sent = await asked(application, upstream, caller, body)
    headers = sorted([name.decode(), _plain(value.decode())] for name, value in sent[0]["headers"])
    said = _plain(b"".join(part["body"] for part in sent[1:]).decode())
    readings = _READING.findall(said)
    return [sent[0]["status"], headers, _READING.sub("", said), readings[-1:]]


async def called(adapter: Adapter, port: int, file: Path, *, every: bool) -> None:
    """port: that of a `tests.support.clouds`."""
    account = Path(os.environ["TRANSLATED_ACCOUNT"]).read_text().replace("127.0.0.1:0/", f"127.0.0.1:{port}/")
    config = read_section(Config, config_fields(upstreams(port, account)))
    application = Translation(config, adapter)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as cloud:
        with file.open("w") as out:
            for name, upstream, caller, body in calls(every=every):
                answer = await _call(application, upstream, caller, body)
                asked = (await cloud.get("/_asked")).json().get(upstream) if answer[0] == 200 else None
                print(json.dumps([name, *answer, _plain(json.dumps(asked, sort_keys=True))]), file=out)
