#!/bin/sh
# langchain-cohere 0.6.0: how many tokens a call used depends on how it was asked: three ways, three answers.
#
# Cohere states two pairs of counts with every answer: `tokens`, which its models read and wrote, and `billed_units`, "the tokens that you're
# actually billed for", without what Cohere added under the hood (docs.cohere.com, how pricing works; the counts here are its example).
# `usage_metadata` of `invoke` is `tokens`: its output is 2.6 times what is billed. That of `astream` is `billed_units`. `stream` has none;
# its billed counts stand in `response_metadata["token_count"]`, the name under which `invoke` has `tokens`.
# Seen, as (input, output) of usage_metadata and of token_count: invoke (7596, 645) and (7596, 645); stream None and (6772, 248);
# astream (6772, 248) and (6772, 248).
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check langchain-cohere==0.6.0 cohere==5.21.1 langchain-core==1.8.3
cat >"$folder/ask.py" <<'PYTHON'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from langchain_cohere import ChatCohere

USAGE = {"billed_units": {"input_tokens": 6772, "output_tokens": 248}, "tokens": {"input_tokens": 7596, "output_tokens": 645}}
WHOLE = {
    "id": "c", "finish_reason": "COMPLETE", "usage": USAGE,
    "message": {"role": "assistant", "content": [{"type": "text", "text": "Zebras."}]},
}
STREAM = [
    {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Zebras."}}}},
    {"type": "content-end", "index": 0},
    {"type": "message-end", "id": "c", "delta": {"finish_reason": "COMPLETE", "usage": USAGE}},
]


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        stream = json.loads(self.rfile.read(int(self.headers["content-length"]))).get("stream")
        lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in STREAM]
        data = ("".join(lines) if stream else json.dumps(WHOLE)).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if stream else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def joined(chunks):
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


async def streamed(model):
    return joined([chunk async for chunk in model.astream("Name an animal")])


def pair(counts):
    return counts and (int(counts["input_tokens"]), int(counts["output_tokens"]))


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = ChatCohere(cohere_api_key="none", base_url=f"http://127.0.0.1:{server.server_port}", model="command-a-03-2025")
answers = {
    "invoke": model.invoke("Name an animal"),
    "stream": joined(list(model.stream("Name an animal"))),
    "astream": asyncio.run(streamed(model)),
}
seen = {way: (pair(answer.usage_metadata), pair(answer.response_metadata["token_count"])) for way, answer in answers.items()}
print(f"langchain-cohere {version('langchain-cohere')} (usage_metadata, token_count): {seen}")
expected = {"invoke": ((7596, 645), (7596, 645)), "stream": (None, (6772, 248)), "astream": ((6772, 248), (6772, 248))}
raise SystemExit(seen != expected or {answer.content for answer in answers.values()} != {"Zebras."})
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/ask.py"
