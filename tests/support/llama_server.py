"""llama.cpp's own server with a model that answers at once: `python -m tests.support.llama_server FOLDER --key KEY` prints its
port as its first line.

It is slow where a caller is to leave: it reads a prompt token by token, some thousands in a second, so that a long one takes
longer than the second after which llama.cpp looks whether its caller is still there.
"""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path
from urllib.parse import urlsplit

import xllamacpp

from proxy.serve.local_model import find_weights
from tests.support.small_model import CONTEXT_TOKENS, SMALL, write_small_model

SLOTS = 4
"""Calls answered at once."""


def serve(folder: Path, key: str) -> xllamacpp.Server:
    weights = folder / "small.gguf"
    write_small_model(find_weights(), weights)
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {SMALL}
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * CONTEXT_TOKENS
    params.n_batch = params.n_ubatch = SLOTS  # at least a token for each
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # more of them would wait for each other
    params.endpoint_metrics, params.ui, params.offline = True, False, True
    params.verbosity = 1
    return xllamacpp.Server(params)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", required=True)
    arguments = parser.parse_args()
    server = serve(arguments.folder, arguments.key)
    print(json.dumps({"port": urlsplit(server.listening_address).port}), flush=True)
    threading.Event().wait()
