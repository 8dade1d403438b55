"""Pipelined requests: a bounded number waits for the answers to earlier ones, the rest is read later."""

from __future__ import annotations

from proxy.downstream.timeouts import ConnectionTimeouts

MOST = 32
"""Requests that wait. What comes behind them in one slice is taken, too."""
MOST_IN_A_SLICE = 32
_SLICE = 512  # bytes: of requests, whose shortest have 18
_LONG = 16_384  # bytes: from here on most of what begins a request is its body
_HEAD_ENDS = b"\r\n\r\n"


class Pipelined(ConnectionTimeouts):
    """The pipeline of a connection: where requests wait, they, behind the one whose turn it is."""

    refused = False
    gone = False
    later = b""  # what came behind as many as may wait

    def _feed(self, data: bytes) -> None:
        raise NotImplementedError

    def _read(self, data: bytes) -> None:
        if len(data) < _SLICE:
            self._feed(data)
            return
        if len(data) >= _LONG and self.part == "nothing" and not self.pipeline:
            end = data.find(_HEAD_ENDS, 0, _LONG)
            if end >= 0:  # the head alone: it says how much of the rest is its body
                end += len(_HEAD_ENDS)
                self._feed(data[:end])
                if self.refused:
                    return
                data = data[end:]
        # To look for requests takes as long as to parse a body: in what is surely one none is looked for.
        if len(data) <= self._body_left() or len(self.pipeline) + data.count(b" HTTP/1.") <= MOST:
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

    def _body_left(self) -> int:
        """How many bytes of the latest request's body are still to come, where its head says that; else 0."""
        if self.part != "body" or self.cycle is None:
            return 0
        stated = self.cycle.named.get(b"content-length", b"")
        return int(stated) - self.body_bytes if stated.isdigit() else 0

    def _read_on(self) -> None:
        """There is room again."""
        data, self.later, self.flow.is_full = self.later, b"", False
        if data and not (self.gone or self.refused):
            self._read(data)
            if not self.pipeline:
                self.flow.resume_reading()
