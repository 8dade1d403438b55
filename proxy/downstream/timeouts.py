"""The timeouts and limits of a client's connection: what makes the server end it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal

from pricing.values import frozen
from proxy.downstream.cycle import Cycle
from proxy.downstream.flow import Flow
from proxy.errors import Refusal, request_timeout, starting
from proxy.upstream.outbox import OUTBOX

_STILL_S = 1.0  # of a stop, without a byte of a request that has begun to come


@frozen
class Limits:
    """Of one connection, and of all together (`max_connections`). Sizes in bytes, times in seconds.

    min_body_rate: bytes per second beyond which a body may take longer than `body_timeout_s`.
    max_body_bytes: None where the application looks after it.
    """

    max_connections: int = 10_000
    max_head_bytes: int = 65_536
    max_headers: int = 256
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    min_body_rate: int = 4096
    write_timeout_s: float = 30.0
    keep_alive_s: float = 75.0
    max_body_bytes: int | None = None


class ConnectionTimeouts:
    """The clock of a connection."""

    limits: Limits
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: Flow
    cycle: Cycle | None
    pipeline: deque[Cycle]
    # Which part of a request is coming, and since when it is waited for (or for its end).
    part: Literal["nothing", "head", "body"] = "nothing"
    since = 0.0
    had_request = False
    body_bytes = 0
    stalled_since = 0.0  # the client does not read; 0: it does
    unread_bytes = 0
    come_bytes = -1  # of the body, when a stop looked
    come_at = 0.0  # since when it is no more

    def refuse(self, refusal: Refusal) -> None:
        raise NotImplementedError

    def drop(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError

    def shutdown(self, quiet_since: float) -> None:
        """The server stops: the answer to a request that is being served is this connection's last. With none it is closed,
        but not where it came, or was answered, after `quiet_since`: a request may be on its way, and would be lost. One whose
        rest does not come is not waited for."""
        OUTBOX.flush()
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if self.since < quiet_since:
                self.transport.close()
            return
        cycle.keep_alive = cycle.stays = False
        if self._waits_for_its_rest(cycle):
            self.refuse(starting().refusal)

    def _waits_for_its_rest(self, cycle: Cycle) -> bool:
        """Whether nothing of a request came any more for a while, as far as a stop looked."""
        if self.part != "body" or self.flow.read_paused or cycle.response_started or len(self.pipeline) > 1:
            return False
        now = self.loop.time()
        if self.come_bytes != self.body_bytes:
            self.come_bytes, self.come_at = self.body_bytes, now
        return now - self.come_at > _STILL_S

    def check_time(self, now: float) -> None:
        """Close what has waited too long; called once a second."""
        if self.stalled_since or self.transport.is_closing():
            self._check_reader(now)
        elif self._overdue(now):
            if self.part == "nothing":
                self._close()
            else:
                self.refuse(request_timeout(self.part).refusal)

    def _check_reader(self, now: float) -> None:
        """A client that has read nothing for a while is as good as gone."""
        unread = self.transport.get_write_buffer_size()
        if not self.stalled_since or unread < self.unread_bytes:
            self.stalled_since = now
        self.unread_bytes = unread
        if now - self.stalled_since > self.limits.write_timeout_s:
            self.drop()

    def _overdue(self, now: float) -> bool:
        """Whether the client takes too long to send its request, or its next one."""
        limits, waited = self.limits, now - self.since
        if self.part == "body":
            cycle = self.cycle
            answered = cycle is None or cycle.response_complete
            if self.flow.read_paused and not answered:
                return False  # it is we who do not read
            earned = 0.0 if answered else self.body_bytes / limits.min_body_rate
            return waited > limits.body_timeout_s + earned
        if self.cycle is not None and not self.cycle.response_complete:
            return False  # it may wait for its answer as long as that takes
        if self.part == "head" or not self.had_request:
            return waited > limits.header_timeout_s
        return waited > limits.keep_alive_s
