"""The admin port while the ledger cannot be opened: it answers, and is free for the server that comes behind."""

from __future__ import annotations

import socket

import httpx

from proxy.config.server import Server
from proxy.control.away import answering_that_the_ledger_is_away


async def test_who_asks_is_told_and_the_port_is_free_behind_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for _ in range(2):
            async with answering_that_the_ledger_is_away(listener, Server()), httpx.AsyncClient(timeout=20) as client:
                ready, alive = [await client.get(address + path) for path in ("/readyz", "/healthz")]
                changed = await client.post(f"{address}/api/keys", json={"name": "a"})
            assert (ready.status_code, ready.json()["missing"]) == (503, ["the ledger database"])
            assert alive.json() == {"status": "ok"}
            assert (changed.status_code, changed.json()["error"]["message"]) == (
                503,
                "The ledger database does not answer.",
            )
        assert listener.fileno() >= 0
