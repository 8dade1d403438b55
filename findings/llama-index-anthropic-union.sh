#!/bin/sh
# llama-index-llms-anthropic 0.12.3: as pip installs it (with anthropic 2.14.0) no message can be sent.
#
# It asks for `anthropic[bedrock,vertex]` without an upper bound that would keep version 2 out, and makes each message by calling the
# SDK's `MessageParam`. That is a union of types now, no longer a TypedDict, and so cannot be called: importing and making the client
# work, the first `chat` is a TypeError out of Python's typing, before anything is sent. With anthropic 0.x the same program gets its answer.
# Seen: `chat` with anthropic 2.14.0: TypeError "Cannot instantiate typing.Union", no request; with 0.125.0 "Hello", one request.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" --quiet --disable-pip-version-check "$@"; }
cat >"$folder/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from llama_index.core.llms import ChatMessage
from llama_index.llms.anthropic import Anthropic

requests = 0


class Provider(BaseHTTPRequestHandler):
    def do_POST(self):
        global requests
        requests += 1
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        data = json.dumps({
            "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_reason": "end_turn", "stop_sequence": None,
            "content": [{"type": "text", "text": "Hello"}], "usage": {"input_tokens": 10, "output_tokens": 2},
        }).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = Anthropic(model="claude-sonnet-4-5", api_key="none", base_url=f"http://127.0.0.1:{server.server_port}")
try:
    said = model.chat([ChatMessage(role="user", content="Hi")]).message.content
except TypeError as error:
    said = f"TypeError: {error}"
print(f"{said}, {requests} requests, anthropic {version('anthropic').split('.')[0]}")
PYTHON
pip install llama-index-llms-anthropic==0.12.3 anthropic==2.14.0
new=$("$folder/venv/bin/python" -W ignore "$folder/ask.py")
pip install "anthropic[bedrock,vertex]==0.125.0"
old=$("$folder/venv/bin/python" -W ignore "$folder/ask.py")
echo "llama-index-llms-anthropic 0.12.3: $new / $old"
[ "$new / $old" = "TypeError: Cannot instantiate typing.Union, 0 requests, anthropic 2 / Hello, 1 requests, anthropic 0" ]
