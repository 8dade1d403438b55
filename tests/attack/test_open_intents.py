"""Whatever goes wrong between an INTENT and its call, the INTENT ends, and what was reserved comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from proxy.errors import invalid_request
from proxy.exchange import asking, run
from proxy.exchange.attempt import Attempt
from tests.flow.house import HARD, Build, House, Line


def _fail(error: BaseException) -> Callable[..., Any]:
    def fails(*_: object, **__: object) -> None:
        raise error

    return fails


def _fail_once_reserved(house: House, error: BaseException) -> None:
    real = house.plane.store.reserve

    async def reserves(*terms: Any) -> None:
        await real(*terms)
        raise error

    house.plane.store.reserve = reserves  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize(
    "error", [RuntimeError("ours"), asyncio.CancelledError(), KeyError("x"), invalid_request("deep")]
)
@pytest.mark.parametrize("place", ["guard", "reserve", "reserved", "capped", "head"])
async def test_every_way_out_closes_the_intent(
    build: Build, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    house = build(budgets=[{"name": "b", "limit_usd": "0.003", "window": "total"}], guards={"max_requests": 100})
    if place == "guard":
        monkeypatch.setattr(run, "guard", _fail(error))
    elif place == "reserve":
        monkeypatch.setattr(Attempt, "reserve", _fail(error))
    elif place == "reserved":
        _fail_once_reserved(house, error)
    elif place == "capped":
        monkeypatch.setattr(Attempt, "cap_output", _fail(error))
    else:
        monkeypatch.setattr(asking, "request_head", _fail(error))
    with contextlib.suppress(asyncio.CancelledError):
        told = await house.ask(line=Line(), max_tokens=4000 if place == "capped" else 100)
        assert told.status in (400, 500)
    assert house.sent == []
    assert house.kinds()[0] == "intent"
    assert house.kinds()[-1] == "void"
    assert house.reserved() == 0
    spent = [standing.spent for standing in house.plane.store.standings()]
    assert sum(spent) == 0


@pytest.mark.parametrize("error", [RuntimeError("ours"), asyncio.CancelledError()])
async def test_what_may_have_been_sent_is_charged(
    build: Build, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    house = build(**HARD)
    monkeypatch.setattr(run, "answer", _fail(error))
    with contextlib.suppress(asyncio.CancelledError):
        assert (await house.ask()).status == 500
    intent, settle = house.records()
    assert (settle["t"], settle["status"], settle["outcome"]) == ("settle", "unconfirmed", "cut")
    assert settle["cost_nanousd"] == intent["reserved_nanousd"]
    assert house.reserved() == 0
