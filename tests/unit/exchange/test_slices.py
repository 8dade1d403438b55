"""What a session has reserved, where its messages come while the store is asked: each turn keeps what was reserved for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from proxy.dialects.realtime import Realtime
from proxy.dialects.spoken import Bound, Done
from proxy.errors import Refused, invalid_request
from proxy.exchange.attempt import Attempt
from proxy.exchange.realtime.slices import Slices


class Reservation:
    """Stands for an attempt."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.given_back = False
        self.billed: list[Done] = []

    async def unused(self) -> None:
        self.given_back = True

    async def done(self, done: Done) -> None:
        self.billed.append(done)


class Asked(Slices):
    """Slices of a store that is asked for nothing: `meanwhile` happens while it is."""

    def __init__(self) -> None:
        super().__init__(cast(Any, None), cast(Any, None), Realtime("voice", "openai", "gpt-realtime"), None)
        self.running: dict[str, Reservation] = {}
        self.meanwhile: Callable[[], object] = lambda: None
        self.denied = 0

    async def _reserved(self, bound: Bound, *, again: bool) -> Attempt:
        await asyncio.sleep(0)
        happens, self.meanwhile = self.meanwhile, lambda: None
        happens()
        if self.denied:
            self.denied -= 1
            raise invalid_request("no room")
        return cast(Attempt, Reservation(bound))

    def _run(self, turn: str, attempt: Attempt) -> None:
        self.running[turn] = cast(Reservation, attempt)
        self._running[turn] = cast(Any, attempt)


LARGER = Bound(0, written=None)


async def small() -> Asked:
    """With a turn ahead that may write one token."""
    slices = Asked()
    slices._talk.from_server(b'{"type":"session.updated","session":{"max_output_tokens":1}}')
    await slices.hold()
    slices._talk.from_server(b'{"type":"session.updated","session":{"max_output_tokens":"inf"}}')
    return slices


async def test_a_turn_that_begins_while_another_is_reserved_keeps_its_own() -> None:
    for denied in (0, 1):
        slices = await small()
        slices.meanwhile, slices.denied = lambda slices=slices: slices.began("one"), denied
        await slices.hold()
        assert not slices.running["one"].given_back
        assert slices.holds is not bool(denied)


async def test_what_is_asked_for_is_reserved_though_another_turn_began_meanwhile() -> None:
    slices = await small()
    slices.meanwhile, slices.denied = lambda: slices.began("one"), 1
    await slices.asks(LARGER)
    slices.began("two")
    assert slices.running["two"].bound.written is None
    assert slices.running["one"] is not slices.running["two"]
    assert not any(one.given_back for one in slices.running.values())


async def test_the_money_of_a_small_request_that_was_declined_does_for_no_larger_turn() -> None:
    slices = Asked()
    await slices.asks(Bound(0, written=1))
    await slices.declined()
    slices.began("one")
    assert slices.running["one"].bound.written is None


async def test_where_nothing_was_reserved_a_turn_that_began_is_under_way_all_the_same() -> None:
    slices = Asked()
    await slices.began_unasked("one")
    assert not slices.running["one"].given_back
    slices.denied = 1
    try:
        await slices.began_unasked("two")
    except Refused:
        return
    raise AssertionError("it was not refused")


async def test_a_turn_whose_beginning_nobody_told_is_billed_once() -> None:
    slices = Asked()
    await slices.hold()
    for _ in range(2):
        await slices.done(Done("one", ({"type": "response.done"},)))
    assert len(slices.running["one"].billed) == 1
