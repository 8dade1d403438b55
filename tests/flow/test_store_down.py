"""Calls while the budget store cannot be asked: 503 where a budget denies, else on, flagged, and counted later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from proxy.budgets.store import Granted, Moved, StoreUnavailable, Unanswered
from proxy.exchange.attempt import Attempt
from proxy.types import Claim
from tests.flow.house import HARD, Build, Odd
from tests.support.native import IS_NATIVE

_REPLACES_A_METHOD = pytest.mark.skipif(
    IS_NATIVE, reason="machine code: native callers do not see what is put in the place of a method"
)


class _Away(Odd):
    """Cannot be asked; what ended is told to it all the same, as it is delivered later."""

    async def reserve(self, *_: Any, **__: Any) -> Any:
        raise StoreUnavailable


async def test_a_hard_budget_denies_with_503(build: Build) -> None:
    house = build(**HARD)
    house.plane.store = cast(Any, _Away())
    told = await house.ask()
    assert (told.status, told.code, house.sent) == (503, "budget_store_unavailable", [])
    assert told.headers["retry-after"] == "1"
    assert house.kinds() == ["intent", "refused"]


class _Silent(_Away):
    """Does what it is asked for, perhaps, and does not answer."""

    async def reserve(self, *_: Any, **__: Any) -> Any:
        raise Unanswered


@pytest.mark.parametrize(("store", "unanswered"), [(_Away(), None), (_Silent(), True)])
async def test_who_reads_the_records_knows_whether_the_reservation_may_stand(
    build: Build, store: Odd, unanswered: bool | None
) -> None:
    """Then it may expire, and be charged by whoever sweeps."""
    house = build(**HARD)
    house.plane.store = cast(Any, store)
    assert (await house.ask()).code == "budget_store_unavailable"
    assert house.records()[-1].get("unanswered") is unanswered


class _Mute(Odd):
    """Releases, perhaps, and does not answer."""

    async def release(self, *_: Any, **__: Any) -> Any:
        return None


@_REPLACES_A_METHOD
@pytest.mark.parametrize(("store", "sweeps", "told"), [(Odd, False, 0), (Odd, True, 1), (_Mute, False, 1)])
async def test_of_a_reservation_that_nothing_used_the_records_say_whether_it_may_have_expired(
    build: Build, monkeypatch: pytest.MonkeyPatch, store: type[Odd], sweeps: bool, told: int
) -> None:
    house = build(**HARD)
    house.plane.store = cast(Any, store())

    async def end(attempt: Attempt, *_: Any, **__: Any) -> None:
        if sweeps:
            await house.plane.store.sweep(2.0**40)
        await attempt.unused()

    monkeypatch.setattr(Attempt, "settle", end)
    await house.ask()
    intent, *ends = house.records()
    assert [end["t"] for end in ends] == ["unused"] * (1 + told)
    assert [end["intent"]["budgets"] for end in ends if "intent" in end] == [intent["budgets"]] * told


class _Shared(Odd):
    """Stays when this process is killed."""

    epoch = "e"


@_REPLACES_A_METHOD
async def test_of_what_nothing_used_the_records_say_that_a_shared_store_released_it(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would know, where this process is killed between the two."""
    house = build(**HARD)
    house.plane.store = cast(Any, _Shared())
    monkeypatch.setattr(Attempt, "settle", lambda attempt, *_, **__: attempt.unused())
    await house.ask()
    _, *ends = house.records()
    assert [(end["t"], end["epoch"], end.get("released")) for end in ends] == [
        ("unused", "e", None),
        ("unused", "e", True),
    ]


@pytest.mark.parametrize("budget", [{"on_store_down": "allow"}, {"action": "warn"}])
async def test_where_no_budget_denies_the_call_goes_on_and_is_charged_later(
    build: Build, budget: dict[str, Any]
) -> None:
    house = build(budgets=[{"name": "b", "limit_usd": "0.01", "window": "total"} | budget])
    house.plane.store = cast(Any, _Away())
    assert (await house.ask()).status == 200
    (_, settle) = house.records()
    assert settle["flags"] == ["budget_unverified"]
    (standing,) = house.plane.store.standings()
    assert (standing.spent, standing.reserved) == (40_000, 0)


async def test_one_budget_that_denies_is_enough(build: Build) -> None:
    allows = {"name": "a", "limit_usd": "1", "window": "total", "on_store_down": "allow"}
    house = build(budgets=[allows, *HARD["budgets"]])
    house.plane.store = cast(Any, _Away())
    assert (await house.ask()).status == 503


async def test_without_a_budget_the_store_is_not_asked(build: Build) -> None:
    house = build()
    house.plane.store = cast(Any, _Away())
    assert (await house.ask()).status == 200


class _Later(Odd):
    """Its clock is in the next minute when it is first asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Sequence[Claim]] = []

    async def reserve(self, reservation_id: str, claims: Sequence[Claim], now_s: float, *rest: Any) -> Any:
        self.asked.append(claims)
        if len(self.asked) == 1:
            return Moved(now_s + 60)
        granted = await self.store.reserve(reservation_id, claims, now_s + 60, *rest)
        assert isinstance(granted, Granted)
        return granted


async def test_a_call_counts_in_the_window_that_the_stores_clock_says(build: Build) -> None:
    house = build(budgets=[{"name": "b", "limit_usd": "0.01", "window": "minute"}])
    store = _Later()
    house.plane.store = cast(Any, store)
    assert (await house.ask()).status == 200
    first, second = (claims[0].window_start for claims in store.asked)
    assert second == first + 60
    intent, reserved, settle = house.records()
    assert (reserved["t"], intent["budgets"][0][2]) == ("reserved", first)
    assert reserved["budgets"][0][2] == settle["budgets"][0][2] == second
