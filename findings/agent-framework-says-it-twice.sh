#!/bin/sh
# agent-framework-openai 1.17.0: a streamed answer of OpenAI's Responses, printed piece by piece, stands there twice.
#
# `OpenAIChatClient`, Agent Framework's default for OpenAI, hands out each `response.output_text.delta` as it comes, and then the
# whole text once more for `response.output_text.done`. That last piece says `merge_mode="replace"`, which the framework's own
# final response obeys; `update.text`, which is all that a loop over the stream prints, does not say so. The framework's client for chat
# completions hands each piece out once.
# Seen of "Zebras " and "have stripes.": responses printed "Zebras have stripes.Zebras have stripes.", final "Zebras have stripes.";
# chat printed "Zebras have stripes.".
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check agent-framework-core==1.23.0 agent-framework-openai==1.17.0 openai==3.57.0
cat >"$folder/ask.py" <<'PYTHON'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient

PIECES = ["Zebras ", "have stripes."]
TEXT = "".join(PIECES)


def responses(model):
    def part(text):
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def message(status, content):
        return {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": content}

    begun = {
        "id": "resp_1", "object": "response", "created_at": 1, "model": model, "status": "in_progress", "output": [], "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0,
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "usage": None,
    }
    usage = {
        "input_tokens": 3, "output_tokens": 4, "total_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
    }
    whole = begun | {"status": "completed", "output": [message("completed", [part(TEXT)])], "usage": usage}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": message("in_progress", [])},
        {"type": "response.content_part.added", "part": part(""), **at},
        *[{"type": "response.output_text.delta", "delta": piece, "logprobs": [], **at} for piece in PIECES],
        {"type": "response.output_text.done", "text": TEXT, "logprobs": [], **at},
        {"type": "response.content_part.done", "part": part(TEXT), **at},
        {"type": "response.output_item.done", "output_index": 0, "item": message("completed", [part(TEXT)])},
        {"type": "response.completed", "response": whole},
    ]
    lines = [f"event: {event['type']}\ndata: {json.dumps(event | {'sequence_number': n})}\n\n" for n, event in enumerate(events)]
    return "".join(lines)


def chat(model):
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}
    deltas = [{"role": "assistant", "content": PIECES[0]}, {"content": PIECES[1]}]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    return "".join(f"data: {json.dumps(base | {'choices': [choice]})}\n\n" for choice in choices) + "data: [DONE]\n\n"


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        model = json.loads(self.rfile.read(int(self.headers["content-length"])))["model"]
        data = (responses if self.path.endswith("/responses") else chat)(model).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


async def ask(client, address):
    agent = Agent(client=client(model="gpt-4o-mini", api_key="none", base_url=address))
    stream, printed = agent.run("Hi", stream=True), ""
    async for update in stream:
        printed += update.text
    return printed, (await stream.get_final_response()).text


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/v1"
seen = {client.__name__: asyncio.run(ask(client, address)) for client in (OpenAIChatClient, OpenAIChatCompletionClient)}
print(f"agent-framework-openai {version('agent-framework-openai')} (printed, final): {seen}")
raise SystemExit(seen != {"OpenAIChatClient": (TEXT + TEXT, TEXT), "OpenAIChatCompletionClient": (TEXT, TEXT)})
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/ask.py"
