"""What the admin port answers before the ledger has all that was there at the start: what is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from proxy.config.server import Server as ServerSettings
from proxy.control.admin_server import admin_server

_ALIVE = b'{"status":"ok"}'


class Missing(NamedTuple):
    """What is waited for: in a word for `/readyz`, as a sentence for everything else."""

    name: str
    sentence: str


LEDGER = Missing("the ledger database", "The ledger database does not answer.")
RECORDS = Missing(
    "the records of before", "What calls cost before this start is being recorded; ask again when that is done."
)


@contextlib.asynccontextmanager
async def answering_what_is_missing(
    listener: socket.socket, config: ServerSettings, missing: Callable[[], Missing]
) -> AsyncIterator[None]:
    """Until the end of the block, on a copy of `listener`, which stays open behind it."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope.get("path")
        status, body = (200, _ALIVE) if path == "/healthz" else (503, _answer(missing(), is_probe=path == "/readyz"))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    server = admin_server(app, config)
    serving = asyncio.create_task(server.serve([listener.dup()]))
    try:
        yield
    finally:
        server.stop()
        await serving


def _answer(missing: Missing, *, is_probe: bool) -> bytes:
    body = {"status": "not ready", "missing": [missing.name]} if is_probe else {"error": {"message": missing.sentence}}
    return json.dumps(body, separators=(",", ":")).encode()
