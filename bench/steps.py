"""What a call costs the data plane by itself: from request bytes to response bytes, in one process, without sockets.

    python -m bench.steps [--calls 4000]
    python -m bench.steps --instructions [--calls 200]
    python -m bench.steps --redis [--instructions]        budgets leased from a Redis of its own, which is not counted
    python -m bench.steps --callers 16                    so many at once: their calls move in the same turns of the loop
    python -m bench.steps --stream [--instructions]       a chunk of a stream of 250, with its share of the call
    python -m bench.steps --bare [--instructions]         the floor: the same connections and pool, and nothing is accounted
    python -m bench.steps --agent [--instructions] [--dialect anthropic|responses|gemini|bedrock]
                                                          an agent's request of 630 KB, in the pieces that a socket gives

The first says microseconds of CPU, the best and the median of twenty parts. The second counts instructions (with valgrind, which
has to be there): the same on a busy machine, so that two commits can be compared at any time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from bench.agents import AGENTS, AgentRequest
from bench.peers import ROOT
from bench.upstream import CHUNK, LAST, SSE_HEAD, framed
from bench.wire import KEY, MODEL, UNARY_ANSWER, UNARY_BODY, request
from pricing.load import load_book
from proxy.budgets.redis import leased
from proxy.budgets.redis.leased import LeasedStore
from proxy.budgets.redis.store import RedisStore
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.dataplane.application import Application
from proxy.dataplane.process import build_plane
from proxy.dialects.plain_messages import PlainMessages
from proxy.downstream.connection import connecting
from proxy.downstream.cycle import Cycle
from proxy.downstream.server_state import ServerState
from proxy.downstream.timeouts import Limits
from proxy.exchange.passed_headers import passed_headers
from proxy.exchange.plane import Plane
from proxy.processes.garbage_collection import make_rare
from proxy.upstream import pool
from proxy.upstream.connect import Origin
from proxy.upstream.connection import Connection
from proxy.upstream.pool import encode_head
from tests.support.redis import RedisServer

_PARTS = 20
_REPORT_EVERY_S = 5.0  # under valgrind: a call there takes a hundred times as long, and a second has as many fewer
_CHUNKS = 250
_STREAM_BYTES = 2048  # of a stream's request: a long one is not searched
_READ_BYTES = 131_072  # of a long request, as a socket gives them
_STREAM_BODY = UNARY_BODY[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'
_END = b"0\r\n\r\n"
_ANSWER_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class _Transport:
    """Nothing between two programs: what is written goes to `on_write`."""

    def __init__(self, on_write: Callable[[bytes], object]) -> None:
        self.write = on_write

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def config_of(folder: Path, agent: AgentRequest | None = None) -> Config:
    """agent: the calls that are to come, where they are no chats."""
    upstream = {"base_url": "http://127.0.0.1:9/v1", "api_key": "sk-up", "provider": "fake"}
    model = MODEL
    if agent is not None:
        upstream |= {"provider": agent.provider, "dialect": agent.spoken}
        model = agent.model
    prices = {"input": "0.15", "cache_read": "0.075", "output": "0.60"}
    fields: dict[str, Any] = {
        "upstreams": {"unary": upstream},
        "models": {model: {"upstream": "unary"}},
        "prices": [{"provider": upstream["provider"], "model": model, **prices}],
        "keys": [{"name": "bench", "key": KEY, "team": "bench", "user": "load"}],
        "budgets": [
            {"name": "company", "limit_usd": 1_000_000, "window": "month"},
            {"name": "team", "match": {"team": "bench"}, "limit_usd": 1_000_000, "window": "day"},
            {"name": "every-key", "per": ["key"], "limit_usd": 1_000_000, "window": "total"},
        ],
        "data_dir": str(folder),
    }
    return read_section(Config, fields)


def _answering(connection: Connection, whole: bytes) -> _Transport:
    """Answers each request in the loop's next turn; a stream's, a chunk in every other turn after it."""
    loop = asyncio.get_running_loop()
    answered = _ANSWER_HEAD % len(whole) + whole

    def answer(data: bytes) -> None:
        loop.call_soon(begin if b'"stream":true' in data[:_STREAM_BYTES] else connection.data_received, answered)

    def begin(_: bytes) -> None:
        connection.data_received(SSE_HEAD)
        loop.call_soon(step, 0)

    def step(sent: int, wait: bool = False) -> None:
        if wait:  # for what the chunk before has set going
            loop.call_soon(step, sent)
        elif sent < _CHUNKS:
            loop.call_soon(step, sent + 1, True)
            connection.data_received(framed(CHUNK % time.perf_counter_ns()))
        else:
            connection.data_received(framed(LAST % (_CHUNKS, _CHUNKS + 19)) + _END)

    return _Transport(answer)


class _Caller:
    """One client connection, which calls and waits for its answer."""

    def __init__(self, protocol: Any, agent: AgentRequest | None = None, *, stream: bool = False) -> None:
        """protocol: makes its connection."""
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._head = b""
        self._answered: asyncio.Future[bytes] = self._loop.create_future()
        self._connection = protocol()
        self._connection.connection_made(_Transport(self._take))
        whole = request(_STREAM_BODY if stream else UNARY_BODY)
        if agent is not None:
            whole = agent.request({})
        self._pieces = [whole[at : at + _READ_BYTES] for at in range(0, len(whole), _READ_BYTES)]

    def _take(self, data: bytes) -> None:
        self._head = self._head or data
        if not self._stream or data.endswith(_END):
            self._answered.set_result(self._head)
            self._head = b""

    async def call(self) -> None:
        self._answered = self._loop.create_future()
        for number, piece in enumerate(self._pieces):
            if number:
                await asyncio.sleep(0)
            self._connection.data_received(piece)
        answer = await self._answered
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"bench.steps: {answer[:300]!r}")


class _Bare:
    """A proxy of the same parts that does no accounting at all: what came is sent on, what comes back is passed on."""

    def __init__(self, plane: Plane) -> None:
        self._configured = plane.configured
        ((_, self._destination),) = [one for one in plane.configured.destinations.items() if one[0][1] == "openai"]

    async def serve(self, cycle: Cycle) -> None:
        destination = self._destination
        body = cycle.take() or b""
        head = encode_head(b"POST", destination.target("/chat/completions").encode(), destination.fixed, {}, len(body))
        response = await self._configured.upstreams.send(destination.pool, head, body)
        answer = await response.read()
        while data := await response.read():
            answer += data
        headers = [*passed_headers(response.headers, ()), (b"content-length", b"%d" % len(answer))]
        cycle.respond(response.status, headers, answer)
        cycle.over()


def _connections(app: Application | _Bare) -> Any:
    """What makes connections of one server."""
    return partial(connecting(Limits(), serve=app.serve), app, ServerState(), asyncio.get_running_loop())


def _without_sockets(answer: bytes = UNARY_ANSWER) -> None:
    async def open_transport(_: Origin, factory: Callable[[], Any]) -> None:
        connection = factory()
        connection.connection_made(_answering(connection, answer))

    pool.open_transport = open_transport  # type: ignore[attr-defined]  # that is the point


async def spooled(config: Config, calls: int) -> Path:
    """The spool that so many calls leave behind."""
    _without_sockets()
    plane = build_plane(config, "0", os.environ, load_book())
    plane.ready = True
    caller = _Caller(_connections(Application(plane)))
    for _ in range(calls):
        await caller.call()
    plane.spool.close()
    return Path(config.data_dir) / "spool"


@contextlib.asynccontextmanager
async def _plane(folder: Path, agent: AgentRequest | None, *, redis: bool) -> AsyncIterator[Plane]:
    config = config_of(folder, agent)
    if not redis:
        yield build_plane(config, "0", os.environ, load_book())
        return
    with RedisServer(folder) as server:
        changed = replace(config, store=server.url, store_lease_share=0.05)
        plane = build_plane(changed, "0", os.environ, load_book())
        store = plane.store
        assert isinstance(store, RedisStore)
        running = asyncio.create_task(store.run())
        await store.member.joined.wait()
        await store.member.open(store.epoch)
        yield plane
        running.cancel()
        await store.close()
        print(f"granted: {', '.join(f'{count} by {who}' for who, count in store.answered.items())}")


async def _measure(
    calls: int, pid: int | None, agent: AgentRequest | None, *, stream: bool, redis: bool, bare: bool, callers: int
) -> None:
    _without_sockets(agent.answer if agent is not None else UNARY_ANSWER)
    if pid is not None:
        leased._REPORT_EVERY_S = _REPORT_EVERY_S  # noqa: SLF001 - see there
    with tempfile.TemporaryDirectory() as folder:
        async with _plane(Path(folder), agent, redis=redis) as plane:
            await _called(plane, calls, pid, agent, stream=stream, bare=bare, callers=callers)


async def _called(
    plane: Plane, calls: int, pid: int | None, agent: AgentRequest | None, *, stream: bool, bare: bool, callers: int
) -> None:
    plane.ready = True
    make_rare()  # as where it is served
    PlainMessages.hash_is_secret = True  # where instructions are counted it is not, so that they are the same each time
    app = _Bare(plane) if bare else Application(plane)
    protocol = _connections(app)
    who = [_Caller(protocol, agent, stream=stream) for _ in range(callers)]
    each = _CHUNKS if stream else 1

    async def called(turns: int) -> None:
        await asyncio.gather(*[_repeated(caller, turns) for caller in who])

    await called(50 // each + 3)
    while isinstance(plane.store, LeasedStore) and plane.store.leased_calls < 20:
        await called(1)
    if pid is not None:
        _count(pid, on=True)
        await called(calls // callers)
        _count(pid, on=False)
        return
    parts = []
    turns = calls // _PARTS // callers
    for _ in range(_PARTS):
        began = time.process_time()
        await called(turns)
        parts.append((time.process_time() - began) / (turns * callers * each) * 1e6)
    what = "chunk" if stream else "call"
    print(f"CPU a {what}: best {min(parts):.1f} µs, median {statistics.median(parts):.1f} µs")


async def _repeated(caller: _Caller, times: int) -> None:
    for _ in range(times):
        await caller.call()


def _count(pid: int, *, on: bool) -> None:
    subprocess.run(["callgrind_control", "-i", "on" if on else "off", str(pid)], check=True, capture_output=True)


def _instructions(
    calls: int, agent: AgentRequest | None, *, stream: bool, redis: bool, bare: bool, callers: int
) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SystemExit("bench.steps: there is no valgrind here")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        # Of the main thread alone: the one that syncs the spool wakes 20 times a second, however few calls that are here.
        options = ["--instr-atstart=no", "--separate-threads=yes", f"--callgrind-out-file={out}"]
        asked = {"--stream": stream, "--redis": redis, "--bare": bare}
        more = [name for name, wanted in asked.items() if wanted]
        if agent is not None:
            more += ["--agent", "--dialect", agent.dialect, *(["--blanks"] if agent.blanks else [])]
        command = [valgrind, "--tool=callgrind", *options, sys.executable]
        done = subprocess.run(
            [*command, "-m", "bench.steps", "--counted", "--calls", str(calls), "--callers", str(callers), *more],
            check=False, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True,
        )  # fmt: skip
        first = Path(f"{out}-01")
        total = re.search(r"^totals: (\d+)", first.read_text(), re.MULTILINE) if first.exists() else None
        if total is None:
            raise SystemExit(f"bench.steps: {done.stderr[-500:]}")
        count, what = (calls * _CHUNKS, "chunk") if stream else (calls, "call")
        print(f"instructions a {what}: {int(total[1]) // count:,}", done.stdout.strip())


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.steps", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int)
    parser.add_argument("--callers", type=int, default=1, help="that call at once")
    parser.add_argument("--instructions", action="store_true", help="count them, with valgrind")
    parser.add_argument("--stream", action="store_true", help="a stream's chunks in place of whole answers")
    parser.add_argument("--redis", action="store_true", help="budgets leased from a Redis, not in memory")
    parser.add_argument("--bare", action="store_true", help="the floor: the same connections, and no accounting")
    parser.add_argument("--agent", action="store_true", help="an agent's long request in place of a short one")
    parser.add_argument("--dialect", choices=[*AGENTS], default="openai", help="the agent's")
    parser.add_argument("--blanks", action="store_true", help="the agent's JSON as Python's json.dumps writes it")
    parser.add_argument("--counted", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    kind = {"stream": given.stream, "redis": given.redis, "bare": given.bare, "callers": given.callers}
    agent = AGENTS[given.dialect] if given.agent else None
    agent = agent.with_blanks() if agent is not None and given.blanks else agent
    if given.instructions:
        _instructions(given.calls or (8 if given.stream else 50 if given.agent else 200), agent, **kind)
    else:
        calls = given.calls or (200 if given.stream else 400 if given.agent else 4000)
        pid = os.getpid() if given.counted else None
        uvloop.run(_measure(calls, pid, agent, **kind))


if __name__ == "__main__":
    main()
