#!/bin/sh
# litellm 1.110.2: a streamed Responses call to a deployment with a name of its own is asked for whole, and its answer handed out in pieces.
#
# What decides is whether the model's name is in litellm's list: `azure/gpt-4o` is asked with `stream: true`, `azure/our-deployment`
# without `stream`. The caller gets events all the same, made of the finished answer: nothing comes before everything is written, and
# whoever hangs up meanwhile stops nothing and pays for all of it. Azure's deployments may have any name, and mostly do.
# Seen: {'gpt-4o': True, 'our-deployment': None}; both hand out response.completed.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litellm==1.110.2
cat >"$folder/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import litellm

litellm.suppress_debug_info = True
asked = {}


class Responses(BaseHTTPRequestHandler):
    """Answers as asked, whole or as a stream, and notes which."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked[body["model"]] = body.get("stream")
        message = {
            "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
        }
        answer = {
            "id": "resp_1", "object": "response", "created_at": 1, "model": body["model"], "status": "completed", "output": [message],
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None,
            "instructions": None, "metadata": {}, "temperature": 1.0, "top_p": 1.0,
            "usage": {
                "input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
                "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
            },
        }
        kind, data = "application/json", json.dumps(answer).encode()
        if body.get("stream"):
            event = json.dumps({"type": "response.completed", "sequence_number": 1, "response": answer})
            kind, data = "text/event-stream", f"event: response.completed\ndata: {event}\n\n".encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Responses)
threading.Thread(target=server.serve_forever, daemon=True).start()
ends = {}
for name in ("gpt-4o", "our-deployment"):
    stream = litellm.responses(
        model=f"azure/{name}", input="Hi", stream=True, api_key="k", api_version="2025-04-01-preview",
        api_base=f"http://127.0.0.1:{server.server_port}",
    )
    ends[name] = [str(getattr(event.type, "value", event.type)) for event in stream][-1]
server.shutdown()
print(asked, ends)
assert asked == {"gpt-4o": True, "our-deployment": None}, asked
assert set(ends.values()) == {"response.completed"}, ends
PYTHON
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" "$folder/ask.py"
