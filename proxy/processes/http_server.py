"""uvicorn, as both planes run it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn


class Server(uvicorn.Server):
    """uvicorn without its signal handling: the process decides when it stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(application: Any, *, drain_s: int, **settings: Any) -> Server:
    """A server of HTTP alone, without uvicorn's own logs and `server` header. drain_s: what calls in flight have at a stop."""
    return Server(
        uvicorn.Config(
            application,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=drain_s,
            **settings,
        )
    )
