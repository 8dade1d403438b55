"""What a session has reserved, where its messages come while the store is asked: each turn keeps what was reserved for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

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
        super().__init__(cast(Any, None), cast(Any, None), Realtime("voice", "openai", "gpt-realtime", str), None)
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
    await slices.asks(LARGER, "a")
    slices.began("two")
    assert slices.running["two"].bound.written is None
    assert slices.running["one"] is not slices.running["two"]
    assert not any(one.given_back for one in slices.running.values())


async def test_the_money_of_a_small_request_that_was_declined_does_for_no_larger_turn() -> None:
    slices = Asked()
    await slices.asks(Bound(0, written=1), "a")
    await slices.declined("a")
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


async def three() -> tuple[Asked, list[Reservation]]:
    """Three requests wait for their turns to begin."""
    slices = Asked()
    for name in ("a", "b", "c"):
        await slices.asks(Bound(0, written=10), name)
    return slices, [cast(Reservation, attempt) for attempt in slices._asked.values()]


async def test_an_error_gives_back_the_request_that_it_names_and_no_other() -> None:
    slices, (a, b, c) = await three()
    await slices.declined("b")
    await slices.declined("b")  # it has nothing more
    await slices.declined("of somebody else")
    slices.began("one")
    slices.began("two")
    assert list(slices.running.values()) == [a, c]
    assert not a.given_back
    assert not c.given_back
    assert b.given_back or slices._ahead is cast(Any, b)


async def test_errors_that_name_nothing_give_nothing_back_while_a_turn_may_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slices, waiting = await three()
    for _ in range(5):
        await slices.declined("")
    assert not slices.due
    await slices.renew()
    for turn in ("one", "two", "three"):
        assert slices.began(turn)
    assert list(slices.running.values()) == waiting
    assert not any(one.given_back for one in waiting)
    monkeypatch.setattr("proxy.exchange.realtime.slices._DOUBTED_S", -1)
    await slices.renew()
    assert not any(one.given_back for one in waiting)


async def test_where_nothing_begins_for_long_after_such_errors_as_many_are_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slices, waiting = await three()
    for _ in range(2):
        await slices.declined("")
    monkeypatch.setattr("proxy.exchange.realtime.slices._DOUBTED_S", -1)
    assert slices.due
    await slices.renew()
    assert [one.given_back for one in waiting] == [True, True, False]
    assert not slices.due


@pytest.mark.parametrize(("outcome", "given_back"), [("ok", True), ("upstream_error", False)])
async def test_at_the_end_what_was_declined_without_a_name_costs_nothing_where_the_server_was_heard(
    outcome: str, given_back: bool
) -> None:
    slices = Asked()
    await slices.asks(Bound(0, written=10), "a")
    (attempt,) = slices._asked.values()
    await slices.declined("")
    await slices.end(outcome)
    assert cast(Reservation, attempt).given_back
    assert bool(slices._doubts) is not given_back
