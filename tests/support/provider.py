"""A provider whose answers' usage the prompt states: `[fresh, cached, out, after_s]` or `[…, status]` as its last message.

Shares no code with the product.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import Any

from tests.support.http_server import Handler


def _asked(content: str) -> list[Any]:
    """Numbers, as a list in JSON; whoever says something else gets a small answer."""
    try:
        numbers: list[Any] = json.loads(content)
    except ValueError:
        return [9, 0, 6, 0]
    return numbers


class StatedUsage(Handler):
    """OpenAI's chat, whole or in a stream that takes as long as the tokens that it says it wrote.

    A subclass with an event of its own in `released` lets go of all that wait when that is set.
    """

    released = threading.Event()
    s_per_token = 0.0  # after the first byte

    def answer_request(self) -> None:
        body = self.read_json()
        fresh, cached, out, after_s, *status = _asked(body["messages"][-1]["content"])
        self.released.wait(after_s)
        usage = {
            "prompt_tokens": fresh + cached, "completion_tokens": out, "total_tokens": fresh + cached + out,
            "prompt_tokens_details": {"cached_tokens": cached}, "completion_tokens_details": {"reasoning_tokens": out // 3},
        }  # fmt: skip
        told = {"id": "c", "created": 1, "model": body["model"]}
        with contextlib.suppress(OSError):
            if status and status[0] != 200:
                self.send_json({"error": {"message": "overloaded", "type": "server_error"}}, status=status[0])
            elif body.get("stream"):
                self._stream(told, usage, out)
            else:
                time.sleep(out * self.s_per_token)
                choices = [{"index": 0, "message": {"role": "assistant", "content": "Done."}, "finish_reason": "stop"}]
                self.send_json(told | {"object": "chat.completion", "choices": choices, "usage": usage})

    def _stream(self, told: dict[str, Any], usage: dict[str, Any], out: int) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        chunk = told | {"object": "chat.completion.chunk"}
        for _ in range(12):
            self._event(chunk | {"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]})
            time.sleep(out * self.s_per_token / 12)
        self._event(chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._event(chunk | {"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, value: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
        self.wfile.flush()
