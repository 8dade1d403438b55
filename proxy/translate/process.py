"""The translator's processes: one that imports LiteLLM and never serves, and its forks, which serve and may die.

LiteLLM takes seconds to import; a fork of the process that has it takes milliseconds. So a worker that dies is replaced before
its callers notice more than an error, and workers share what was imported. A new configuration takes new workers; the old
ones end with their last call.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
import uvloop

from proxy.config.model import Config
from proxy.processes.orders import Orders
from proxy.rate_limited_log import rate_limit_tracebacks
from proxy.translate.adapter import Adapter
from proxy.translate.inline import Executor
from proxy.translate.server import Translation

log = logging.getLogger("taximeter.translate")

_MAX_HEAD_BYTES = 64 * 1024
_POLL_S = 0.05
_RESTART_PAUSE_S = 0.5
_SHORT_LIFE_S = 1.0


def run(config: Config, listener: socket.socket, orders: Orders) -> None:
    """Serve until told to stop. Calls wait in the socket's queue until LiteLLM is there."""
    litellm = Adapter(os.environ)
    asyncio.run(litellm.warm())
    gc.collect()
    gc.freeze()  # what is shared stays shared: no collection touches it in the workers
    Nursery(config, listener, orders, litellm).run()


class Nursery:
    """Keeps as many workers as the configuration says; ends with the supervisor, and they with it."""

    def __init__(self, config: Config, listener: socket.socket, orders: Orders, litellm: Adapter) -> None:
        self._config, self._listener, self._orders, self._litellm = config, listener, orders, litellm
        self._workers: dict[int, float] = {}  # when each began
        self._retired: set[int] = set()
        self._stopping = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C reaches the supervisor too, which sends SIGTERM
        while not self._stopping or self._workers or self._retired:
            while not self._stopping and len(self._workers) < self._config.translate.workers:
                self._fork()
            self._hear()
            self._bury()

    def _hear(self) -> None:
        """Wait a moment for an order. Without a supervisor nobody calls any more."""
        try:
            config = self._orders.next(_POLL_S)
        except EOFError:
            for pid in (*self._workers, *self._retired):
                _send(pid, signal.SIGKILL)
            os._exit(0)
        if config is not None:
            self._config = config
            self._retire()

    def _retire(self) -> None:
        """The workers end with their last call, and others take their place."""
        for pid in tuple(self._workers):
            _send(pid, signal.SIGTERM)
        self._retired.update(self._workers)
        self._workers.clear()

    def _on_stop(self, *_: object) -> None:
        self._stopping = True
        self._retire()

    def _bury(self) -> None:
        """Take note of workers that have ended."""
        while self._workers or self._retired:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            began = self._workers.pop(pid, None)
            self._retired.discard(pid)
            if began is None:
                continue
            log.error(
                "a translator ended unexpectedly (%s); another one takes its place", os.waitstatus_to_exitcode(status)
            )
            if time.monotonic() - began < _SHORT_LIFE_S:
                time.sleep(_RESTART_PAUSE_S)

    def _fork(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent, pid = os.getpid(), os.fork()
        if pid:
            self._workers[pid] = time.monotonic()
            return
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with contextlib.suppress(OSError):  # for `ps` and `top`; only Linux has it
                Path("/proc/self/comm").write_text("taximeter-worker", encoding="ascii")
            uvloop.run(_serve(Translation(self._config, self._litellm), self._listener, parent))
            code = 0
        except BaseException:
            log.exception("a translator failed")
        finally:
            os._exit(code)


def _send(pid: int, number: signal.Signals) -> None:
    """To a worker, if it is there. A stop comes also between a worker's end and the note of it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: the process decides when it stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(application: Translation, listener: socket.socket, parent: int) -> None:
    asyncio.get_running_loop().set_default_executor(Executor())
    said = logging.getLogger("uvicorn.error")
    said.setLevel(logging.WARNING)
    said.addFilter(rate_limit_tracebacks)
    server = _Server(
        uvicorn.Config(
            application,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(application.config.server.drain_timeout_s),
        )
    )

    def stop() -> None:
        server.should_exit = True

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    watch = asyncio.create_task(_end_with(parent))
    await server.serve(sockets=[listener])
    watch.cancel()


async def _end_with(parent: int) -> None:
    """End at once when the process that forked this one is gone."""
    while os.getppid() == parent:  # noqa: ASYNC110 - the system tells nobody that a parent is gone
        await asyncio.sleep(1)
    os._exit(0)
