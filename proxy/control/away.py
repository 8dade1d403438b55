"""What the admin port answers before the ledger could be opened for the first time: that it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from proxy.config.server import Server as ServerSettings
from proxy.control.admin_server import admin_server

_ALIVE = b'{"status":"ok"}'
_NOT_READY = b'{"status":"not ready","missing":["the ledger database"]}'
_AWAY = b'{"error":{"message":"The ledger database does not answer."}}'


@contextlib.asynccontextmanager
async def answering_that_the_ledger_is_away(listener: socket.socket, config: ServerSettings) -> AsyncIterator[None]:
    """Until the end of the block, on a copy of `listener`, which stays open behind it."""
    server = admin_server(_app, config)
    serving = asyncio.create_task(server.serve([listener.dup()]))
    try:
        yield
    finally:
        server.stop()
        await serving


async def _app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    path = scope.get("path")
    status, body = (200, _ALIVE) if path == "/healthz" else (503, _NOT_READY if path == "/readyz" else _AWAY)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
