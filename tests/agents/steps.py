"""A provider that plays a run of six tool calls, in four dialects, and keeps the invoice itself.

It asks for a tool that the client offers, six times, then says that it is done. Of a framework that is the tool `lookup`; of
an agent program one of its own that only reads, with arguments made by the tool's schema. Every other call's arguments are
written with blanks, as some providers do, and every call's usage is another. `GET /_invoice`: the nano-dollars of each call so
far, by the file that the run's task names (FILE=…). As a command: `python -m tests.agents.steps` prints its port.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from typing import Any, NamedTuple

from tests.support.http_server import Handler, serve_forever
from tests.support.replay import sse

STEPS = 6
DONE = "all done"
PRICES_NANO = {"input": 1000, "cache_read": 100, "output": 10_000}
"""Nano-dollars a token, of every model: what the rig configures."""
# Tools that read, as programs name them, the first first; what runs commands comes last.
_HARMLESS = (
    "lookup", "read_file", "read", "view", "readfile", "read_files", "list_directory", "list_files", "ls", "list", "glob",
    "execute_bash", "bash", "run_shell_command", "run_terminal_command", "shell", "exec_command", "run_commands",
)  # fmt: skip
_FILE = re.compile(r"FILE=([^\s\"\\<]+)")


class Usage(NamedTuple):
    fresh: int
    cached: int
    output: int


class Asked(NamedTuple):
    """What matters of a request, whatever its dialect: which run it is of, and tools by name with their schemas."""

    file: str
    tools: dict[str, dict[str, Any]]


class Step(NamedTuple):
    """What the model does next: a tool with its arguments as text, or nothing more."""

    tool: str | None
    arguments: str


class Invoice:
    """Its own arithmetic: tokens times nano-dollars."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.costs: dict[str, list[int]] = {}
        self._steps: dict[str, int] = {}

    def take(self, run: str) -> tuple[int, Usage]:
        with self._lock:
            number = next(self._numbers)
            usage = Usage(fresh=1000 + 7 * number, cached=100 + number, output=20 + number % 13)
            cost = usage.fresh * PRICES_NANO["input"] + usage.cached * PRICES_NANO["cache_read"]
            self.costs.setdefault(run, []).append(cost + usage.output * PRICES_NANO["output"])
            return number, usage

    def step(self, run: str) -> int:
        """How many tools the run was told to call before; not read from its messages, of which programs drop old ones."""
        with self._lock:
            done = self._steps.get(run, 0)
            self._steps[run] = done + 1
            return done


INVOICE = Invoice()


def _value(name: str, schema: dict[str, Any], file: str) -> Any:
    """An argument that does nothing: by the schema's type, and for texts by the parameter's name."""
    kind = schema.get("type")
    kind = next((one for one in kind if one != "null"), "string") if isinstance(kind, list) else kind
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _value(name, next((one for one in schema["anyOf"] if one.get("type") != "null"), {}), file)
    if kind in ("integer", "number"):
        return 1
    if kind == "boolean":
        return False
    if kind == "array":
        return [_value(name.removesuffix("s"), schema.get("items") or {}, file)]
    if kind == "object":
        return _arguments(schema, file)
    if re.search("dir|cwd|folder", name, re.IGNORECASE):
        return file.rpartition("/")[0]
    if re.search("path|file", name, re.IGNORECASE):
        return file
    return {"pattern": "*.txt", "command": f"cat {file}", "cmd": f"cat {file}"}.get(name, "look")


def _arguments(schema: dict[str, Any], file: str) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    wanted = schema.get("required") or ([] if "number" not in properties else ["number"])
    return {name: _value(name, properties.get(name) or {}, file) for name in wanted}


def play(asked: Asked) -> Step:
    """The next step of the run. Who offers no tool that is known here (a side call for a title) gets words."""
    by_name = {
        name.lower().rpartition("-")[2]: name for name in asked.tools
    }  # Semantic Kernel's have their plugin's before
    tool = next((by_name[name] for name in _HARMLESS if name in by_name), None)
    step = STEPS if tool is None or not asked.file else INVOICE.step(asked.file)
    if tool is None or step >= STEPS:
        return _end(asked) if asked.file else Step(None, "")
    # another file each step: programs take the same call again for a loop
    arguments = _arguments(asked.tools[tool], asked.file.replace("notes", f"notes-{step}"))
    if "number" in arguments:
        arguments["number"] = step
    return Step(tool, json.dumps(arguments, separators=(", ", ": ") if step % 2 else (",", ":")))


def _end(asked: Asked) -> Step:
    """Words; but two of the programs end by a tool: smolagents, and mini-swe-agent, whose only one is a shell."""
    if "final_answer" in asked.tools:
        return Step("final_answer", json.dumps({"answer": DONE}))
    if set(asked.tools) == {"bash"}:
        return Step("bash", json.dumps({"command": f"echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; echo {DONE}"}))
    return Step(None, "")


def file_of(messages: Any) -> str:
    """The file that the run's task names; "" where there is none."""
    named = _FILE.search(json.dumps(messages))
    return named[1] if named else ""


# ---- chat completions --------------------------------------------------------------------------------------------------


def chat_asked(body: dict[str, Any]) -> Asked:
    functions = [tool["function"] for tool in body.get("tools") or [] if tool.get("type") == "function"]
    tools = {function["name"]: function.get("parameters") or {} for function in functions}
    return Asked(file_of(body["messages"]), tools)


def chat(body: dict[str, Any], step: Step, number: int, usage: Usage) -> bytes:
    told = {
        "prompt_tokens": usage.fresh + usage.cached, "completion_tokens": usage.output,
        "total_tokens": sum(usage), "prompt_tokens_details": {"cached_tokens": usage.cached},
    }  # fmt: skip
    message: dict[str, Any] = {"role": "assistant", "content": DONE}
    reason = "stop"
    if step.tool is not None:
        function = {"name": step.tool, "arguments": step.arguments}
        call = {"id": f"call_{number}", "type": "function", "function": function}
        message, reason = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    base = {"id": f"chatcmpl-{number}", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        whole = {"index": 0, "message": message, "finish_reason": reason}
        return json.dumps(base | {"object": "chat.completion", "choices": [whole], "usage": told}).encode()
    base["object"] = "chat.completion.chunk"
    if step.tool is not None:
        message["tool_calls"][0]["index"] = 0
    chunks = [
        base | {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        base | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
    ]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append(base | {"choices": [], "usage": told})
    return sse(*chunks, done=True)


# ---- responses ---------------------------------------------------------------------------------------------------------


def responses_asked(body: dict[str, Any]) -> Asked:
    tools: dict[str, dict[str, Any]] = {}
    for tool in body.get("tools") or []:
        for one in tool.get("tools") or [tool]:
            if one.get("type") == "function":
                tools[one["name"]] = one.get("parameters") or {}
    return Asked(file_of(body["input"]), tools)


def responses(body: dict[str, Any], step: Step, number: int, usage: Usage) -> bytes:
    told = {
        "input_tokens": usage.fresh + usage.cached, "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": sum(usage),
    }  # fmt: skip
    thought = {"id": f"rs_{number}", "type": "reasoning", "summary": [], "encrypted_content": f"thought-{number}"}
    part = {"type": "output_text", "text": DONE, "annotations": []}
    item: dict[str, Any] = {
        "id": f"msg_{number}", "type": "message", "role": "assistant", "status": "completed", "content": [part],
    }  # fmt: skip
    if step.tool is not None:
        item = {
            "id": f"fc_{number}", "type": "function_call", "name": step.tool, "call_id": f"call_{number}",
            "arguments": step.arguments, "status": "completed",
        }  # fmt: skip
    output = [thought, item]
    base: dict[str, Any] = {
        "id": f"resp_{number}", "object": "response", "created_at": 1, "model": body["model"], "error": None,
        "status": "in_progress", "output": [], "tools": [], "tool_choice": "auto", "parallel_tool_calls": True,
        "incomplete_details": None, "usage": None,
    }  # fmt: skip
    whole = base | {"status": "completed", "output": output, "usage": told}
    if not body.get("stream"):
        return json.dumps(whole).encode()
    events: list[dict[str, Any]] = [{"type": "response.created", "response": base}]
    for index, one in enumerate(output):
        events.append({"type": "response.output_item.added", "output_index": index, "item": one})
        if one["type"] == "message":
            where = {"item_id": one["id"], "output_index": index, "content_index": 0}
            events.append({"type": "response.content_part.added", "part": part | {"text": ""}, **where})
            events.append({"type": "response.output_text.delta", "delta": DONE, "logprobs": [], **where})
            events.append({"type": "response.output_text.done", "text": DONE, "logprobs": [], **where})
            events.append({"type": "response.content_part.done", "part": part, **where})
        if one["type"] == "function_call":
            where = {"item_id": one["id"], "output_index": index}
            events.append({"type": "response.function_call_arguments.delta", "delta": step.arguments, **where})
            events.append(
                {
                    "type": "response.function_call_arguments.done",
                    "arguments": step.arguments,
                    "name": step.tool,
                    **where,
                }
            )
        events.append({"type": "response.output_item.done", "output_index": index, "item": one})
    events.append({"type": "response.completed", "response": whole})
    return sse(*[event | {"sequence_number": place} for place, event in enumerate(events)], names=True)


# ---- messages ----------------------------------------------------------------------------------------------------------


def messages_asked(body: dict[str, Any]) -> Asked:
    tools = {tool["name"]: tool.get("input_schema") or {} for tool in body.get("tools") or []}
    return Asked(file_of(body["messages"]), tools)


def messages(body: dict[str, Any], step: Step, number: int, usage: Usage) -> bytes:
    told = {
        "input_tokens": usage.fresh, "cache_creation_input_tokens": 0, "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output, "service_tier": "standard",
    }  # fmt: skip
    block: dict[str, Any] = {"type": "text", "text": DONE}
    reason = "end_turn"
    if step.tool is not None:
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": step.tool, "input": json.loads(step.arguments)}
        reason = "tool_use"
    base = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "stop_sequence": None,
    }
    if not body.get("stream"):
        return json.dumps(base | {"content": [block], "stop_reason": reason, "usage": told}).encode()
    delta = {"type": "text_delta", "text": DONE}
    begun: dict[str, Any] = {"type": "text", "text": ""}
    if step.tool is not None:
        delta, begun = {"type": "input_json_delta", "partial_json": step.arguments}, block | {"input": {}}
    return sse(
        {"type": "message_start", "message": base | {"content": [], "stop_reason": None, "usage": told | {"output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": begun},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": told},
        {"type": "message_stop"},
        names=True,
    )  # fmt: skip


# ---- gemini ------------------------------------------------------------------------------------------------------------


def gemini_asked(body: dict[str, Any]) -> Asked:
    tools = {}
    for tool in body.get("tools") or []:
        for function in tool.get("functionDeclarations") or []:
            schema = function.get("parametersJsonSchema") or function.get("parameters") or {}
            tools[function["name"]] = json.loads(
                re.sub(r'"(STRING|OBJECT|INTEGER|NUMBER|BOOLEAN|ARRAY)"', lambda m: m[0].lower(), json.dumps(schema))
            )
    return Asked(file_of(body["contents"]), tools)


def gemini(model: str, step: Step, usage: Usage, *, stream: bool) -> bytes:
    part: dict[str, Any] = {"text": DONE}
    if step.tool is not None:
        part = {"functionCall": {"name": step.tool, "args": json.loads(step.arguments)}}
    told = {
        "promptTokenCount": usage.fresh + usage.cached, "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.output, "totalTokenCount": sum(usage),
    }  # fmt: skip
    content = {"role": "model", "parts": [part]}
    whole = {
        "candidates": [{"index": 0, "content": content, "finishReason": "STOP"}],
        "modelVersion": model,
        "usageMetadata": told,
    }
    return sse(whole) if stream else json.dumps(whole).encode()


DIALECTS = {
    "/v1/chat/completions": (chat_asked, chat),
    "/v1/responses": (responses_asked, responses),
    "/v1/messages": (messages_asked, messages),
}


class Model(Handler):
    def answer_request(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/_invoice":
            self.send_json(INVOICE.costs)
            return
        if self.command != "POST":
            self.send_json({"object": "list", "data": []})
            return
        body = self.read_json()
        if path.endswith(("count_tokens", "countTokens", "input_tokens")):
            self.send_json({"input_tokens": 120, "totalTokens": 120})
            return
        number, usage = INVOICE.take(file_of(body))
        if path in DIALECTS:
            read, write = DIALECTS[path]
            data = write(body, play(read(body)), number, usage)
            stream = bool(body.get("stream"))
        else:
            model, _, action = path.rpartition("/")[2].partition(":")
            stream = action.startswith("stream")
            data = gemini(model, play(gemini_asked(body)), usage, stream=stream)
        self.send(data, kind="text/event-stream" if stream else "application/json")


if __name__ == "__main__":
    serve_forever(Model)
