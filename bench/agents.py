"""An agent's requests late in a session, as each dialect has them: 133 messages, 20 tools, some 630 KB. No code of the product.

OpenAI's chat is the plainest: texts alone. The others are as agent programs write them: each turn a thought, a call of a tool
and its result, most of the bytes in the results (source code, so that there are line ends and quotes in them); Anthropic's has
the cache marks of Claude Code, Responses' is as Codex sends it. None names its session: then it has to be recognised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.wire import AGENT_BODY, MODEL, PATH, UNARY_ANSWER, request

MESSAGES_MODEL, RESPONSES_MODEL = "bench-messages", "bench-responses"
_TURNS, _TOOLS = 66, 20  # a turn: what the model does, and what comes of it
_SENTENCE = "The connection ends before its first line, so that the caller never learns what became of it. "
_LINE = '    if "%s-%d" not in known[%d]:\n        raise LookupError(f"no \'{name}\' in {path!r}: %d")\n'
_SEAL = "EqQBCkYIBxgCKkBx7vF0c2lnbmF0dXJlIG9mIGEgdGhvdWdodA"  # what stands for a signature is as long, and says nothing
_MARK = {"type": "ephemeral"}


@dataclass(frozen=True)
class AgentRequest:
    """model: as it is asked for. path: where it goes. spoken: the upstream's word for the dialect. provider: whose it is. answer:
    what the provider says. headers: beside an OpenAI SDK's. blanks: whether they stand in its JSON."""

    dialect: str
    model: str
    path: str
    spoken: str
    provider: str
    body: bytes
    answer: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    blanks: bool = False

    def request(self, headers: Mapping[str, str]) -> bytes:
        """The whole of it; headers: more of them."""
        return request(self.body, path=self.path, headers={**self.headers, **headers})

    def with_blanks(self) -> AgentRequest:
        """The same as google-genai, botocore, requests and LiteLLM write it: by Python's json, as it is of itself."""
        return replace(self, body=json.dumps(json.loads(self.body)).encode(), blanks=True)


def _source(number: int, lines: int) -> str:
    """What a tool read: so many lines of source code, other ones for each number."""
    return "".join(
        [_LINE % (("reader", "writer", "pool")[line % 3], number * 7 + line, number, line) for line in range(lines)]
    )


def _edit(number: int) -> dict[str, Any]:
    """What a tool is called with."""
    return {
        "file_path": f"/home/dev/project/src/module_{number % 12}/part_{number}.py",
        "old_string": _source(number, 6),
        "new_string": _source(number + 1, 6),
        "replace_all": bool(number % 2),
    }


def _schema() -> dict[str, Any]:
    names = ("file_path", "old_string", "new_string", "pattern", "command", "description")
    fields = {name: {"type": "string", "description": _SENTENCE} for name in names}
    return {
        "type": "object",
        "properties": {**fields, "limit": {"type": "integer", "minimum": 1}, "replace_all": {"type": "boolean"}},
        "required": ["file_path"],
        "additionalProperties": False,
    }


def _thought(number: int) -> str:
    return f"{number}: " + _SENTENCE * 5


_SYSTEM = _SENTENCE * 160
_FIRST = "Find out why the test fails, and mend it.\n" + _SENTENCE * 10
_REMINDER = "<system-reminder>\n" + _SENTENCE * 8 + "</system-reminder>"
_LINES = 58  # of a result


def _anthropic() -> dict[str, Any]:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": _REMINDER}, {"type": "text", "text": _FIRST}]}
    ]
    for number in range(_TURNS):
        messages.append({"role": "assistant", "content": [
            {"type": "thinking", "thinking": _thought(number), "signature": _SEAL * 8},
            {"type": "text", "text": _SENTENCE},
            {"type": "tool_use", "id": f"toolu_01{number:022d}", "name": f"tool_{number % _TOOLS}", "input": _edit(number)},
        ]})  # fmt: skip
        result = _source(number, _LINES)
        content: str | list[dict[str, str]] = result if number % 2 else [{"type": "text", "text": result}]
        messages.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": f"toolu_01{number:022d}", "content": content, "is_error": False},
            *([{"type": "text", "text": _REMINDER}] if number % 8 == 0 else []),
        ]})  # fmt: skip
    for message in (messages[-1], messages[-3]):  # the marks move on from turn to turn
        message["content"][-1]["cache_control"] = _MARK
    return {
        "model": MESSAGES_MODEL,
        "max_tokens": 32_000,
        "messages": messages,
        "system": [
            {"type": "text", "text": "You are an agent that works on source code.", "cache_control": _MARK},
            {"type": "text", "text": _SYSTEM, "cache_control": _MARK},
        ],
        "tools": [
            {"name": f"tool_{number}", "description": _SENTENCE * 12, "input_schema": _schema()}
            for number in range(_TOOLS)
        ],
        "thinking": {"type": "enabled", "budget_tokens": 10_000},
    }


def _responses() -> dict[str, Any]:
    items: list[dict[str, Any]] = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": _FIRST}]}
    ]
    for number in range(_TURNS):
        items += [
            {"type": "reasoning", "summary": [], "content": None, "encrypted_content": _SEAL * 30},
            {"type": "function_call", "name": f"tool_{number % _TOOLS}", "arguments": json.dumps(_edit(number)), "call_id": f"call_{number:024d}"},
            {"type": "function_call_output", "call_id": f"call_{number:024d}", "output": _source(number, _LINES)},
        ]  # fmt: skip
    return {
        "model": RESPONSES_MODEL,
        "instructions": _SYSTEM,
        "input": items,
        "tools": [
            {"type": "function", "name": f"tool_{number}", "description": _SENTENCE * 12, "strict": False, "parameters": _schema()}
            for number in range(_TOOLS)
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "019a7f2e-0000-7000-8000-000000000001",
        "max_output_tokens": 32_000,
    }  # fmt: skip


def _gemini() -> dict[str, Any]:
    contents: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": _FIRST}]}]
    for number in range(_TURNS):
        name = f"tool_{number % _TOOLS}"
        contents.append({"role": "model", "parts": [
            {"text": _SENTENCE}, {"functionCall": {"name": name, "args": _edit(number)}, "thoughtSignature": _SEAL * 8},
        ]})  # fmt: skip
        response = {"name": name, "response": {"output": _source(number, _LINES)}}
        contents.append({"role": "user", "parts": [{"functionResponse": response}]})
    declared = [
        {"name": f"tool_{number}", "description": _SENTENCE * 12, "parametersJsonSchema": _schema()}
        for number in range(_TOOLS)
    ]
    return {
        "contents": contents,
        "systemInstruction": {"role": "user", "parts": [{"text": _SYSTEM}]},
        "tools": [{"functionDeclarations": declared}],
        "generationConfig": {"temperature": 1, "topP": 0.95, "maxOutputTokens": 32_000},
    }


def _converse() -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": [{"text": _FIRST}]}]
    for number in range(_TURNS):
        use = {"toolUseId": f"tooluse_{number:016d}", "name": f"tool_{number % _TOOLS}"}
        messages.append({"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": _thought(number), "signature": _SEAL * 8}}},
            {"text": _SENTENCE}, {"toolUse": {**use, "input": _edit(number)}},
        ]})  # fmt: skip
        result = {"toolUseId": use["toolUseId"], "content": [{"text": _source(number, _LINES)}], "status": "success"}
        messages.append({"role": "user", "content": [{"toolResult": result}]})
    messages[-1]["content"].append({"cachePoint": {"type": "default"}})
    specs = [
        {"toolSpec": {"name": f"tool_{number}", "description": _SENTENCE * 12, "inputSchema": {"json": _schema()}}}
        for number in range(_TOOLS)
    ]
    return {
        "messages": messages,
        "system": [{"text": _SYSTEM}, {"cachePoint": {"type": "default"}}],
        "inferenceConfig": {"maxTokens": 32_000},
        "toolConfig": {"tools": specs},
    }


def _compact(body: Mapping[str, Any]) -> bytes:
    """As JavaScript, openai and anthropic write it (`AgentRequest.with_blanks`: the others)."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


_MESSAGE = (
    b'{"id":"msg_01","type":"message","role":"assistant","model":"gpt-4o-mini","content":[{"type":"text","text":"The test'
    b' passes now."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":19,"cache_creation_input_tokens"'
    b':2048,"cache_creation":{"ephemeral_5m_input_tokens":2048,"ephemeral_1h_input_tokens":0},"cache_read_input_tokens":150000,"output_tokens":21}}'
)
_RESPONSE = (
    b'{"id":"resp_01","object":"response","created_at":1700000000,"status":"completed","model":"gpt-4o-mini","output":[{"type"'
    b':"message","id":"msg_01","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"text"'
    b':"The test passes now."}]}],"usage":{"input_tokens":152000,"input_tokens_details":{"cached_tokens":150000},'
    b'"output_tokens":21,"output_tokens_details":{"reasoning_tokens":5},"total_tokens":152021}}'
)
_CANDIDATES = (
    b'{"candidates":[{"content":{"role":"model","parts":[{"text":"The test passes now."}]},"finishReason":"STOP","index":0}],'
    b'"usageMetadata":{"promptTokenCount":152000,"cachedContentTokenCount":150000,"candidatesTokenCount":21,"totalTokenCount"'
    b':152021},"modelVersion":"gpt-4o-mini","responseId":"r1"}'
)
_OUTPUT = (
    b'{"metrics":{"latencyMs":1},"output":{"message":{"content":[{"text":"The test passes now."}],"role":"assistant"}},'
    b'"stopReason":"end_turn","usage":{"cacheReadInputTokens":150000,"cacheWriteInputTokens":2048,"inputTokens":19,'
    b'"outputTokens":21,"totalTokens":152088}}'
)
AGENTS = {
    agent.dialect: agent
    for agent in (
        AgentRequest("openai", MODEL, PATH, "openai", "fake", AGENT_BODY, UNARY_ANSWER),
        AgentRequest(
            "anthropic", MESSAGES_MODEL, "/v1/messages", "anthropic", "anthropic", _compact(_anthropic()), _MESSAGE,
            {"anthropic-version": "2023-06-01", "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14"},
        ),
        AgentRequest("responses", RESPONSES_MODEL, "/v1/responses", "openai", "openai", _compact(_responses()), _RESPONSE),
        AgentRequest("gemini", MODEL, f"/v1beta/models/{MODEL}:generateContent", "gemini", "google", _compact(_gemini()), _CANDIDATES),
        AgentRequest("bedrock", MODEL, f"/model/{MODEL}/converse", "bedrock", "aws-bedrock", _compact(_converse()), _OUTPUT),
    )
}  # fmt: skip
