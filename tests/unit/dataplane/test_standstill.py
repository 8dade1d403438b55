"""Connections that were kept while the machine slept lead nowhere: a call is sent on a new one."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pricing.load import packaged_book
from proxy.config.model import Config
from proxy.dataplane import process
from proxy.processes import standstill
from proxy.processes.orders import Orders
from proxy.upstream.connect import origin_of
from proxy.upstream.pool import encode_head

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def test_no_connection_of_before_is_called_on_after_a_sleep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was reset by the provider: a 502, charged at the call's ceiling."""
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while await reader.read(65536):
            writer.write(ANSWER)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    origin = origin_of(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", {})
    lost = [0.0, 28_800.0]
    monkeypatch.setattr(standstill.Standstill, "look", lambda _: lost.pop(0) if lost else 0.0)
    monkeypatch.setattr(process, "_TICK_S", 0.01)
    with socket.socket() as listener:
        plane = process._DataPlane(Config(data_dir=str(tmp_path)), "data-0", listener, orders := Orders())
        plane._plane = process.build_plane(plane._config, "data-0", {}, packaged_book())
        plane._server = cast(Any, SimpleNamespace(state=SimpleNamespace(connections=set())))
        upstreams = plane._plane.configured.upstreams
        upstreams.add("up", origin)

        async def call() -> bytes | None:
            response = await upstreams.send("up", encode_head(b"GET", b"/", b"host: x\r\n", {}, 0), b"")
            return await response.read()

        assert [await call(), await call(), len(connections)] == [b"ok", b"ok", 1]
        ticking = asyncio.create_task(plane._tick())
        async with asyncio.timeout(10):
            while lost:
                await asyncio.sleep(0.01)
        assert [await call(), len(connections)] == [b"ok", 2]
        ticking.cancel()
        upstreams.close()
        plane._plane.spool.close()
        orders.close()
    for connection in connections:
        connection.close()
        await connection.wait_closed()
    listening.close()
