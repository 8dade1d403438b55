"""One process of the translator: LiteLLM, its server, its orders."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import uvicorn
import uvloop

from proxy.config.model import Config
from proxy.processes.http_server import Server
from proxy.processes.orders import Orders
from proxy.translate.adapter import Adapter
from proxy.translate.server import Translation

_MAX_HEAD_BYTES = 64 * 1024


def run(config: Config, listener: socket.socket, orders: Orders) -> None:
    """Serve until told to stop. Calls wait in the socket's queue until LiteLLM is there."""
    uvloop.run(_serve(Translation(config, Adapter(os.environ)), listener, orders))


async def _serve(application: Translation, listener: socket.socket, orders: Orders) -> None:
    server = Server(
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

    def reload(config: Config) -> None:
        application.config = config

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C reaches the supervisor too, which sends SIGTERM
    orders.watch(on_config=reload, on_parent_gone=lambda: os._exit(0))
    await server.serve(sockets=[listener])
