#!/bin/sh
# litellm 1.110.2: `litellm.max_budget`, the budget of a process, is never reached: nothing adds to what it is compared with.
#
# Before each call `litellm._current_cost` is compared with it and BudgetExceededError raised (litellm/utils.py). What adds to it
# (litellm_core_utils/litellm_logging.py) does so for answers that are a dict with a key `content`. The answers of `completion`,
# `acompletion` and `responses` are objects and streams are left out, so it stays 0.0. Each answer's own cost is right
# (`_hidden_params["response_cost"]`): whoever sets the budget pays it all, and no error or warning says that it does not hold.
# Seen, with max_budget=1 and answers of $1.25: five calls each whole, asynchronous, streamed and as Responses, all let through, counted 0.0.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litellm==1.110.2
cat >"$folder/spend.py" <<'PYTHON'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import litellm

MESSAGES = [{"role": "user", "content": "Hello."}]


class Provider(BaseHTTPRequestHandler):
    """gpt-4o, half a million tokens in: $1.25."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        usage = {"prompt_tokens": 500_000, "completion_tokens": 0, "total_tokens": 500_000}
        choice = {"index": 0, "finish_reason": "stop"}
        head = {"id": "c", "created": 1, "model": body["model"]}
        if self.path.endswith("/responses"):
            answer = {
                "id": "resp_1", "object": "response", "created_at": 1, "model": body["model"], "status": "completed", "output": [],
                "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None,
                "instructions": None, "metadata": {}, "temperature": 1.0, "top_p": 1.0,
                "usage": {
                    "input_tokens": 500_000, "output_tokens": 0, "total_tokens": 500_000,
                    "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
                },
            }
            data = json.dumps(answer).encode()
        elif body.get("stream"):
            head["object"] = "chat.completion.chunk"
            chunks = head | {"choices": [choice | {"delta": {"content": "Hi"}}]}, head | {"choices": [], "usage": usage}
            data = ("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n").encode()
        else:
            choices = [choice | {"message": {"role": "assistant", "content": "Hi"}}]
            data = json.dumps(head | {"object": "chat.completion", "choices": choices, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if body.get("stream") else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


async def main():
    call = {"model": "openai/gpt-4o", "api_base": f"http://127.0.0.1:{server.server_port}/v1", "api_key": "none"}
    refused, costs = 0, []
    for _ in range(5):
        try:
            costs.append(litellm.completion(**call, messages=MESSAGES)._hidden_params["response_cost"])
            costs.append((await litellm.acompletion(**call, messages=MESSAGES))._hidden_params["response_cost"])
            list(litellm.completion(**call, messages=MESSAGES, stream=True, stream_options={"include_usage": True}))
            litellm.responses(**call, input="Hello.")
        except litellm.BudgetExceededError:
            refused += 1
        # What it does after an answer is done in threads and tasks of its own.
        await asyncio.sleep(2)
    return refused, litellm._current_cost, sum(costs)


litellm.suppress_debug_info = True
litellm.max_budget = 1.0
server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
refused, counted, spent = asyncio.run(main())
print(f"litellm {version('litellm')}: budget $1, rounds of four calls refused {refused} of 5, counted ${counted}, the ten plain calls alone ${spent}")
raise SystemExit((refused, counted, spent) != (0, 0.0, 12.5))
PYTHON
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" -W ignore "$folder/spend.py"
