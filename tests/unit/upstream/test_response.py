"""What arrives is given to whoever takes it, once, in order and at once, however it ends."""

from __future__ import annotations

import asyncio

import pytest

from proxy.upstream.response import Response, UpstreamError

BROKEN = UpstreamError("reset", "it broke off", sent=True)


class Connection:
    """Where a response comes from, as far as it is asked."""

    def __init__(self) -> None:
        self.paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def break_off(self) -> None: ...
    def hang_up(self) -> None: ...


@pytest.fixture
async def response() -> Response:
    return Response(Connection())


def arrives(response: Response, *pieces: bytes) -> None:
    """One read of the socket: so many pieces of HTTP's."""
    for piece in pieces:
        response.received(piece)
    response.wake()


async def test_what_came_together_is_given_together_and_at_once(response: Response) -> None:
    taken: list[bytes] = []
    arrives(response, b"before")

    pumping = asyncio.create_task(response.pump(lambda data, _: taken.append(data) is None))
    await asyncio.sleep(0)
    arrives(response, b"a", b"b")

    assert taken == [b"before", b"ab"]
    arrives(response, b"c")
    assert taken == [b"before", b"ab", b"c"]
    response.received(b"last")
    response.completed()
    response.wake()
    await pumping
    assert taken[3:] == [b"last"]
    assert await response.read() == b""


async def test_who_wants_no_more_gets_no_more_until_it_asks_again(response: Response) -> None:
    taken: list[bytes] = []

    def once(data: bytes, _: bytes) -> bool:
        taken.append(data)
        return False

    pumping = asyncio.create_task(response.pump(once))
    await asyncio.sleep(0)
    arrives(response, b"a")
    arrives(response, b"b")
    await pumping
    arrives(response, b"c")

    assert taken == [b"a"]
    await response.pump(once)
    assert taken == [b"a", b"bc"]


async def test_what_waits_for_who_wants_no_more_is_bounded(response: Response) -> None:
    pumping = asyncio.create_task(response.pump(lambda *_: False))
    await asyncio.sleep(0)
    arrives(response, b"a")
    for _ in range(5):
        arrives(response, b"x" * 100_000)
    assert response.paused
    await pumping

    await response.pump(lambda *_: False)
    assert not response.paused


async def test_what_had_come_is_given_before_it_is_told_that_it_broke_off(response: Response) -> None:
    taken: list[bytes] = []
    pumping = asyncio.create_task(response.pump(lambda data, _: taken.append(data) is None))
    await asyncio.sleep(0)
    response.received(b"half")
    response.failed(BROKEN)

    with pytest.raises(UpstreamError, match="broke off"):
        await pumping
    assert taken == [b"half"]


async def test_a_fault_of_who_takes_is_its_own_and_not_the_connections(response: Response) -> None:
    def fails(*_: bytes) -> bool:
        raise MemoryError

    pumping = asyncio.create_task(response.pump(fails))
    await asyncio.sleep(0)
    arrives(response, b"a")  # does not raise: the connection goes on
    with pytest.raises(MemoryError):
        await pumping
    arrives(response, b"b")
    assert await response.read() == b"b"


async def test_who_breaks_it_off_while_taking_is_told_so(response: Response) -> None:
    def breaks(*_: bytes) -> bool:
        response.failed(BROKEN)
        return True

    pumping = asyncio.create_task(response.pump(breaks))
    await asyncio.sleep(0)
    arrives(response, b"a")
    with pytest.raises(UpstreamError, match="broke off"):
        await pumping


async def test_who_is_cancelled_takes_nothing_more(response: Response) -> None:
    taken: list[bytes] = []
    pumping = asyncio.create_task(response.pump(lambda data, _: taken.append(data) is None))
    await asyncio.sleep(0)
    pumping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pumping
    arrives(response, b"a")
    assert taken == []
    assert await response.read() == b"a"
