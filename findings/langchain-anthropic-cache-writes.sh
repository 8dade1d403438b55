#!/bin/sh
# langchain-anthropic 1.7.10: what was written into the cache is called by other names in a whole answer than in a streamed one.
#
# Anthropic states the sum (`cache_creation_input_tokens`) and, in `cache_creation`, how it divides into five minutes and an hour, in
# a whole answer as in a stream's message_start. Of a whole answer `usage_metadata.input_token_details` has the two parts and
# `cache_creation: 0`; of a stream it has the sum as `cache_creation` and no parts. `input_tokens` includes what was written in both.
# Who reads `cache_creation` bills whole answers' writes as ordinary input (1.25 and 2 times its price in truth); who
# adds the parts bills a stream's writes as ordinary input; who takes the sum at the price of five minutes is three eighths short for an hour.
# Seen, for 100 tokens for five minutes and 200 for an hour: whole 0, 100, 200; streamed 300, none, none.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check langchain-anthropic==1.7.10
cat >"$folder/read.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from langchain_anthropic import ChatAnthropic

SUMS = {"input_tokens": 200, "cache_creation_input_tokens": 300, "cache_read_input_tokens": 500, "output_tokens": 100}
USAGE = SUMS | {"cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200}}


class Provider(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_reason": "end_turn",
            "stop_sequence": None, "content": [{"type": "text", "text": "Hello"}], "usage": USAGE,
        }
        data = json.dumps(message).encode()
        if body.get("stream"):
            start = message | {"content": [], "stop_reason": None, "usage": USAGE | {"output_tokens": 1}}
            events = (
                {"type": "message_start", "message": start},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": SUMS},
                {"type": "message_stop"},
            )
            data = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if body.get("stream") else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def writes(message):
    usage = message.usage_metadata
    details = usage["input_token_details"]
    names = ("cache_creation", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
    return usage["input_tokens"], *(details.get(name) for name in names)


server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = ChatAnthropic(model="claude-sonnet-4-5", api_key="none", base_url=f"http://127.0.0.1:{server.server_port}")
chunks = list(model.stream("Hi"))
streamed = chunks[0]
for chunk in chunks[1:]:
    streamed += chunk
seen = writes(model.invoke("Hi")), writes(streamed)
print("langchain-anthropic", version("langchain-anthropic"), "whole, streamed (input, cache_creation, 5m, 1h):", *seen)
raise SystemExit(seen != ((1000, 0, 100, 200), (1000, 300, None, None)))
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/read.py"
