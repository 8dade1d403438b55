"""A webhook: keeps what is posted to it, and answers as it is told."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any


class Hook(http.server.BaseHTTPRequestHandler):
    """Answers with the statuses it is told, then 200; keeps what it took."""

    taken: list[dict[str, Any]]
    statuses: list[int]
    asked: int

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).asked += 1
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.taken.append(body)
        self.send_response(status)
        if status == 302:
            self.send_header("location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, type[Hook]]]:
    kind = type("OneHook", (Hook,), {"taken": [], "statuses": [], "asked": 0})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", kind
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
