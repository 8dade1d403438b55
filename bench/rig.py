"""The load's side of the bench: fake provider and load generator, both on the load's core."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import tools
from bench.agents import AGENTS, AgentRequest
from bench.machine import Cores, Process, free_ports
from bench.peers import NO_HEADERS, ROOT, Headers, Ports
from bench.wire import KEY, PATH, UNARY_ANSWER, UNARY_BODY, request

_WRK_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %s"
wrk.headers["User-Agent"] = "OpenAI/Python 2.0.0"
wrk.headers["X-Bench-Lane"] = "unary"
%swrk.body = %s
done = function(summary, latency, requests)
  local e = summary.errors
  local form = '\\n{"calls": %%d, "bad": %%d, "seconds": %%f, "p50_ms": %%f, "p99_ms": %%f}\\n'
  local bad = e.connect + e.read + e.write + e.status + e.timeout
  local p50, p99 = latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  io.write(string.format(form, summary.requests, bad, summary.duration / 1e6, p50, p99))
end
"""
_NGINX_CONF = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 10000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port} reuseport; default_type application/json; {locations} }}
}}
"""


@dataclass(frozen=True)
class Rig:
    """The running fake provider, and how to put load on a port."""

    cores: Cores
    ports: Ports
    folder: Path
    wrk: str | None
    upstream: str  # which program answers unary calls

    def closed(self, port: int, connections: int, seconds: float, headers: Headers = NO_HEADERS) -> dict[str, Any]:
        """Unary calls by `connections` callers, each calling again as soon as it is answered."""
        if self.wrk is None:
            return self._load("closed", port, "--count", str(connections), "--seconds", str(seconds), headers=headers)
        script = self.folder / "call.lua"
        more = "".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n" for name, value in headers.items())
        script.write_text(_WRK_SCRIPT % (KEY, more, json.dumps(UNARY_BODY.decode())))
        url = f"http://127.0.0.1:{port}{PATH}"
        options = ["-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--timeout", "30s", "-s", str(script)]
        return self._run([self.wrk, *options, url], seconds + 90)

    def agents(self, port: int, agent: AgentRequest, seconds: float, headers: Headers = NO_HEADERS) -> dict[str, Any]:
        """Four callers with an agent's long requests."""
        file = self.folder / "agent.request"
        file.write_bytes(agent.request(headers))
        return self._load("closed", port, "--count", "4", "--seconds", str(seconds), "--request", str(file))

    def opened(self, port: int, rate: float, seconds: float, headers: Headers = NO_HEADERS) -> dict[str, Any]:
        """Unary calls at a fixed rate; a latency counts from when its call was due."""
        return self._load("open", port, "--rate", str(rate), "--seconds", str(seconds), headers=headers)

    def streams(self, port: int, count: int, headers: Headers = NO_HEADERS) -> dict[str, Any]:
        return self._load("stream", port, "--count", str(count), headers=headers)

    def race(self, port: int, calls: int, key: str) -> dict[str, Any]:
        """`calls` at once for one budget; with what the provider charged for them."""
        self.bill()
        result = self._load("race", port, "--count", str(calls), "--key", key)
        served, nanousd = self.bill()
        return {**result, "served": served, "charged_nanousd": nanousd}

    def bill(self) -> tuple[int, int]:
        """Calls that the race's provider answered since it was last asked, and what it charges for them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.race, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/bill")
            served, nanousd = connection.getresponse().read().split()
        return int(served), int(nanousd)

    def _load(self, what: str, port: int, *options: str, headers: Headers = NO_HEADERS) -> dict[str, Any]:
        more = ["--headers", json.dumps(dict(headers))] if headers else []
        return self._run([sys.executable, "-m", "bench.load", what, "--port", str(port), *options, *more], 240)

    def _run(self, command: list[str], limit_s: float) -> dict[str, Any]:
        done = subprocess.run(
            ["taskset", "-c", str(self.cores.load), *command],
            check=False, capture_output=True, text=True, timeout=limit_s, cwd=ROOT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            raise RuntimeError(f"the load failed: {(done.stderr or done.stdout).strip()[-500:]}")
        result: dict[str, Any] = json.loads(lines[-1])
        return result


def seconds_until_served(process: Process, port: int, limit_s: float, headers: Headers = NO_HEADERS) -> float:
    """Seconds from the start of `process` to its first good answer to a call. Raises RuntimeError when none comes."""
    while time.perf_counter() - process.started_at < limit_s:
        if process.ended:
            raise RuntimeError(f"it ended at once: {process.tail()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(request(UNARY_BODY, headers=headers))
            head = connection.recv(65536)
            if b" 200 " in head.split(b"\r\n", 1)[0]:
                return time.perf_counter() - process.started_at
        time.sleep(0.01)
    raise RuntimeError(f"no good answer within {limit_s:.0f} s: {process.tail()}")


@contextlib.contextmanager
def rig(folder: Path, cores: Cores, chunks: int) -> Iterator[Rig]:
    """Start the fake provider: nginx for unary calls where there is one, our own program for the rest."""
    ports = Ports(*free_ports(5))
    nginx = tools.debian("nginx", "nginx-light")
    wrk = tools.debian("wrk", "wrk")
    started = []
    try:
        own = ["--stream", str(ports.stream), "--race", str(ports.race), "--chunks", str(chunks)]
        if nginx:
            conf = folder / "nginx.conf"
            conf.write_text(_NGINX_CONF.format(folder=folder, port=ports.unary, locations=_locations()))
            # Started by root it becomes another user, who could not read this folder.
            command = [nginx, "-c", str(conf), *(["-g", "user root;"] if os.geteuid() == 0 else [])]
            started.append(Process(command, core=cores.load, log=folder / "nginx.log"))
        else:
            own += ["--unary", str(ports.unary)]
        command = [sys.executable, "-m", "bench.upstream", *own]
        started.append(Process(command, core=cores.load, log=folder / "upstream.log", env={"PYTHONPATH": str(ROOT)}))
        for port in (ports.unary, ports.stream, ports.race):
            _await_port(port, started)
        yield Rig(cores, ports, folder, wrk, "nginx" if nginx else "bench.upstream (Python)")
    finally:
        for process in started:
            process.stop()


def _locations() -> str:
    """What nginx answers, by path."""
    answers = {"/": UNARY_ANSWER} | {agent.path: agent.answer for agent in AGENTS.values()}
    return " ".join(f"location {path} {{ return 200 '{answer.decode()}'; }}" for path, answer in answers.items())


def _await_port(port: int, processes: list[Process]) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        for process in processes:
            if process.ended:
                raise SystemExit(f"bench: the fake provider does not start: {process.tail()}")
        time.sleep(0.02)
    raise SystemExit("bench: the fake provider does not start")
