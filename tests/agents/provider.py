"""A provider that plays the model of an agent run: the main agent starts one sub-agent, both then say that they are done.

It knows the main agent by its task, which begins with MAIN, and starts the sub-agent by the tool that the client itself
offers for it. Streams only, as all agents ask for them. As a command: `python -m tests.agents.provider` prints its port.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.http_server import Handler, serve_forever
from tests.support.replay import CHAT_USAGE, MESSAGES_USAGE, RESPONSES_USAGE, sse

DONE = "all done"
TASK = {"description": "say hi", "prompt": "SUB say done"}


def messages(body: dict[str, Any]) -> bytes:
    """Anthropic's stream; Claude Code's tool is Agent."""
    said = json.dumps(body["messages"][-1]["content"])
    tools = [tool.get("name") for tool in body.get("tools", [])]
    block: dict[str, Any] = {"type": "text", "text": ""}
    delta, reason = {"type": "text_delta", "text": DONE}, "end_turn"
    if "Agent" in tools and "MAIN" in said and "tool_result" not in said:
        block = {"type": "tool_use", "id": "toolu_1", "name": "Agent", "input": {}}
        task = TASK | {"subagent_type": "general-purpose"}
        delta, reason = {"type": "input_json_delta", "partial_json": json.dumps(task)}, "tool_use"
    begun = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": [], "stop_reason": None,
             "stop_sequence": None, "usage": MESSAGES_USAGE | {"output_tokens": 1}}  # fmt: skip
    return sse(
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 30}},
        {"type": "message_stop"},
        names=True,
    )  # fmt: skip


def chat(body: dict[str, Any]) -> bytes:
    """OpenAI's chat stream; opencode's tool is task."""
    last = body["messages"][-1]
    tools = [tool["function"]["name"] for tool in body.get("tools", []) if tool.get("type") == "function"]
    delta: dict[str, Any] = {"role": "assistant", "content": DONE}
    reason = "stop"
    if "task" in tools and last["role"] == "user" and "MAIN" in json.dumps(last["content"]):
        function = {"name": "task", "arguments": json.dumps(TASK | {"subagent_type": "general"})}
        delta = {
            "role": "assistant",
            "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}],
        }
        reason = "tool_calls"
    base = {"id": "chatcmpl-1", "created": 1, "model": body["model"], "object": "chat.completion.chunk"}
    return sse(
        base | {"choices": [{"index": 0, "delta": delta}], "usage": None},
        base | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": None},
        base | {"choices": [], "usage": CHAT_USAGE},
        done=True,
    )


def responses(body: dict[str, Any]) -> bytes:
    """OpenAI's Responses stream; Codex's tools are spawn_agent and wait_agent, in a namespace."""
    items = body["input"]
    last = items[-1]
    text = {"type": "output_text", "text": DONE, "annotations": []}
    item: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    if last.get("role") == "user" and "MAIN" in json.dumps(last):
        item = _tool(body, "spawn_agent", {"message": TASK["prompt"], "task_name": "helper"}) or item
    elif last.get("type") == "function_call_output" and last.get("call_id") == "spawn_agent":
        started = json.loads(last["output"]).get("agent_id")
        item = _tool(body, "wait_agent", {"targets": [started], "timeout_ms": 20_000}) or item
    base = {"id": f"resp_{len(items)}", "object": "response", "created_at": 1, "model": body["model"], "error": None,
            "status": "in_progress", "output": [], "usage": None}  # fmt: skip
    whole = base | {"status": "completed", "output": [item], "usage": RESPONSES_USAGE}
    return sse(
        {"type": "response.created", "sequence_number": 0, "response": base},
        {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item},
        {"type": "response.output_item.done", "sequence_number": 2, "output_index": 0, "item": item},
        {"type": "response.completed", "sequence_number": 3, "response": whole},
        names=True,
    )


def _tool(body: dict[str, Any], name: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """A call of the tool, where the client offers it; its call's id is its name."""
    call = {"id": f"fc_{name}", "type": "function_call", "name": name, "call_id": name, "status": "completed"}
    for tool in body.get("tools", []):
        if tool.get("name") == name:
            return call | {"arguments": json.dumps(arguments)}
        if any(one.get("name") == name for one in tool.get("tools", [])):
            return call | {"arguments": json.dumps(arguments), "namespace": tool["name"]}
    return None


PATHS = {"/v1/messages": messages, "/v1/chat/completions": chat, "/v1/responses": responses}


class Model(Handler):
    def answer_request(self) -> None:
        body = self.read_json()
        path = self.path.partition("?")[0]
        found = PATHS.get(path)
        data = found(body) if found else json.dumps({"input_tokens": 120}).encode()
        self.send(data, kind="text/event-stream" if found else "application/json")


if __name__ == "__main__":
    serve_forever(Model)
