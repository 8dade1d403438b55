#!/usr/bin/env bash
# Google's Gen AI SDK closes a client's connections when the Client object is collected, though its `models` is still in use:
# `genai.Client(...).models.generate_content(...)` in one line, or a function that returns `genai.Client(...).models`, ends with
# "RuntimeError: Cannot send a request, as the client has been closed.", before anything is sent. The same call through a client
# that has a name works. The SDKs of OpenAI and Anthropic take both.
#
# Seen with google-genai 3.6.1 (the newest on 2026-11-30).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet google-genai==3.6.1

cat > "$folder/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

from google import genai

asked = []


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        asked.append(self.path)
        content = {"role": "model", "parts": [{"text": "hello"}]}
        body = json.dumps({"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"


def client():
    return genai.Client(api_key="x", http_options={"base_url": address})


def told(models):
    try:
        return models.generate_content(model="gemini-2.5-flash", contents="Say hello.").text
    except RuntimeError as error:
        return f"RuntimeError: {error}"


named = client()
through_a_name = told(named.models)
in_one_line = told(client().models)
print(f"google-genai {version('google-genai')}: with a name {through_a_name!r}, in one line {in_one_line!r}; requests: {len(asked)}")
closed = "RuntimeError: Cannot send a request, as the client has been closed."
raise SystemExit(not ((through_a_name, in_one_line, len(asked)) == ("hello", closed, 1)))
PYTHON
"$folder/venv/bin/python" "$folder/ask.py"
