"""What an upstream answers, piece by piece as it arrives, and how it can fail.

* Every failure is an `UpstreamError`, and `sent` says whether the upstream may have seen (and may bill) the request.
* A slow reader pauses the upstream's socket: at most `_HIGH_WATER` bytes wait in memory for each response.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from proxy.cohort import Signal

_HIGH_WATER = 256 * 1024

FailureKind = Literal["connect", "connect_timeout", "first_byte_timeout", "idle_timeout", "reset", "protocol"]


class UpstreamError(Exception):
    """An attempt that got no complete response. `sent`: the request may have reached the upstream, so may be billed."""

    def __init__(self, kind: FailureKind, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.sent = sent

    @property
    def timed_out(self) -> bool:
        return self.kind in ("connect_timeout", "first_byte_timeout", "idle_timeout")


Sink = Callable[[bytes, bytes], bool]
"""Takes what has arrived, and the same with its framing where it came as one chunk of HTTP's (else b""); whether it wants more
at once."""


class Source(Protocol):
    """What a response comes from: its connection."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def break_off(self) -> None: ...
    def hang_up(self) -> None: ...


class Listened(Protocol):
    """What somebody listens to, or does no more."""

    def hang_up(self) -> None: ...


class Response:
    """A response whose head has arrived: `status`, `headers` (lower-case names), and a body to `read`.

    sink: takes what arrives, at once; while there is one, nothing waits to be read. last_at: when (by `perf_counter`) it last
    took something that needed no parser."""

    __slots__ = (
        "_buffered_bytes", "_chunks", "_complete", "_connection", "_error", "_first", "_news", "_paused",
        "_sink_error", "headers", "last_at", "sink", "status",
    )  # fmt: skip

    def __init__(self, connection: Source) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._first: dict[bytes, bytes] | None = None  # the first value of each
        self._buffered_bytes = 0
        self._connection: Source | None = connection
        self._chunks: list[bytes] = []
        self._complete = False
        self._error: UpstreamError | None = None
        self._paused = False
        self._news = Signal()  # that something has come, or nothing more will
        self.sink: Sink | None = None
        self.last_at = 0.0
        self._sink_error: BaseException | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        first = self._first
        if first is None:
            first = self._first = dict(reversed(self.headers))
        return first.get(name)

    def take_off(self, name: bytes) -> None:
        """Leave out a header that is not true of what is passed on."""
        self.headers = [header for header in self.headers if header[0] != name]
        self._first = None

    @property
    def is_stream(self) -> bool:
        return (self.header(b"content-type") or b"").startswith(b"text/event-stream")

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived (some of it may still wait to be read)."""
        return self._complete

    @property
    def over(self) -> bool:
        """Whether nothing more can come of it."""
        return self._complete or self._error is not None

    async def read(self) -> bytes:
        """The bytes that have arrived since the last call, waiting for some; b"" at the end. Raises `UpstreamError`."""
        while (data := self.read_now()) is None:
            if self._error is not None:
                raise self._error
            await self._news
        return data

    def read_now(self) -> bytes | None:
        """As `read`; None where something has to be waited for, or has failed."""
        if self._chunks:
            return self._taken()
        return b"" if self._complete else None

    def _taken(self) -> bytes:
        """All that has arrived and was not taken yet, in one piece."""
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered_bytes = 0
        if self._paused and self._connection is not None:
            self._paused = False
            self._connection.resume_reading()
        return data

    async def pump(self, sink: Sink) -> None:
        """Give `sink` what arrives, all of one read of the socket at once, the moment it does: without another turn of the
        loop, and without waking whoever waits here. Returns once it says False, or at the end. Raises `UpstreamError`, and what
        `sink` raises."""
        self.sink = sink
        try:
            while self.sink is not None:
                if self._chunks:
                    self._pour()
                elif self._error is not None:
                    raise self._error
                elif self._complete:
                    return
                else:
                    await self._news
            if self._sink_error is not None:
                raise self._sink_error
        finally:
            self.sink = self._sink_error = None

    def _pour(self) -> None:
        """What has arrived, into the sink; it is taken off where it wants no more."""
        assert self.sink is not None
        try:
            if self.sink(self._taken(), b""):
                return
        except BaseException as error:  # noqa: BLE001 - see there
            self.unsink(error)
        else:
            self.unsink()

    def unsink(self, error: BaseException | None = None) -> None:
        """The sink wants no more, or failed: that is raised by `pump`, in the task whose it is."""
        self.sink, self._sink_error = None, error
        self.wake()

    def abort(self) -> None:
        """Break it off, unless it is complete: once what has arrived is read, `read` fails."""
        if self._connection is not None and not self._complete:
            self._connection.break_off()

    def hang_up(self) -> None:
        """Tell the upstream that nobody listens, but take what it had sent by then: that it bills. Whoever does not stop
        at this is cut off a moment later."""
        if self._connection is not None and not self._complete:
            self._connection.hang_up()

    # Called by the connection.

    async def wait_for_head(self) -> None:
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._news

    def wake(self) -> None:
        if self.sink is not None and self._chunks:
            self._pour()
            if self.sink is not None and not self.over:
                return
        self._news.set()

    def received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered_bytes += len(data)
        if self._buffered_bytes > _HIGH_WATER and not self._paused and self._connection is not None:
            self._paused = True
            self._connection.pause_reading()

    @property
    def paused(self) -> bool:
        return self._paused

    def completed(self) -> None:
        self._complete = True
        self._paused = False
        self._connection = None

    def failed(self, error: UpstreamError) -> None:
        if not self._complete and self._error is None:
            self._error = error
            self._connection = None
            self.wake()
