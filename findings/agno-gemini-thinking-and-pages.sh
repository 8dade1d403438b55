#!/bin/sh
# agno 3.1.10 and llama-index-llms-google-genai 0.11.3: what Gemini thought and the pages that it fetched are in no sum: 72 tokens of 10,412.
#
# Gemini counts beside the prompt what its tools brought (`toolUsePromptTokenCount`: the text of a page that the tool url_context
# read, billed as input) and beside the answer what it thought (`thoughtsTokenCount`, billed as output); `totalTokenCount` is all four.
# Agno's `input_tokens` is the prompt's count, its `output_tokens` the answer's, and it makes `total_tokens` of these two, whole and streamed:
# a call whose input is the page costs next to nothing in its metrics. What was thought stands in `reasoning_tokens`, which for
# OpenAI's models is a part of the output. LlamaIndex has the same two counts, with Google's own total, so that its parts do not add up.
# Seen for 27 of prompt, 10,309 of a page, 45 of answer and 31 of thinking (as Google's documentation of url_context has them), as (input, output,
# total): agno (27, 45, 72), streamed the same; LlamaIndex (27, 45, 10412); Google's SDK says 10412.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    agno==3.1.10 llama-index-llms-google-genai==0.11.3 google-genai==2.34.0
cat >"$folder/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agno.agent import Agent
from agno.models.google import Gemini
from google import genai
from google.genai import types
from llama_index.llms.google_genai import GoogleGenAI

ANSWER = {
    "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [{"text": "A page about zebras."}]}}],
    "modelVersion": "gemini-2.5-flash", "responseId": "r",
    "usageMetadata": {
        "promptTokenCount": 27, "toolUsePromptTokenCount": 10309, "candidatesTokenCount": 45, "thoughtsTokenCount": 31, "totalTokenCount": 10412,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 27}],
        "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 10309}],
    },
}


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        stream = ":streamGenerateContent" in self.path
        data = (f"data: {json.dumps(ANSWER)}\n\n" if stream else json.dumps(ANSWER)).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if stream else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def told(metrics):
    return metrics.input_tokens, metrics.output_tokens, metrics.total_tokens


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
options, asked = types.HttpOptions(base_url=f"http://127.0.0.1:{server.server_port}"), "What is on https://example.com?"
tool = types.Tool(url_context=types.UrlContext())
model = Gemini(id="gemini-2.5-flash", api_key="none", url_context=True, client_params={"http_options": options})
agent = Agent(model=model, telemetry=False)
*_, end = agent.run(asked, stream=True, yield_run_output=True)
index = GoogleGenAI(
    model="gemini-2.5-flash", api_key="none", http_options=options, max_tokens=1000, context_window=1000000, built_in_tool=tool
)
said = index.complete(asked).additional_kwargs
sdk = genai.Client(api_key="none", http_options=options)
config = types.GenerateContentConfig(tools=[tool])
seen = {
    "agno": told(agent.run(asked).metrics),
    "agno, streamed": told(end.metrics),
    "LlamaIndex": (said["prompt_tokens"], said["completion_tokens"], said["total_tokens"]),
    "google-genai": sdk.models.generate_content(model="gemini-2.5-flash", contents=asked, config=config).usage_metadata.total_token_count,
}
print(f"agno 3.1.10, llama-index-llms-google-genai 0.11.3 (input, output, total): {seen}")
raise SystemExit(seen != {"agno": (27, 45, 72), "agno, streamed": (27, 45, 72), "LlamaIndex": (27, 45, 10412), "google-genai": 10412})
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/ask.py"
