"""Once a second a session is looked at: who says nothing is pinged, who answers nothing is gone, and what nobody uses is ended."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from proxy.exchange.realtime.session import Session
from proxy.upstream.peer import Peer

IDLE_S = 300.0


class Clock:
    """The loop's time, as the test moves it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = 1000.0
        self._loop = loop

    def time(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class End:
    """One end: its socket here, and a program behind it that answers pings by the same library, or does not."""

    def __init__(self, clock: Clock, side: Side) -> None:
        self.answers = True
        self.pinged = 0
        self.closed: tuple[int, str] | None = None
        self._other = Protocol(Side.CLIENT if side is Side.SERVER else Side.SERVER)
        self.peer = Peer(cast(asyncio.Transport, self), side, 1024 * 1024)
        self.peer._loop = cast(Any, clock)
        self.peer.heard_at = clock.now

    def write(self, data: bytes) -> None:
        self._other.receive_data(bytes(data))
        for event in self._other.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.PING:
                self.pinged += 1
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                close = self._other.close_rcvd
                assert close is not None
                self.closed = close.code, close.reason
        if self.answers and self._other.state is OPEN:
            for answer in self._other.data_to_send():
                asyncio.get_running_loop().call_soon(self.peer.received, answer)

    def say(self, text: str = '{"type":"x"}') -> None:
        self._other.send_text(text.encode())
        for data in self._other.data_to_send():
            self.peer.received(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


class Slices:
    """Nothing is reserved."""

    busy = due = holds = False

    def __init__(self) -> None:
        self.outcome = ""

    async def end(self, outcome: str) -> None:
        self.outcome = outcome


class Rig:
    """A session between two ends, none of whose messages needs anything."""

    def __init__(self) -> None:
        self.clock = Clock(asyncio.get_running_loop())
        self.near, self.far = End(self.clock, Side.SERVER), End(self.clock, Side.CLIENT)
        self.slices = Slices()
        plane = SimpleNamespace(sessions=set(), ready=True, keys=SimpleNamespace(again=lambda identity, now: identity))
        talk = SimpleNamespace(from_client=lambda data: None, from_server=lambda data: (), cancels=())
        self.session = Session(
            cast(Any, plane), cast(Any, SimpleNamespace(request_id="r")), cast(Any, None), cast(Any, talk),
            cast(Any, self.slices), (self.near.peer, self.far.peer), IDLE_S,
        )  # fmt: skip
        self.session._loop = cast(Any, self.clock)
        self.session.moved_at = self.session._pinged_at = self.clock.now
        self.running = asyncio.create_task(self.session.run())

    async def passes(self, seconds: int, *, saying: End | None = None) -> None:
        """So many ticks, or until it is over."""
        await asyncio.sleep(0)
        for _ in range(seconds):
            self.clock.now += 1
            if saying is not None:
                saying.say()
            self.session.tick()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if self.running.done():
                return


async def test_both_sides_are_pinged_and_live_as_long_as_they_answer() -> None:
    rig = Rig()
    await rig.passes(200)
    assert not rig.running.done()
    assert (rig.near.pinged, rig.far.pinged) == (9, 9)  # every 20 s, at the first tick behind it
    rig.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rig.running


async def test_a_session_in_which_nothing_is_said_is_ended_though_both_sides_answer() -> None:
    rig = Rig()
    await rig.passes(100, saying=rig.near)
    await rig.passes(int(IDLE_S) + 5)
    await rig.running
    assert rig.slices.outcome == "ok"
    assert rig.near.closed == (1008, "nothing was said for 300 s")
    assert rig.far.closed is not None
    assert rig.clock.now == 1000 + 100 + IDLE_S + 1


async def test_words_of_either_side_keep_it_open() -> None:
    rig = Rig()
    for speaker in (rig.near, rig.far):
        await rig.passes(int(IDLE_S) - 20)
        await rig.passes(1, saying=speaker)
    assert not rig.running.done()
    rig.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rig.running


@pytest.mark.parametrize("talking", [False, True], ids=["quiet", "while the other talks"])
@pytest.mark.parametrize(
    ("dead", "outcome", "told"), [("near", "client_disconnected", None), ("far", "upstream_error", (1011, "the upstream is gone"))]
)  # fmt: skip
async def test_who_answers_no_ping_is_gone(dead: str, outcome: str, told: Any, talking: bool) -> None:
    """Its cable was pulled: nothing comes, and nothing says so."""
    rig = Rig()
    one, other = (rig.near, rig.far) if dead == "near" else (rig.far, rig.near)
    one.answers = False
    await rig.passes(120, saying=other if talking else None)
    await rig.running
    assert rig.slices.outcome == outcome
    assert rig.clock.now == 1000 + 51
    assert one.pinged == 2
    if told is not None:
        assert rig.near.closed == told


async def test_who_is_not_read_from_is_not_taken_for_dead() -> None:
    """Its words wait at the socket, because the other side takes none: nobody can hear it."""
    rig = Rig()
    rig.near.answers = False
    await rig.passes(1)
    rig.session.up.set_full(True)
    await rig.passes(100)
    assert not rig.running.done()
    rig.session.up.set_full(False)
    await rig.passes(2)
    await rig.running
    assert rig.slices.outcome == "client_disconnected"
