#!/bin/sh
# litellm 1.110.2: a streamed call of `anthropic_messages` to an Anthropic model needs packages that the library does not bring.
#
# The public call imports the logging of LiteLLM's own proxy (litellm/llms/anthropic/messages/native/streaming_iterator.py), that
# imports the proxy's log of transcriptions, and that `soundfile`, which only the extra `proxy` installs. The same call without
# `stream=True` is answered; so is a streamed call to another provider's model. The request has been sent by then: the provider
# bills an answer that nobody gets.
# Seen: the whole answer's text, then ModuleNotFoundError, and two requests at the provider.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litellm==1.110.2
cat >"$folder/ask.py" <<'PYTHON'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import litellm

asked = []


class Provider(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(body)
        answer = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_reason": "end_turn",
            "stop_sequence": None, "content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        if body.get("stream"):
            start = answer | {"content": [], "stop_reason": None}
            data = f"event: message_start\ndata: {json.dumps({'type': 'message_start', 'message': start})}\n\n".encode()
            data += b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
        else:
            data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if body.get("stream") else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


async def ask(**more):
    messages = [{"role": "user", "content": "Hello."}]
    base = f"http://127.0.0.1:{server.server_port}"
    return await litellm.anthropic_messages(
        model="anthropic/claude-sonnet-4-5", api_key="x", api_base=base, max_tokens=9, messages=messages, **more
    )


async def main():
    whole = (await ask())["content"][0]["text"]
    try:
        streamed = [chunk async for chunk in await ask(stream=True)] and "answered"
    except Exception as error:
        streamed = type(error).__name__
    return whole, streamed, len(asked)


server = HTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = asyncio.run(main())
print("litellm", version("litellm"), seen)
raise SystemExit(seen != ("hi", "ModuleNotFoundError", 2))
PYTHON
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" "$folder/ask.py"
