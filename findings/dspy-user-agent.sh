#!/usr/bin/env bash
# DSPy writes its name into each request's headers ("User-Agent: DSPy/VERSION"), and sends another: since it asks without LiteLLM,
# by a client of its own that it carries along, a server sees "lm15/stdlib". Whoever tells programs apart by their user agent
# takes DSPy for something unknown.
#
# Seen with dspy 3.4.1 (the newest on 2026-11-29).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dspy==3.4.1

cat > "$folder/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import dspy
from dspy.clients import lm

seen = []


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        seen.append(self.headers["user-agent"])
        message = {"role": "assistant", "content": "hello"}
        body = json.dumps({
            "id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = dspy.LM("openai/gpt-4o-mini", api_base=f"http://127.0.0.1:{server.server_port}/v1", api_key="sk-x", cache=False)
print(model("Say hello."))
wanted = lm._add_dspy_identifier_to_headers()["User-Agent"]
print(f"dspy {version('dspy')}: its code says {wanted!r}, the server saw {seen[0]!r}")
raise SystemExit(not (wanted == "DSPy/3.4.1" and seen[0] == "lm15/stdlib"))
PYTHON
"$folder/venv/bin/python" "$folder/ask.py"
