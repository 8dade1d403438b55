"""Pipelined requests: a bounded number waits for the answers to earlier ones, the rest is read later."""

from __future__ import annotations

from collections import deque

from proxy.downstream.cycle import Cycle
from proxy.downstream.flow import Flow

MOST = 32
"""Requests that wait. What comes behind them in one slice is taken, too."""
MOST_IN_A_SLICE = 32
_SLICE = 512  # bytes: of requests, whose shortest have 18


class Pipelined:
    """The pipeline of a connection: where requests wait, they, behind the one whose turn it is."""

    flow: Flow
    pipeline: deque[Cycle]
    refused = False
    gone = False
    later = b""  # what came behind as many as may wait

    def _feed(self, data: bytes) -> None:
        raise NotImplementedError

    def _read(self, data: bytes) -> None:
        if len(data) < _SLICE or len(self.pipeline) + data.count(b" HTTP/1.") <= MOST:
            self._feed(data)
            return
        for at in range(0, len(data), _SLICE):
            if len(self.pipeline) > MOST:
                self.later, self.flow.is_full = data[at:], True
                self.flow.pause_reading()
                return
            self._feed(data[at : at + _SLICE])
            if self.refused:
                return

    def _read_on(self) -> None:
        """There is room again."""
        data, self.later, self.flow.is_full = self.later, b"", False
        if data and not (self.gone or self.refused):
            self._read(data)
            if not self.pipeline:
                self.flow.resume_reading()
