#!/bin/sh
# A stream whose every chunk has `usage`, the sum so far: langchain-openai 1.7.4, pydantic-ai 2.62.0 and smolagents 1.26.0 add them all up.
#
# vLLM sends such streams for `stream_options: {"continuous_usage_stats": true}`, some hosts and gateways unasked. Each usage has the whole
# prompt again, so that what these three report grows with the length of the answer: the prompt times its chunks, the output
# nearly squared. Their limits (pydantic-ai's UsageLimits) and cost pages work with these figures. pydantic-ai has a setting against it
# (`openai_continuous_usage_stats`), which must be set for every model that is asked so. openai-agents 0.24.0 takes the last.
# Seen of 1,000 tokens in and 10 out in ten chunks and a last one with usage alone: (11000, 65) by the three, (1000, 10) by openai-agents.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/read.py" <<'PYTHON'
import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        model = json.loads(self.rfile.read(int(self.headers["content-length"])))["model"]
        data = ""
        for made in (*range(1, 11), None):
            choice = {"index": 0, "delta": {"role": "assistant", "content": "a "}, "finish_reason": "stop" if made == 10 else None}
            output = made or 10
            chunk = {
                "id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice] if made else [],
                "usage": {"prompt_tokens": 1000, "completion_tokens": output, "total_tokens": 1000 + output},
            }
            data += f"data: {json.dumps(chunk)}\n\n"
        data = f"{data}data: [DONE]\n\n".encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/v1"


def langchain():
    from langchain_openai import ChatOpenAI

    chunks = list(ChatOpenAI(model="m", api_key="none", base_url=address, stream_usage=True).stream("Hi"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]


async def pydantic_ai():
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    agent = Agent(OpenAIChatModel("m", provider=OpenAIProvider(base_url=address, api_key="none")))
    async with agent.run_stream("Hi") as result:
        await result.get_output()
        usage = result.usage() if callable(result.usage) else result.usage
    return usage.input_tokens, usage.output_tokens


def smolagents():
    from smolagents import ChatMessage, OpenAIServerModel
    from smolagents.models import agglomerate_stream_deltas

    model = OpenAIServerModel(model_id="m", api_base=address, api_key="none")
    usage = agglomerate_stream_deltas(list(model.generate_stream([ChatMessage(role="user", content="Hi")]))).token_usage
    return usage.input_tokens, usage.output_tokens


async def openai_agents():
    from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
    from openai import AsyncOpenAI

    set_tracing_disabled(True)
    model = OpenAIChatCompletionsModel("m", AsyncOpenAI(base_url=address, api_key="none"))
    result = Runner.run_streamed(Agent(name="a", model=model, model_settings=ModelSettings(include_usage=True)), "Hi")
    async for _ in result.stream_events():
        pass
    usage = result.context_wrapper.usage
    return usage.input_tokens, usage.output_tokens


read = globals()[sys.argv[1]]
told = asyncio.run(read()) if asyncio.iscoroutinefunction(read) else read()
print(*told, flush=True)
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check langchain-openai==1.7.4 'pydantic-ai-slim[openai]==2.62.0' 'smolagents[openai]==1.26.0' openai-agents==0.24.0
changed=0
compare() { # what the function $1 reads with the package $2 beside the answer $3
    seen=$("$folder/venv/bin/python" -W ignore "$folder/read.py" "$1" 2>"$folder/log" | tail -n 1)
    echo "$2: $seen"
    [ "$seen" = "$3" ] || { changed=1; cat "$folder/log"; }
}
compare langchain 'langchain-openai 1.7.4' '11000 65'
compare pydantic_ai 'pydantic-ai 2.62.0' '11000 65'
compare smolagents 'smolagents 1.26.0' '11000 65'
compare openai_agents 'openai-agents 0.24.0' '1000 10'
exit "$changed"
