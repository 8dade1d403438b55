"""The admin port while the ledger is waited for: it answers, and is free for the server that comes behind."""

from __future__ import annotations

import socket

import httpx
import pytest

from proxy.config.server import Server
from proxy.control.away import LEDGER, RECORDS, Missing, answering_what_is_missing


@pytest.mark.parametrize("missing", [LEDGER, RECORDS], ids=lambda missing: missing.name)
async def test_who_asks_is_told_and_the_port_is_free_behind_it(missing: Missing) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for _ in range(2):
            async with (
                answering_what_is_missing(listener, Server(), lambda: missing),
                httpx.AsyncClient(timeout=20) as client,
            ):
                ready, alive = [await client.get(address + path) for path in ("/readyz", "/healthz")]
                changed = await client.post(f"{address}/api/keys", json={"name": "a"})
            assert (ready.status_code, ready.json()["missing"]) == (503, [missing.name])
            assert alive.json() == {"status": "ok"}
            assert (changed.status_code, changed.json()["error"]["message"]) == (503, missing.sentence)
        assert listener.fileno() >= 0
