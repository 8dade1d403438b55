#!/bin/sh
# opentelemetry-instrumentation-anthropic 0.62.4 (OpenLLMetry): what it records of a streamed answer is more than was put out, or nothing.
#
# 1. `usage` of a stream's `message_delta` is the sum so far (Anthropic's documentation of streaming: "cumulative"), and includes what
#    `message_start` had already. The instrumentation adds the two, and each further message_delta as well (anthropic/streaming.py).
# 2. Of `client.beta.messages.stream()` it writes 0 for every count: a call that is priced by its span costs nothing.
# The same answer, whole, is recorded rightly. Both go into the histogram gen_ai.client.token.usage too.
# Seen, as (input, output): whole (1000, 100), create(stream=True) and messages.stream() (1000, 105), with one more message_delta at 60
# tokens (1000, 165), beta.messages.stream() (0, 0); anthropic 2.14.0's own reading of each stream is (1000, 100).
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    opentelemetry-instrumentation-anthropic==0.62.4 opentelemetry-sdk==1.45.2 anthropic==2.14.0
cat >"$folder/record.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

INPUT = {"input_tokens": 200, "cache_creation_input_tokens": 300, "cache_read_input_tokens": 500}


def events(model, so_far):
    """A stream's, with a message_delta for each sum in `so_far`."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": message | {"usage": INPUT | {"output_tokens": 5}}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}
    yield {"type": "content_block_stop", "index": 0}
    for output in so_far:
        yield {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": INPUT | {"output_tokens": output}}
    yield {"type": "message_stop"}


class Provider(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if body.get("stream"):
            so_far = [60, 100] if body["max_tokens"] == 200 else [100]
            data = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events(body["model"], so_far)).encode()
        else:
            data = json.dumps({
                "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_reason": "end_turn",
                "stop_sequence": None, "content": [{"type": "text", "text": "Hello"}], "usage": INPUT | {"output_tokens": 100},
            }).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if body.get("stream") else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


spans, traces = InMemorySpanExporter(), TracerProvider()
traces.add_span_processor(SimpleSpanProcessor(spans))
AnthropicInstrumentor().instrument(tracer_provider=traces)
server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = anthropic.Anthropic(api_key="none", base_url=f"http://127.0.0.1:{server.server_port}")
call = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hello."}]}
stated = []


def helper(messages):
    with messages.stream(**call, max_tokens=100) as stream:
        usage = stream.get_final_message().usage
    read = usage.input_tokens + (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
    stated.append((read, usage.output_tokens))


ways = {
    "whole": lambda: client.messages.create(**call, max_tokens=100),
    "create(stream=True)": lambda: list(client.messages.create(**call, max_tokens=100, stream=True)),
    "two message_delta": lambda: list(client.messages.create(**call, max_tokens=200, stream=True)),
    "messages.stream()": lambda: helper(client.messages),
    "beta.messages.stream()": lambda: helper(client.beta.messages),
}
recorded = {}
for way, ask in ways.items():
    spans.clear()
    ask()
    (span,) = spans.get_finished_spans()
    recorded[way] = span.attributes["gen_ai.usage.input_tokens"], span.attributes["gen_ai.usage.output_tokens"]
    print(f"{way}: recorded {recorded[way]}")
print("the SDK's own reading of the last two:", stated)
expected = dict(zip(ways, [(1000, 100), (1000, 105), (1000, 165), (1000, 105), (0, 0)], strict=True))
raise SystemExit((recorded, stated) != (expected, [(1000, 100)] * 2))
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/record.py"
