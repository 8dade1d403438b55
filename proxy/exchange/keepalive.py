"""SSE comments while an upstream thinks, so that nothing on the way takes a quiet stream for a dead one."""

from __future__ import annotations

import asyncio

from proxy.downstream.client import Client
from proxy.exchange.gate import Gate


class KeepAlive:
    """Sends a comment whenever a stream has been quiet for `every_s`, between two events and never inside one."""

    def __init__(self, every_s: float, gate: Gate, client: Client) -> None:
        self._every_s = every_s
        self._gate = gate
        self._client = client
        self._seen = 0
        self._writing: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(every_s, self._look)

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._every_s, self._look)
        seen, self._seen = self._seen, self._gate.watch.bytes_seen
        busy = self._writing is not None and not self._writing.done()
        quiet = seen == self._gate.watch.bytes_seen
        if quiet and not busy and not self._client.gone and (comment := self._gate.comment_now):
            self._writing = self._loop.create_task(self._client.write(comment))

    def stop(self) -> None:
        """The stream goes on, or ends, by itself."""
        self._timer.cancel()
