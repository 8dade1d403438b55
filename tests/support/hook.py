"""A webhook: keeps what is posted to it, and answers as it is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.support.http_server import Handler, listening


class Hook(Handler):
    """Answers with the statuses it is told, then 200; keeps what it took."""

    protocol_version = "HTTP/1.0"
    taken: list[dict[str, Any]]
    statuses: list[int]
    asked: int

    def answer_request(self) -> None:
        body = self.read_json()
        type(self).asked += 1
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.taken.append(body)
        self.send(b"", status=status, **({"location": "/elsewhere"} if status == 302 else {}))


@contextlib.contextmanager
def webhook() -> Iterator[tuple[str, type[Hook]]]:
    """Its address, and what it was sent."""
    kind = type("OneHook", (Hook,), {"taken": [], "statuses": [], "asked": 0})
    with listening(kind) as port:
        yield f"http://127.0.0.1:{port}/hook", kind
