"""A small HTTP server in a thread or as a process of its own: what fake providers and webhooks have in common.

Standard library only, so that what stands on it shares no code with the product.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open, logs nothing, and knows how to take and to send JSON."""

    protocol_version = "HTTP/1.1"

    def answer_request(self) -> None:
        """Whatever its method is; `self.command` has that."""
        raise NotImplementedError

    def do_POST(self) -> None:
        self.answer_request()

    do_GET = do_DELETE = do_PATCH = do_POST  # noqa: N815 - the base class's naming

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def read_json(self) -> Any:
        return json.loads(self.read_body())

    def send(self, data: bytes, *, kind: str = "application/json", status: int = 200, **headers: str) -> None:
        """A whole answer; `_` in the names of further headers stands for `-`."""
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def send_json(self, value: Any, *, status: int = 200) -> None:
        self.send(json.dumps(value).encode(), status=status)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's naming
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    # Of the library's five the sixth at once is neither taken nor refused: it waits for seconds, on a busy machine for a minute.
    request_queue_size = 128


@contextlib.contextmanager
def listening(handler: type[BaseHTTPRequestHandler], *, wait_for_requests: bool = True) -> Iterator[int]:
    """The port of a server with this handler, which ends with the block, and with it (unless told otherwise) its requests."""
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = not wait_for_requests
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serve_with_bill(handler: type[Handler], attribute: str, provider: Callable[[Path], object]) -> None:
    """As a process of its own, called with `--bill FILE`. attribute: where the handler finds its provider."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bill", type=Path, required=True)
    serve_forever(type("Bound", (handler,), {attribute: provider(parser.parse_args().bill)}))


def serve_forever(handler: type[BaseHTTPRequestHandler]) -> None:
    """As a process of its own: prints its port as one line of JSON."""
    server = _Server(("127.0.0.1", 0), handler)
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()
