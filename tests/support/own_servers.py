"""Servers of one's own, for the tests that run against real ones: llama.cpp's, which comes with Taximeter, and vLLM's, which
`make vllm` installs in an environment of its own. Each with its own counters: an invoice that the product did not write.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import httpx

from proxy.serve.local_model import find_weights
from tests.support.ports import free_port
from tests.support.processes import Marked, port_told_by
from tests.support.small_model import CONTEXT_TOKENS, SMALL
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
VLLM = ROOT / ".vllm"  # as `make vllm` makes it
_STARTS_WITHIN_S = 600  # three processes that each import torch


@dataclass(frozen=True, slots=True)
class Counters:
    """Tokens that a server has counted since it started. A call's prompt is `prompt` plus `cached`."""

    prompt: int
    cached: int
    predicted: int

    def __sub__(self, other: Counters) -> Counters:
        return Counters(self.prompt - other.prompt, self.cached - other.cached, self.predicted - other.predicted)


class OwnServer(Protocol):
    """A running server: where it is, what it serves, and what it has counted."""

    provider: str
    model: str
    base_url: str
    api_key: str
    context_tokens: int
    long: int
    """So many sentences of a prompt are not read before its caller has left."""
    endless: int
    """So many tokens of an answer are not written before its caller has left."""

    @property
    def metrics_url(self) -> str: ...

    def counters(self) -> Counters: ...

    def busy(self) -> bool: ...

    def left_by(self, callers: int) -> contextlib.AbstractContextManager[None]:
        """Where it is quicker than callers can leave, it stands still until as many have left as the block lets go."""
        ...

    def stop(self) -> None: ...


def _series(url: str, api_key: str) -> list[tuple[str, str, float]]:
    """Name, labels and value of every series."""
    text = httpx.get(url, headers={"authorization": f"Bearer {api_key}"}).raise_for_status().text
    found = re.findall(r"^([\w:]+)(?:\{(.*)\})? ([-+.\de]+)$", text, re.MULTILINE)
    return [(name, labels, float(value)) for name, labels, value in found]


class LlamaCpp:
    """llama.cpp's server, as somebody else started it, with a small model; see `llama_server.py`."""

    provider, model, context_tokens, api_key = "llama.cpp", SMALL, CONTEXT_TOKENS, "sk-llama"
    long, endless = 800, 15000

    def __init__(self, folder: Path) -> None:
        self._server = Marked(folder, "llama")
        command = [sys.executable, "-m", "tests.support.llama_server", str(folder), "--key", self.api_key]
        self._port = port_told_by(self._server, command)
        self.base_url = f"http://127.0.0.1:{self._port}/v1"

    @property
    def metrics_url(self) -> str:
        return self.base_url.removesuffix("/v1") + "/metrics"

    def _sum(self, name: str) -> int:
        return round(sum(value for found, _, value in _series(self.metrics_url, self.api_key) if found == name))

    def counters(self) -> Counters:
        values = {name: round(value) for name, _, value in _series(self.metrics_url, self.api_key)}
        return Counters(
            values["llamacpp:prompt_tokens_total"],
            values["llamacpp:prompt_tokens_cached_total"],
            values["llamacpp:tokens_predicted_total"],
        )

    def busy(self) -> bool:
        return self._sum("llamacpp:requests_processing") > 0

    @contextlib.contextmanager
    def left_by(self, callers: int) -> Iterator[None]:
        assert self._server.process is not None
        self._server.process.send_signal(signal.SIGSTOP)
        try:
            before = self._connections()
            yield
            wait_until("its callers have left it", lambda: len(before - self._connections()) >= callers)
        finally:
            self._server.process.send_signal(signal.SIGCONT)

    def _connections(self) -> set[str]:
        """Where the other ends of its open connections are."""
        here, is_open = f"0100007F:{self._port:04X}", "01"  # addresses as the kernel writes them; ESTABLISHED
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {row[2] for row in rows if (row[1], row[3]) == (here, is_open)}

    def stop(self) -> None:
        self._server.close()


class Vllm:
    """vLLM's own server with a model of two layers: the weights are random, the counting is not."""

    provider, model, context_tokens, api_key = "vllm", "tiny", 2048, "unused"
    long, endless = 60, 800

    def __init__(self, folder: Path, *arguments: str) -> None:
        python, made = VLLM / "bin" / "python", folder / "tiny"
        environ = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
        environ.pop("PYTHONPATH", None)
        script = ROOT / "tests" / "support" / "vllm_model.py"
        subprocess.run([python, script, find_weights(), made], check=True, env=environ, cwd=folder)
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self._log: IO[bytes] = (folder / "vllm.log").open("wb")
        self._process = subprocess.Popen(
            [
                python, "-m", "vllm.entrypoints.openai.api_server", "--model", made, "--load-format", "dummy",
                "--served-model-name", self.model, "--max-model-len", str(self.context_tokens), "--enforce-eager",
                "--generation-config", "vllm", "--host", "127.0.0.1", "--port", str(port), *arguments,
            ],
            env=environ, cwd=folder, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        give_up_at = time.monotonic() + _STARTS_WITHIN_S
        while not self._answers():
            assert self._process.poll() is None, f"vLLM ended: {folder / 'vllm.log'}"
            assert time.monotonic() < give_up_at, f"vLLM has not started: {folder / 'vllm.log'}"
            time.sleep(1)

    def _answers(self) -> bool:
        try:
            return httpx.get(self.base_url + "/models").status_code == 200
        except httpx.HTTPError:
            return False

    @property
    def metrics_url(self) -> str:
        return self.base_url.removesuffix("/v1") + "/metrics"

    def counters(self) -> Counters:
        by_source = {"local_compute": 0, "local_cache_hit": 0, "external_kv_transfer": 0}
        predicted = 0
        for name, labels, value in _series(self.metrics_url, self.api_key):
            if name == "vllm:prompt_tokens_by_source_total":
                by_source[labels.partition('source="')[2].partition('"')[0]] += round(value)
            elif name == "vllm:generation_tokens_total":
                predicted += round(value)
        return Counters(by_source["local_compute"], by_source["local_cache_hit"], predicted)

    def busy(self) -> bool:
        names = ("vllm:num_requests_running", "vllm:num_requests_waiting")
        return any(value for name, _, value in _series(self.metrics_url, self.api_key) if name in names)

    def left_by(self, callers: int) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # several processes, whose steps take long enough

    def stop(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._log.close()
