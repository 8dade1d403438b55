"""Spoken sessions: CPU a frame, of the data plane beside a bare relay on the same library, in one run.

    python -m bench.realtime [--frames 20000] [--runs 3]

Both stand between the same client and the same provider, each a process of its own, and take turns. The bare relay (`relay`
below) is the least that the library can do: bytes in, frames out, frames in, bytes out, both ways. Ours runs with everything on: a key,
a hard budget, the turn that is reserved ahead. Frames are sound as OpenAI's SDK sends it and gets it back (100 ms of PCM), and words.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop
import yaml
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from bench.machine import free_ports

ROOT = Path(__file__).resolve().parents[1]
KEY = "sk-bench-000000000000000000001"
SOUND = json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 6400})
HEARD = json.dumps(
    {"type": "response.output_audio.delta", "event_id": "event_1", "response_id": "resp_1", "delta": "A" * 6400}
)
WORD = json.dumps(
    {"type": "response.output_text.delta", "event_id": "event_1", "response_id": "resp_1", "delta": "word "}
)
LANES = {"sound up": ("up", SOUND), "sound down": ("down", HEARD), "words down": ("down", WORD)}


# The provider


async def provider() -> None:
    """Takes frames until it is asked how many came; sends as many as it is told."""

    async def session(socket: ServerConnection) -> None:
        count = 0
        await socket.send(json.dumps({"type": "session.created", "session": {"max_output_tokens": "inf"}}))
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                if not message.startswith('{"type": "bench'):
                    count += 1
                    continue
                order = json.loads(message)
                for _ in range(order["frames"] if order["lane"] == "down" else 0):
                    await socket.send(order["frame"])
                await socket.send(json.dumps({"type": "bench.done", "count": count}))
                count = 0

    async with serve(session, "127.0.0.1", 0, compression=None, ping_interval=None, max_size=None) as server:
        await _told(server.sockets[0].getsockname()[1])


# The bare relay


class _Side(asyncio.Protocol):
    """One side of the relay. The library's protocol, and nothing else."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.other: _Side | None = None
        self.early: list[Frame] = []  # that came with the answer to the opening
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.flush()

    def data_received(self, data: bytes) -> None:
        protocol = self.protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            if not isinstance(event, Frame):
                self.open(event)
            elif self.other is None:
                self.early.append(event)
            elif event.opcode is Opcode.TEXT:
                self.other.protocol.send_text(event.data, event.fin)
            elif event.opcode is Opcode.BINARY:
                self.other.protocol.send_binary(event.data, event.fin)
        self.flush()
        if self.other is not None:
            self.other.flush()

    def open(self, event: Any) -> None:
        self.opened.set_result(None)

    def flush(self) -> None:
        if writes := self.protocol.data_to_send():
            self.transport.write(b"".join(writes))
        if self.protocol.close_expected():
            self.transport.close()

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


class _Near(_Side):
    def __init__(self, port: int) -> None:
        super().__init__(ServerProtocol(max_size=None))
        self.port = port

    def open(self, event: Any) -> None:
        self.transport.pause_reading()
        self.task = asyncio.create_task(self.pair(event))

    async def pair(self, request: Any) -> None:
        protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{self.port}/"), max_size=None)
        protocol.send_request(protocol.connect())
        _, far = await asyncio.get_running_loop().create_connection(lambda: _Side(protocol), "127.0.0.1", self.port)
        await far.opened
        assert isinstance(self.protocol, ServerProtocol)
        self.protocol.send_response(self.protocol.accept(request))
        for frame in far.early:
            self.protocol.send_text(frame.data, frame.fin)
        self.flush()
        self.other, far.other = far, self
        self.transport.resume_reading()


async def relay(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Near(port), "127.0.0.1", 0)
    await _told(server.sockets[0].getsockname()[1])


async def _told(port: int) -> None:
    print(json.dumps({"port": port}), flush=True)
    await asyncio.get_running_loop().create_future()


# The bench


@contextlib.contextmanager
def program(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.realtime", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["port"]
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def taximeter(folder: Path, upstream: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port, admin_port = free_ports(2)
    config = {
        "server": {"port": port, "admin_port": admin_port, "admin_key": "bench-admin-key-0123456789"},
        "upstreams": {"openai": {"base_url": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-bench"}},
        "models": {"gpt-realtime": {"upstream": "openai"}},
        "keys": [{"name": "bench", "key": KEY}],
        "budgets": [{"name": "all", "limit_usd": 1_000_000, "window": "total"}],
        "data_dir": str(folder / "data"),
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
    }
    file = folder / "taximeter.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait()


def cpu_s(process: subprocess.Popen[str]) -> dict[int, float]:
    """Of each process of a tree."""
    pids, todo = [], [process.pid]
    while todo:
        pids.append(todo.pop())
        for children in Path(f"/proc/{pids[-1]}/task").glob("*/children"):
            todo += [int(pid) for pid in children.read_text().split()]
    return {pid: int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9 for pid in pids}


async def measure(process: subprocess.Popen[str], port: int, frames: int) -> dict[str, float]:
    """Microseconds of CPU a frame, of the busiest process of the tree, for each lane."""
    url = f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime"
    headers = {"authorization": f"Bearer {KEY}"}
    figures = {}
    async with await _connected(
        lambda: connect(url, additional_headers=headers, compression=None, max_size=None)
    ) as socket:
        await socket.recv()
        for name, (lane, frame) in LANES.items():
            before = cpu_s(process)
            for _ in range(frames if lane == "up" else 0):
                await socket.send(frame)
            await socket.send(json.dumps({"type": "bench", "lane": lane, "frames": frames, "frame": frame}))
            while "bench.done" not in str(await socket.recv())[:30]:
                pass
            after = cpu_s(process)
            figures[name] = max(after[pid] - before.get(pid, 0.0) for pid in after) / frames * 1e6
    return figures


async def _connected(make: Callable[[], Any]) -> Any:
    for _ in range(300):
        try:
            return await make()
        except (OSError, WebSocketException):
            await asyncio.sleep(0.1)
    raise RuntimeError("it did not start")


def main(frames: int, runs: int) -> None:
    figures: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(program("provider"))[1]
        bare = stack.enter_context(program("relay", str(upstream)))
        ours = stack.enter_context(taximeter(folder, upstream))
        for _ in range(runs):
            for name, (process, port) in (("bare relay", bare), ("taximeter", ours)):
                print(f"{name} …", file=sys.stderr)
                for lane, value in asyncio.run(measure(process, port, frames)).items():
                    figures.setdefault(lane, {}).setdefault(name, []).append(value)
    print(
        f"{'µs of CPU a frame':<20}{'bare relay':>12}{'taximeter':>12}{'ratio':>8}   of {runs} runs with {frames} frames"
    )
    for lane, by_name in figures.items():
        bare_us, ours_us = (statistics.median(by_name[name]) for name in ("bare relay", "taximeter"))
        print(f"{lane:<20}{bare_us:>12.1f}{ours_us:>12.1f}{ours_us / bare_us:>8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if options.program[:1] == ["provider"]:
        uvloop.run(provider())
    elif options.program[:1] == ["relay"]:
        uvloop.run(relay(int(options.program[1])))
    else:
        main(options.frames, options.runs)
