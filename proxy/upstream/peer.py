"""One end of a WebSocket on a transport: frames in, frames out, by the `websockets` library's layer without I/O.

The library frames, masks, answers pings and checks what comes: what breaks the protocol is answered with the close that RFC
6455 has for it (1002, 1007, 1009), compressed frames among it, for no extension is ever agreed on. Nothing here raises for
what the other side sends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from websockets.exceptions import WebSocketException
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

_CLOSING_S = 2.0  # how long the other side has to answer a close
_MAX_REASON_BYTES = 123
_MOST_PARTS = 10_000  # in one message: empty ones add nothing to its size
_MOST_UNREAD_BYTES = 1024 * 1024  # who reads nothing gets no more answers to pings

log = logging.getLogger("taximeter.websockets")
log.setLevel(logging.CRITICAL)  # the library's own lines: what a stranger sends is no news

GOING_AWAY, PROTOCOL_ERROR, POLICY = CloseCode.GOING_AWAY, CloseCode.PROTOCOL_ERROR, CloseCode.POLICY_VIOLATION
FAILED, TRY_LATER = CloseCode.INTERNAL_ERROR, CloseCode.TRY_AGAIN_LATER
LOST = CloseCode.ABNORMAL_CLOSURE
_NEVER_SENT = (CloseCode.NO_STATUS_RCVD, CloseCode.ABNORMAL_CLOSURE, CloseCode.TLS_HANDSHAKE)

OnFrames = Callable[[Sequence[Frame]], None]
"""Data frames as they came, fragments by themselves."""


class Peer:
    """`max_message_bytes` bounds a message, whole or in fragments. heard_at: when anything came (the loop's seconds).

    held: told how many bytes of a message wait for its end, where those are many; false: there is no room for so many.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        side: Side,
        max_message_bytes: int,
        held: Callable[[int], bool] | None = None,
    ) -> None:
        self.transport = transport
        self._loop = asyncio.get_running_loop()
        self._protocol = Protocol(side, max_size=max_message_bytes, logger=log)
        self._held = held
        self._on_frames: OnFrames | None = None
        self._on_end: Callable[[int, str], None] | None = None
        self._early: list[Frame] = []
        self._parts = self._parts_bytes = 0  # that have come of a message which is not whole
        self._arrival: asyncio.Future[None] | None = None
        self._ended = False
        self._paused = False
        self.heard_at = self._loop.time()

    def start(self, on_frames: OnFrames, on_end: Callable[[int, str], None]) -> None:
        """on_end: told once how the other side ended it: code (1006: without a word) and reason."""
        self._on_frames, self._on_end = on_frames, on_end
        early, self._early = self._early, []
        self.resume()
        if early:
            on_frames(early)
        if self._ended:
            self._tell_end()

    async def first_message(self) -> bytes | None:
        """The first message, before `start` takes what follows; None where the other side ends without one."""
        while True:
            last = next((number for number, frame in enumerate(self._early) if frame.fin), None)
            if last is not None:
                frames, self._early = self._early[: last + 1], self._early[last + 1 :]
                return b"".join([bytes(frame.data) for frame in frames])
            if self._ended:
                return None
            self._arrival = self._loop.create_future()
            self.resume()
            await self._arrival

    @property
    def open(self) -> bool:
        return self._protocol.state is OPEN and not self._ended

    # What comes in: called by the transport's protocol.

    def received(self, data: bytes) -> None:
        protocol = self._protocol
        self.heard_at = self._loop.time()
        try:
            protocol.receive_data(data)
        except EOFError:
            return
        events = protocol.events_received()
        if protocol.writes:
            if protocol.state is OPEN and self.transport.get_write_buffer_size() > _MOST_UNREAD_BYTES:
                protocol.data_to_send()  # pongs
            else:
                self.flush()
        frames = [frame for frame in events if isinstance(frame, Frame) and frame.opcode <= Opcode.BINARY]
        for frame in frames:
            self._parts = 0 if frame.fin else self._parts + 1
            self._parts_bytes = 0 if frame.fin else self._parts_bytes + len(frame.data)
        if self._held is not None and not self._held(len(protocol.reader.buffer) + self._parts_bytes):
            self.close(TRY_LATER, "too many bytes are in flight here")
            frames = []
        if self._parts > _MOST_PARTS:
            self.close(CloseCode.MESSAGE_TOO_BIG, "a message has too many parts")
            frames = []
        if self._on_frames is None:
            self._early += frames
            self.pause()
            self._arrived()
        elif frames:
            self._on_frames(frames)
        if protocol.state is not OPEN:
            self._end()

    def lost(self) -> None:
        """The connection is gone."""
        self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._arrived()
        self._tell_end()

    def _arrived(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _tell_end(self) -> None:
        close = self._protocol.close_rcvd or self._protocol.close_sent
        if self._on_end is not None:
            self._on_end(LOST if close is None else close.code, "" if close is None else close.reason)

    # What goes out

    def send(self, frame: Frame) -> None:
        """Put a data frame on its way as it is; `flush` writes."""
        protocol = self._protocol
        if self._ended or protocol.state is not OPEN:
            return
        try:
            if frame.opcode is Opcode.TEXT:
                protocol.send_text(frame.data, frame.fin)
            elif frame.opcode is Opcode.BINARY:
                protocol.send_binary(frame.data, frame.fin)
            else:
                protocol.send_continuation(frame.data, frame.fin)
        except WebSocketException:  # a frame of ours would stand between two fragments
            self.close(FAILED, "the frames got out of order")

    def send_text(self, data: bytes) -> None:
        """A message of ours, if none is under way."""
        if self.open and not self._protocol.expect_continuation_frame:
            self.send(Frame(Opcode.TEXT, data))
            self.flush()

    def ping(self) -> None:
        if self.open:
            self._protocol.send_ping(b"")
            self.flush()

    def flush(self) -> None:
        writes = self._protocol.data_to_send()
        if not writes or self.transport.is_closing():
            return
        self.transport.write(writes[0] if len(writes) == 1 else b"".join(writes))
        if not writes[-1]:  # the library's sign that nothing follows
            self.transport.close()
            self._loop.call_later(_CLOSING_S, self.transport.abort)

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; cut off who does not answer. A code that stands in no frame becomes one that may."""
        if self._protocol.state is OPEN:
            shown = _reason(reason)
            try:
                if code == CloseCode.NO_STATUS_RCVD:
                    self._protocol.send_close()
                else:
                    self._protocol.send_close(FAILED if code in _NEVER_SENT else code, shown)
            except WebSocketException:
                self._protocol.send_close(FAILED, shown)
            self.flush()
            self.resume()  # its answer has to be read
        self._loop.call_later(_CLOSING_S, self.transport.abort)

    # Back-pressure

    def pause(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    @property
    def paused(self) -> bool:
        return self._paused


def _reason(text: str) -> str:
    """At most what a close frame holds."""
    return text.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
