"""A session's reservations: one for the turn ahead at all times, and one for each turn under way.

A model may begin a turn whenever it hears an end, so the next one is paid for beforehand: the conversation so far and some
room for what comes in, and the most that may come out. Where the room is used up, a larger one takes its place before the
next message passes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from proxy.budgets.store import StoreUnavailable
from proxy.dialects import Endpoint
from proxy.dialects.spoken import Bound, Done, Talk, Transcribed
from proxy.errors import Refusal, Refused
from proxy.exchange.attempt import Attempt, NoRoomError
from proxy.exchange.exchange import Exchange
from proxy.exchange.plan import other_model, plan
from proxy.exchange.realtime.turn import Turn
from proxy.exchange.reserve import guard, no_room, reserve, wait_for_room
from proxy.times import now_s, now_us
from proxy.types import Call, Route
from proxy.upstream.websocket import Socket

_REMEMBERED = 64
_NOTHING = Bound(0, written=0, silent=True)  # covers no turn
_DOUBTED_S = 30.0
"""Nothing began for so long after an error that named no message: the request that waits was declined by it."""

_RENEWED_AT = 0.5  # of a reservation's time: then a session that is silent takes another


class Slices:
    """exchange: as the session began; its call is the model of every turn's. route: where the session goes."""

    def __init__(self, exchange: Exchange, route: Route, talk: Talk, transcription: Endpoint | None) -> None:
        self.route = route
        self.socket: Socket | None = None
        self._exchange = exchange
        self._talk = talk
        self._transcription = transcription
        self._ahead: Attempt | None = None
        self._bound = Bound(0)  # of what is ahead
        self._asked: dict[str, Attempt] = {}  # by the requests' names, the oldest first
        self._doubts = 0  # errors that may have declined one of them, and do not say which
        self._doubted_at = 0.0
        self._running: dict[str, Turn] = {}
        self._ended: deque[str] = deque(maxlen=_REMEMBERED)  # the latest, lest one is billed again
        self._number = 0
        self._lock = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a turn is under way, or asked for."""
        return bool(self._running or self._asked)

    # Ahead

    async def hold(self, bound: Bound | None = None) -> None:
        """Have a turn ahead with that bound, or what the conversation needs now. Raises `Refused`."""
        async with self._lock:
            await self._hold(bound)

    async def _hold(self, bound: Bound | None) -> None:
        needed = self._talk.bound()
        if bound is not None:
            needed = needed._replace(written=bound.written, silent=bound.silent)
        old = self._ahead
        if old is not None and self._bound.covers(needed):
            return
        wanted = needed.with_room(*self._talk.room())
        if old is None:
            self._ahead = await self._reserved(wanted, again=False)
        else:
            try:
                made = await self._reserved(wanted, again=True)
            except Refused:  # both at once may not fit
                begun = await self._replaced(old, None)
                if begun and bound is None:
                    return  # the next one is reserved at that turn's end
                self._ahead = await self._reserved(wanted, again=True)
            else:
                await self._replaced(old, made)
        self._bound = wanted
        self._talk.granted(wanted)

    async def _replaced(self, old: Attempt, made: Attempt | None) -> bool:
        """Keep `made` for the next turn and release `old`, unless a turn took `old` while `made` was being reserved.

        Returns whether one did.
        """
        begun = self._ahead is not old
        self._ahead = made
        if not begun:
            await old.unused()
        return begun

    @property
    def holds(self) -> bool:
        """Whether a turn is ahead."""
        return self._ahead is not None

    @property
    def due(self) -> bool:
        """Whether the time of the reservation ahead is soon over, or a request waits for nothing any more."""
        if self._over_doubt:
            return True
        if self._ahead is None:
            return False
        begun, until = self._ahead.plan.started_at, self._ahead.plan.deadline_at
        return now_us() > begun + (until - begun) * _RENEWED_AT

    @property
    def _over_doubt(self) -> bool:
        return self._doubts > 0 and not self._running and time.monotonic() > self._doubted_at + _DOUBTED_S

    async def renew(self) -> None:
        """Take another reservation in its place. Raises `Refused`."""
        async with self._lock:
            if self._over_doubt:
                await self._give_back_doubted()
                if self._ahead is None and not self._asked:
                    await self._hold(None)
            if self.due:
                self._bound = _NOTHING
                await self._hold(None)

    async def _reserved(self, bound: Bound, *, again: bool) -> Attempt:
        """again: it takes the place of another, so that guards have counted it."""
        plane, base = self._exchange.plane, self._exchange
        configured, identity = plane.configured, plane.keys.again(base.identity, now_s)
        route = configured.router.route(self.route.requested, identity)
        if (route.upstream, route.provider, route.model) != (
            self.route.upstream,
            self.route.provider,
            self.route.model,
        ):
            raise Refused(_moved())
        self._number += 1
        exchange = base._replace(
            configured=configured,
            identity=identity,
            call=_turn(base.call, bound, self._number),
            request_id=plane.ids.new(now_us()),
        )
        attempt = Attempt.of(exchange, plan(exchange, route, 1, 1))
        attempt.intend()
        try:
            if not again:
                await guard(attempt)
            await reserve(attempt, (wait_for_room,))
        except BaseException:
            await attempt.unused()
            raise
        attempt.dispatch()
        return attempt

    def other_model(self, model: str) -> str:
        """The provider's name of a model that a message names beside the session's. Raises `Refused`."""
        return other_model(self._exchange, self.route, model)

    # Under way

    async def asks(self, bound: Bound, name: str) -> None:
        """The client's request for a turn with that bound passes: what is ahead is its. Raises `Refused`."""
        async with self._lock:
            await self._hold(bound)
            while self._ahead is None:  # a turn that nobody asked for has begun with it
                await self._hold(bound)
            self._asked[name] = self._ahead
            self._ahead = None
            self._talk.granted(None)

    async def declined(self, name: str) -> None:
        """The request of this name was not granted: its money is ahead again, as far as that is enough. An error that names
        none may be about anything: nothing is given back while a turn may still begin. Raises `Refused`."""
        async with self._lock:
            if not name:
                if self._asked:
                    self._doubts, self._doubted_at = min(self._doubts + 1, len(self._asked)), time.monotonic()
                return
            attempt = self._asked.pop(name, None)
            if attempt is None:
                return
            self._doubts = min(self._doubts, len(self._asked))
            if self._ahead is None and not self._running:
                self._ahead, self._bound = attempt, _NOTHING  # its bound was the request's own
                await self._hold(None)
            else:
                await attempt.unused()

    async def _give_back_doubted(self) -> None:
        """As many requests as there were errors that named none; which of them, makes no difference any more."""
        for name in list(self._asked)[: self._doubts]:
            await self._asked.pop(name).unused()
        self._doubts = 0

    def began(self, turn: str) -> bool:
        """A turn has begun; false where nothing is reserved for it."""
        if turn in self._running:
            return True
        attempt = self._asked.pop(next(iter(self._asked))) if self._asked else self._ahead
        if attempt is None:
            return False
        self._doubts, self._doubted_at = min(self._doubts, len(self._asked)), time.monotonic()
        if attempt is self._ahead:
            self._ahead = None
            self._talk.granted(None)
        self._run(turn, attempt)
        return True

    async def began_unasked(self, turn: str) -> None:
        """A turn has begun that nothing was reserved for. Raises `Refused`; it is under way all the same."""
        async with self._lock:
            while not self.began(turn):
                await self._hold(None)

    def _run(self, turn: str, attempt: Attempt) -> None:
        assert self.socket is not None
        self._running[turn] = Turn(attempt, self.socket)

    async def done(self, done: Done) -> None:
        """A turn has ended: settle it, and have one ahead again. Raises `Refused`: then it was the last."""
        async with self._lock:
            if done.turn not in self._running:
                if not done.events or done.turn in self._ended:
                    return
                while not self.began(done.turn):  # nobody announced it, but it is billed
                    await self._hold(None)
            turn = self._running.pop(done.turn)
            self._ended.append(done.turn)
            if done.events or done.failed:
                await turn.done(done)
            else:
                await turn.guessed(done.seen, "ok")
            if not self._running and not self._asked:
                await self._hold(None)

    async def transcribed(self, transcript: Transcribed) -> None:
        """Another model wrote down what was heard: an entry of its own. Raises `Refused` where it did not fit any more."""
        if self._transcription is None or self.socket is None:
            return
        base, configured = self._exchange, self._exchange.plane.configured
        try:
            route = configured.router.route(transcript.model, base.identity)
        except Refused:
            route = replace(self.route, requested=transcript.model or "unknown", model=transcript.model or "unknown")
        exchange = base._replace(
            configured=configured,
            endpoint=self._transcription,
            call=_transcript(transcript),
            request_id=base.plane.ids.new(now_us()),
        )
        attempt = Attempt.of(exchange, plan(exchange, route, 1, 1))
        attempt.intend()
        attempt.dispatch()
        denied: NoRoomError | None = None
        try:
            await attempt.reserve()
        except (NoRoomError, StoreUnavailable) as error:  # it is spent already
            denied = error if isinstance(error, NoRoomError) else None
            attempt.unreserved()
        await Turn(attempt, self.socket).settle_event(transcript.event)
        if denied is not None:
            raise Refused(no_room(attempt, denied))

    # The end

    async def end(self, outcome: str) -> None:
        """The session is over: turns that are under way are estimated, what is ahead comes back."""
        async with self._lock:
            running, self._running = self._running, {}
            if outcome != "upstream_error":  # else what has begun there may not have been heard
                await self._give_back_doubted()
            asked, self._asked = self._asked, {}
            ahead, self._ahead = self._ahead, None
            for name, turn in running.items():
                await turn.guessed(self._talk.seen(name), outcome)
            for attempt in asked.values():
                if self.socket is None:
                    await attempt.unused()
                else:
                    await Turn(attempt, self.socket).guessed(self._talk.seen(""), outcome)
            if ahead is not None:
                await ahead.unused()


def _turn(call: Call, bound: Bound, number: int) -> Call:
    """The call that a turn with this bound is."""
    heard = {unit: tokens for unit, tokens in (("audio_in", bound.audio), ("image_in", bound.image)) if tokens}
    body: dict[str, Any] = {"turn": number}
    if bound.silent:
        body["silent"] = True
    return call._replace(
        body=body,
        hidden_tokens=bound.text + bound.audio + bound.image,
        heard=heard,
        output_caps=() if bound.written is None else (bound.written,),
    )


def _transcript(transcript: Transcribed) -> Call:
    """The call that a transcription was: what it used is known before it is reserved."""
    stated = transcript.event.get("usage")
    usage: Mapping[str, Any] = stated if isinstance(stated, dict) else {}
    given, written, seconds = (_count(usage.get(name)) for name in ("input_tokens", "output_tokens", "seconds"))
    return Call(
        dialect="openai.realtime.transcription",
        operation="realtime.transcription",
        model=transcript.model,
        body={},
        stream=True,
        size_bytes=0,
        output_caps=(max(written, 1),),
        hidden_tokens=given,
        heard={"audio_in": given} if given else {},
        extra={"audio_second": seconds} if seconds else {},
    )


def _count(value: Any) -> int:
    return -(-int(value * 1000) // 1000) if isinstance(value, (int, float)) and 0 < value < 1e9 else 0


def _moved() -> Refusal:
    message = "The configuration has changed where this session goes; open another."
    return Refusal(503, "not_ready", message, kind="server_error", retry_after_s=1)
