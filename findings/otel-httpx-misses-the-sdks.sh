#!/usr/bin/env bash
# OpenTelemetry's instrumentation of httpx sees no call of OpenAI's, Anthropic's, Google's and Mistral's Python SDKs any more: their
# present versions call by httpx2, a fork under another name. The instrumentation says that it is on, makes no span, and sends no
# `traceparent`, so that a gateway behind it cannot tell which trace a call belongs to. A call by httpx itself, beside, has both.
#
# Seen with opentelemetry-instrumentation-httpx 0.66b2, openai 3.57.0, anthropic 2.14.0, google-genai 3.6.1, mistralai 3.7.0, httpx 0.28.1 and
# httpx2 2.16.2 (the newest on 2026-11-30). Exits 0 while this is so, 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-instrumentation-httpx==0.66b2 \
    opentelemetry-sdk==1.45.2 openai==3.57.0 anthropic==2.14.0 google-genai==3.6.1 mistralai==3.7.0 httpx==0.28.1 httpx2==2.16.2

cat >"$folder/trace.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
instrumentor = HTTPXClientInstrumentor()
instrumentor.instrument(tracer_provider=provider)  # before any SDK is imported

import anthropic
import httpx
import openai
from google import genai
from mistralai.client import Mistral

CHAT = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
}
MESSAGE = {
    "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
}
CONTENT = {"candidates": [{"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP", "index": 0}]}
traced = []


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        traced.append("traceparent" in self.headers)
        answer = MESSAGE if self.path.endswith("/messages") else CONTENT if "generateContent" in self.path else CHAT
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
asked = [{"role": "user", "content": "Say hello."}]
calls = {
    "httpx": lambda: httpx.post(f"{url}/v1/chat/completions", json={"model": "m", "messages": asked}),
    "openai": lambda: openai.OpenAI(api_key="x", base_url=f"{url}/v1").chat.completions.create(model="m", messages=asked),
    "anthropic": lambda: anthropic.Anthropic(api_key="x", base_url=url).messages.create(model="m", messages=asked, max_tokens=9),
    "google-genai": lambda: asked_google(),
    "mistralai": lambda: Mistral(api_key="x", server_url=url).chat.complete(model="m", messages=asked),
}


def asked_google():
    client = genai.Client(api_key="x", http_options={"base_url": url})
    client.models.generate_content(model="m", contents="Say hello.")


seen = {}
for name, call in calls.items():
    spans.clear()
    traced.clear()
    call()
    seen[name] = (len(traced), len(spans.get_finished_spans()), sum(traced))
on = instrumentor.is_instrumented_by_opentelemetry
print(f"instrumented: {on}; (calls, spans, traceparents): {seen}")
nothing = dict.fromkeys(("openai", "anthropic", "google-genai", "mistralai"), (1, 0, 0))
raise SystemExit(not (on and seen == {"httpx": (1, 1, 1)} | nothing))
PYTHON
"$folder/venv/bin/python" "$folder/trace.py"
