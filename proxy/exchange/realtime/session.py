"""One session: messages pass both ways as they came, and what has to happen first (a reservation, a settlement) happens first.

Most messages are looked at, counted and passed on within the call that brought them. One that needs more holds up those behind
it, and its sender: each side has at most one read's worth of frames in memory here, and what the other side's socket buffers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import orjson
from websockets.frames import Frame, Opcode

from proxy.dialects.spoken import (
    Asks,
    Began,
    Declined,
    Done,
    FromClient,
    FromServer,
    Grown,
    Names,
    Resumable,
    Talk,
    Transcribed,
    Wrong,
)
from proxy.downstream.client import Client
from proxy.errors import Refused, internal
from proxy.exchange.plane import Plane
from proxy.exchange.realtime.slices import Slices
from proxy.times import now_s
from proxy.types import Identity
from proxy.upstream.peer import FAILED, GOING_AWAY, LOST, POLICY, Peer

_PING_S = 20.0
_DEAD_S = 50.0  # without a byte, though pinged twice
_LAST_WORD_S = 5.0  # how long the provider has to say what the turn has used that nobody waits for any more

log = logging.getLogger("taximeter.data")


class Lane:
    """One direction. `look` says what a whole message needs: nothing, or work that is done before it passes on, and whose
    result passes in its place (None: nothing does). hold: fragments wait until their message is whole and was looked at."""

    def __init__(self, session: Session, source: Peer, target: Peer, *, hold: bool) -> None:
        self._session = session
        self._source = source
        self._target = target
        self._hold = hold
        self._behind: deque[Frame] = deque()
        self._fragments: list[Frame] = []
        self._working: asyncio.Task[None] | None = None
        self.full = False  # the target's socket takes no more at the moment

    def take(self, frames: Sequence[Frame]) -> None:
        self._session.moved_at = self._source.heard_at
        if self._working is not None:
            self._behind.extend(frames)
            return
        target = self._target
        for number, frame in enumerate(frames):
            if frame.fin and frame.opcode is not Opcode.CONT:
                work = self._session.look(self, cast(bytes, frame.data))
                if work is None:
                    target.send(frame)
                    continue
                passing = [frame]
            else:
                work = self._fragment(frame)
                if work is None:
                    continue
                passing, self._fragments = self._fragments, []
            self._behind.extend(frames[number + 1 :])
            self._source.pause()
            self._working = asyncio.create_task(self._work(work, passing))
            break
        target.flush()

    def _fragment(self, frame: Frame) -> Coroutine[Any, Any, bytes | None] | None:
        """A part of a message: it passes at once, or when the message is whole."""
        self._fragments.append(frame)
        if not self._hold:
            self._target.send(frame)
        if not frame.fin:
            return None
        work = self._session.look(self, b"".join([bytes(part.data) for part in self._fragments]))
        if work is None:
            if self._hold:
                for part in self._fragments:
                    self._target.send(part)
            self._fragments = []
        return work

    async def _work(self, work: Coroutine[Any, Any, bytes | None], frames: list[Frame]) -> None:
        try:
            result = await work
        except Refused as refused:
            result = None
            self._session.refuse(refused, frames if not self._hold and len(frames) == 1 else ())
        except Exception:  # a fault of ours ends this session, and no other
            result = None
            log.exception("a spoken session failed")
            self._session.refuse(internal(self._session.name))
        if result is not None and (self._hold or len(frames) == 1):
            for frame in frames if result == b"" else [Frame(frames[0].opcode, result)]:
                self._target.send(frame)
        self._working = None
        behind, self._behind = list(self._behind), deque()
        self.take(behind)
        if self._working is None and not self.full:
            self._source.resume()

    def stop(self) -> None:
        """Nothing passes any more."""
        if self._working is not None:
            self._working.cancel()

    def set_full(self, full: bool) -> None:
        """Back-pressure: whoever sends here waits while the target reads slowly."""
        self.full = full
        if full:
            self._source.pause()
        elif self._working is None:
            self._source.resume()


class Session:
    """up: what the client sends; down: what the server sends."""

    def __init__(
        self,
        plane: Plane,
        client: Client,
        identity: Identity,
        talk: Talk,
        slices: Slices,
        peers: tuple[Peer, Peer],
        idle_s: float,
    ) -> None:
        self.name = client.request_id
        self._plane = plane
        self._client = client
        self._identity = identity
        self._talk = talk
        self._slices = slices
        self._near, self._far = peers
        self.up = Lane(self, self._near, self._far, hold=True)
        self.down = Lane(self, self._far, self._near, hold=False)
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self.moved_at = self._pinged_at = self._loop.time()
        self._over: asyncio.Future[str] = self._loop.create_future()
        self._quiet = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until either side ends it, or we do. Never raises; by then every turn is settled."""
        self._near.start(self.up.take, self._client_ended)
        self._far.start(self.down.take, self._server_ended)
        self._plane.sessions.add(self)
        outcome = "cut"
        try:
            outcome = await self._over
            await self._last_word()
        finally:
            self._plane.sessions.discard(self)
            self.up.stop()
            self._near.close(GOING_AWAY)
            self._far.close(1000)
            await self._slices.end(outcome)

    def _end(self, outcome: str) -> None:
        if not self._over.done():
            self._over.set_result(outcome)

    # What passes

    def look(self, lane: Lane, data: bytes) -> Coroutine[Any, Any, bytes | None] | None:
        """What has to be done before a message passes; None: nothing. The work's result is what passes: b"" as it was."""
        if lane is self.up:
            sent = self._talk.from_client(data)
            return None if sent is None else self._sent(sent)
        events = self._talk.from_server(data)
        if not events or (isinstance(events[0], Began) and self._slices.began(events[0].turn) and len(events) == 1):
            return None
        return self._learn_all(events)

    async def _sent(self, sent: FromClient) -> bytes | None:
        slices = self._slices
        if isinstance(sent, Grown):
            await slices.hold()
        elif isinstance(sent, Asks):
            await slices.asks(sent.bound, sent.name)
            return sent.message
        elif isinstance(sent, Names):
            if slices.holds:  # settings beside the names may make a turn dearer
                await slices.hold()
            return self._renamed(sent)
        elif isinstance(sent, Wrong):
            self._decline(sent)
            return None
        return b""

    async def _learn_all(self, events: Sequence[FromServer]) -> bytes | None:
        message = b""
        for event in events:
            await self._learn(event)
            if isinstance(event, Declined):
                message = event.message
        return message

    async def _learn(self, event: FromServer) -> None:
        slices = self._slices
        if isinstance(event, Done):
            try:
                await slices.done(event)
            finally:
                if not slices.busy:
                    self._quiet.set()
        elif isinstance(event, Began):
            if not slices.began(event.turn):
                await slices.began_unasked(event.turn)
        elif isinstance(event, Transcribed):
            await slices.transcribed(event)
        elif isinstance(event, Resumable):
            self._plane.stored_owners.note_session(self._identity, event.handle)
        else:
            await slices.declined(event.name)

    def _renamed(self, names: Names) -> bytes | None:
        """The message with the provider's names of models."""
        changed = False
        for path, model in names.models.items():
            if not path:
                changed = True
                continue
            try:
                real = self._slices.other_model(model)
            except Refused as refused:
                self._decline(Wrong(refused.refusal.message, ".".join(path)))
                return None
            changed = changed or real != model
            inner = names.event
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = real
        return orjson.dumps(names.event) if changed else b""

    def _decline(self, wrong: Wrong) -> None:
        if answer := self._talk.declined(wrong):
            self._near.send_text(answer)
        else:
            self._near.close(1007, wrong.message)
            self._end("client_error")

    # How it ends

    def refuse(self, refused: Refused, frames: Sequence[Frame] = ()) -> None:
        """Tell the client why it is over, behind the message that it was over with, and close."""
        refusal = refused.refusal
        for frame in frames:
            self._near.send(frame)
        event, code, reason = self._talk.refused(refusal)
        if event:
            self._near.send_text(event)
        self._near.close(code, reason)
        self._plane.tally.refuse(refusal.code, refusal.budget, recorded=refused.recorded)
        self._end("cut")

    def _client_ended(self, code: int, reason: str) -> None:
        self._end("client_disconnected" if code == LOST or self._slices.busy else "ok")

    def _server_ended(self, code: int, reason: str) -> None:
        self._near.close(FAILED if code == LOST else code, reason or ("the upstream is gone" if code == LOST else ""))
        self._quiet.set()
        self._end("upstream_error")

    async def _last_word(self) -> None:
        """Have the provider say what the turns have used that nobody hears any more: that is what it bills."""
        if not self._slices.busy or not self._far.open:
            return
        for cancel in self._talk.cancels:
            self._far.send_text(cancel)
        self._quiet.clear()
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                await self._quiet.wait()
        except TimeoutError:
            pass

    # Once a second

    def tick(self) -> None:
        """End what is over: a key that was revoked, a side that is gone, a session that nobody uses, ourselves."""
        now = self._loop.time()
        if self._over.done():
            return
        if not self._plane.ready and not self._slices.busy:
            self._near.close(GOING_AWAY, "the proxy is stopping")
            self._end("ok")
            return
        try:
            self._plane.keys.again(self._identity, now_s)
        except Refused as refused:
            self.refuse(refused)
            return
        if now - self.moved_at > self._idle_s:
            self._near.close(POLICY, f"nothing was said for {self._idle_s:g} s")
            self._end("ok")
        elif now - self._near.heard_at > _DEAD_S and not self._near.paused:
            self._near.close(LOST, "nothing is heard from the client")
            self._end("client_disconnected")
        elif now - self._far.heard_at > _DEAD_S and not self._far.paused:
            self._server_ended(LOST, "")
        elif now - self._pinged_at > _PING_S:
            self._pinged_at = now
            self._near.ping()
            self._far.ping()
        if self._slices.due and self._renewing is None:
            self._renewing = asyncio.create_task(self._renewed())

    async def _renewed(self) -> None:
        try:
            await self._slices.renew()
        except Refused as refused:
            self.refuse(refused)
        finally:
            self._renewing = None
