"""A provider that plays a model with one tool call: it reads a note with the tool that the client offers, and says what it found.

It speaks Anthropic's messages at `/v1/messages` and OpenAI's chat at `/v1/chat/completions`, and nothing else. `GET /_seen` has
the paths that were asked. As a command: `python -m tests.agents.note_reader NOTE` prints its port.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from tests.support.http_server import Handler, serve_forever
from tests.support.replay import CHAT_USAGE, MESSAGES_USAGE, sse

FOUND = "The note says: "
_seen: list[str] = []


def call(tools: list[str], note: str) -> tuple[str, dict[str, Any]] | None:
    """The client's tool that reads a file, and its arguments: Claude Code's, then Codex's of several versions."""
    known = {
        "Read": {"file_path": note},
        "exec_command": {"cmd": f"cat {note}"},
        "shell_command": {"command": f"cat {note}"},
        "shell": {"command": ["cat", note]},
    }
    return next(((name, known[name]) for name in known if name in tools), None)


def answer(body: dict[str, Any]) -> tuple[str, tuple[str, dict[str, Any]] | None]:
    """What the model says, or the call that it makes."""
    said = json.dumps(body["messages"])
    secret = re.search(r"zebra-\d+", said)
    if secret:
        return FOUND + secret[0], None
    names = [tool.get("name") or tool["function"]["name"] for tool in body.get("tools", [])]
    return "nothing", call(names, sys.argv[1])


def messages(body: dict[str, Any]) -> bytes:
    text, tool = answer(body)
    block: dict[str, Any] = (
        {"type": "tool_use", "id": "toolu_1", "name": tool[0], "input": {}} if tool else {"type": "text", "text": ""}
    )
    delta = (
        {"type": "input_json_delta", "partial_json": json.dumps(tool[1])}
        if tool
        else {"type": "text_delta", "text": text}
    )
    stop = {"stop_reason": "tool_use" if tool else "end_turn", "stop_sequence": None}
    begun = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": [], "stop_reason": None,
             "stop_sequence": None, "usage": MESSAGES_USAGE | {"output_tokens": 1}}  # fmt: skip
    return sse(
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 30}},
        {"type": "message_stop"},
        names=True,
    )


def chat(body: dict[str, Any]) -> bytes:
    text, tool = answer(body)
    delta: dict[str, Any] = {"role": "assistant", "content": text}
    if tool:
        function = {"name": tool[0], "arguments": json.dumps(tool[1])}
        delta = {
            "role": "assistant",
            "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}],
        }
    base = {"id": "chatcmpl-1", "created": 1, "model": body["model"], "object": "chat.completion.chunk"}
    return sse(
        base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if tool else "stop"}]},
        base | {"choices": [], "usage": CHAT_USAGE},
        done=True,
    )


class NoteReader(Handler):
    def answer_request(self) -> None:
        if self.path == "/_seen":
            self.send_json(_seen)
            return
        body = self.read_json()
        _seen.append(self.path)
        ways = {"/v1/messages": messages, "/v1/chat/completions": chat}
        way = ways.get(self.path.partition("?")[0])
        if way is None:
            self.send_json({"error": {"message": "there is nothing here"}}, status=404)
        else:
            self.send(way(body), kind="text/event-stream")


if __name__ == "__main__":
    serve_forever(NoteReader)
