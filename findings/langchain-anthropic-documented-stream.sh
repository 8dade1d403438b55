#!/bin/sh
# langchain-anthropic 1.7.10: of a stream as Anthropic's documentation prints it, `usage_metadata` says `input_tokens: 0`.
#
# There the input stands in `message_start`, and the `message_delta` at the end has `"usage": {"output_tokens": 15}` alone
# (platform.claude.com/docs, streaming; in the SDK's types all of that event's counts but the output are optional). Anthropic's own
# servers repeat the input in the last event since 2025; others that speak this API send what is documented. LangChain reads the last event's
# usage only, and counts what it lacks as 0: no error and no warning, and the input of every streamed call is free. The SDK's own
# accumulation of the same events keeps the input.
# Seen of 200 tokens in and 100 out (input, output, total): whole 200, 100, 300; streamed as documented 0, 100, 100; streamed with
# all counts in the last event 200, 100, 300; the SDK's final message, as documented, 200, 100.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check langchain-anthropic==1.7.10 anthropic==2.14.0
cat >"$folder/read.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from anthropic import Anthropic
from langchain_anthropic import ChatAnthropic

USAGE = {"input_tokens": 200, "output_tokens": 100}
LAST = {"documented": {"output_tokens": 100}, "all": USAGE}


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
            delta = {"stop_reason": "end_turn", "stop_sequence": None}
            events = (
                {"type": "message_start", "message": start},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": delta, "usage": LAST[body["model"]]},
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


def told(message):
    usage = message.usage_metadata
    return usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]


def streamed(model):
    chunks = list(model.stream("Hi"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return told(whole)


server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
models = {name: ChatAnthropic(model=name, max_tokens=100, api_key="none", base_url=address) for name in LAST}
asked = {"model": "documented", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
with Anthropic(api_key="none", base_url=address).messages.stream(**asked) as stream:
    final = stream.get_final_message().usage
seen = told(models["all"].invoke("Hi")), streamed(models["documented"]), streamed(models["all"]), (final.input_tokens, final.output_tokens)
print("langchain-anthropic 1.7.10: whole, as documented, with all counts, SDK as documented:", *seen)
raise SystemExit(seen != ((200, 100, 300), (0, 100, 100), (200, 100, 300), (200, 100)))
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/read.py"
