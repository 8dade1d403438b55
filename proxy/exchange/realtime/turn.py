"""One turn of a session: what it used is read, or estimated, and its attempt settled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from pricing.usage import Reading
from proxy.dialects.spoken import Done
from proxy.exchange.answering import Answering
from proxy.exchange.attempt import Attempt
from proxy.exchange.settlement import Timings
from proxy.upstream.response import Response
from proxy.upstream.websocket import Socket


class Turn(Answering):
    """The end of an attempt that is a turn. The socket's opening stands for its response's head."""

    def __init__(self, attempt: Attempt, socket: Socket) -> None:
        head = cast(Response, socket)  # whose `status` and `header` are all that is asked of it
        super().__init__(attempt, head, head)
        self._began = time.perf_counter()

    async def done(self, done: Done) -> None:
        """It has ended, and its events say what it used, or nothing can have been used."""
        if done.failed:
            await self.settle(Reading(source="provider"), "upstream_error")
            return
        stream = self.reader.stream(self.context)
        for event in done.events:
            stream.event(event)
        await self.settle(stream.finish(), "ok")

    async def settle_event(self, event: Mapping[str, Any]) -> None:
        """An event says what was used."""
        await self.settle(self.reading_of(event), "ok")

    def reading_of(self, event: Mapping[str, Any]) -> Reading:
        stream = self.reader.stream(self.context)
        stream.event(event)
        return stream.finish()

    async def guessed(self, usage: Mapping[str, int], outcome: str) -> None:
        """Its end never came: what passed of it is counted."""
        await self.settle(Reading(usage=dict(usage), source="estimated", flags=("estimated",)), outcome)

    def timings(self) -> Timings:
        """The times of the turn alone; the session goes on."""
        return Timings((time.perf_counter() - self._began) * 1000, 0.0)
