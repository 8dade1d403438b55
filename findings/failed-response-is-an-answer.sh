#!/bin/sh
# ag2 1.2.1 and agent-framework-openai 1.17.0: a Responses stream that OpenAI ends with `response.failed` is a good answer, cut short.
#
# `response.failed` is how OpenAI says in a stream that the model could not go on: it has the status 200 and the error inside. Both
# take it for an end like any other and drop its `error`: no exception, no word of it in the answer,
# which is what had been written until then. The same failure as a status of 500 is an exception in both.
# Seen of a stream with two pieces and a failure: both answer "Zebras have "; of a status of 500: InternalServerError
# of ag2, ChatClientException of Agent Framework.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ag2[openai]==1.2.1' agent-framework-core==1.23.0 agent-framework-openai==1.17.0 openai==3.57.0
cat >"$folder/ask.py" <<'PYTHON'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import ag2
from ag2.config import OpenAIResponsesConfig
from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient
from openai import AsyncOpenAI

PIECES = ["Zebras ", "have "]
ERROR = {"code": "server_error", "message": "The model failed to generate a response."}


def failing(model):
    begun = {
        "id": "resp_1", "object": "response", "created_at": 1, "model": model, "status": "in_progress", "output": [], "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0,
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "usage": None,
    }
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", "part": part, **at},
        *[{"type": "response.output_text.delta", "delta": piece, "logprobs": [], **at} for piece in PIECES],
        {"type": "response.failed", "response": begun | {"status": "failed", "error": ERROR}},
    ]
    lines = [f"event: {event['type']}\ndata: {json.dumps(event | {'sequence_number': n})}\n\n" for n, event in enumerate(events)]
    return "".join(lines)


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        model = json.loads(self.rfile.read(int(self.headers["content-length"])))["model"]
        status, kind, text = 200, "text/event-stream", failing(model)
        if model == "gpt-500":
            status, kind, text = 500, "application/json", json.dumps({"error": ERROR | {"type": "server_error", "param": None}})
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


async def by_ag2(model, address):
    config = OpenAIResponsesConfig(model=model, api_key="none", base_url=address, streaming=True)
    return (await ag2.Agent("a", config=config).ask("Hi")).body


async def by_agent_framework(model, address):
    client = OpenAIChatClient(model=model, async_client=AsyncOpenAI(api_key="none", base_url=address))
    stream = Agent(client=client).run("Hi", stream=True)
    async for _ in stream:
        pass
    return (await stream.get_final_response()).text


def told(ask, model):
    try:
        return asyncio.run(ask(model, address))
    except Exception as error:
        return type(error)


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/v1"
seen = {ask.__name__: (told(ask, "gpt-4o-mini"), told(ask, "gpt-500")) for ask in (by_ag2, by_agent_framework)}
seen = {name: (failed, getattr(status, "__name__", status)) for name, (failed, status) in seen.items()}
print(f"ag2 1.2.1, agent-framework-openai 1.17.0 (response.failed, status 500): {seen}")
raise SystemExit(seen != {"by_ag2": ("Zebras have ", "InternalServerError"), "by_agent_framework": ("Zebras have ", "ChatClientException")})
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/ask.py"
