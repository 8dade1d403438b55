"""One exchange at a time, in one process: what is reserved, sent, charged and told, with an upstream that does as it is told."""

from __future__ import annotations

import asyncio
import errno
import os

import orjson
import pytest

from proxy.dialects.outgoing import json_body
from proxy.upstream.response import UpstreamError
from tests.flow.house import HARD, KEY, Answer, Build, whole


async def test_a_call_is_intended_sent_and_settled(build: Build) -> None:
    house = build(**HARD)
    told = await house.ask()
    assert (told.status, told.headers["x-taximeter-cost-usd"], told.headers["x-taximeter-budget-remaining-usd"]) == (
        200,
        "0.00004",
        "0.00996",
    )
    intent, settle = house.records()
    assert (intent["t"], settle["t"], intent["id"]) == ("intent", "settle", settle["id"])
    assert (settle["cost_nanousd"], settle["budgets"]) == (40_000, [["b", "", 0, "usd", 40_000]])
    assert house.reserved() == 0


async def test_the_clients_credential_never_goes_upstream(build: Build) -> None:
    house = build()
    await house.ask(headers={"x-api-key": KEY, "cookie": "secret=1"})
    head = house.sent[0][0]
    assert KEY.encode() not in head
    assert b"cookie" not in head
    assert b"authorization: Bearer sk-up\r\n" in head


async def test_a_refusal_sends_nothing_and_closes_its_intent(build: Build) -> None:
    house = build(budgets=[{"name": "b", "limit_usd": "0.000001", "window": "total", "clamp": False}])
    told = await house.ask()
    assert (told.status, told.code, house.sent) == (402, "budget_exceeded", [])
    assert house.kinds() == ["intent", "refused"]
    assert house.reserved() == 0


async def test_a_call_that_the_money_does_not_afford_is_made_smaller(build: Build) -> None:
    house = build(budgets=[{"name": "b", "limit_usd": "0.003", "window": "total"}])
    told = await house.ask(max_tokens=4000)
    cap = int(told.headers["x-taximeter-clamped-max-tokens"])
    assert 1024 <= cap < 1500
    assert house.sent[0][1]["max_tokens"] == cap
    assert house.kinds() == ["intent", "reserved", "settle"]


@pytest.mark.parametrize("padding", [0, 70_000])
async def test_a_call_is_made_smaller_under_every_name_of_its_cap(build: Build, padding: int) -> None:
    """Also in settings, and under the name that we say it by where the provider ignores the client's."""
    budget = {"name": "b", "limit_usd": "0.14", "window": "total", "ceiling": "strict"}
    prices = [{"provider": "acme", "model": "m", "input": "1", "output": "40"}]
    models = {"m": {"upstream": "up", "context_tokens": 200_000, "max_output_tokens": 4000}}
    house = build(budgets=[budget], prices=prices, models=models)
    fields = {"max_new_tokens": 4000, "parameters": {"max_length": 4000, "top_k": 5}, "n": 1}
    text = [{"role": "user", "content": "x" * padding}]

    told = await house.ask(chat=False, model="m", messages=text, max_completion_tokens=4000, **fields)

    assert told.status == 200, told.body
    cap = int(told.headers["x-taximeter-clamped-max-tokens"])
    assert cap < 4000
    sent = house.sent[0][1]
    assert {sent[name] for name in ("max_completion_tokens", "max_tokens", "max_new_tokens")} == {cap}
    assert (sent["n"], sent["parameters"]) == (1, {"max_length": cap, "top_k": 5})


def test_no_field_of_a_large_body_is_written_twice() -> None:
    body = {"text": "x" * 70_000, "max_new_tokens": 9, "options": {"num_predict": 9}, "max_tokens": 9}
    written = json_body(body, 70_100).written({"max_tokens": 5, "max_new_tokens": 5, "options": {"num_predict": 5}})
    assert [written.count(name) for name in (b"max_tokens", b"max_new_tokens", b"options")] == [1, 1, 1]
    assert orjson.loads(written) == {
        "text": body["text"],
        "max_new_tokens": 5,
        "options": {"num_predict": 5},
        "max_tokens": 5,
    }


@pytest.mark.parametrize(
    ("unit", "fits"), [("reasoning", 150), ("output", 150), ("cache_read", 8000), ("audio_in", 8000)]
)
async def test_tokens_of_one_unit_are_reserved_by_what_they_may_turn_out_to_be(
    build: Build, unit: str, fits: int
) -> None:
    """Nobody knows before the answer how much of an output is reasoning: all of it may be."""
    house = build(
        budgets=[{"name": "b", "limit_tokens": fits, "units": [unit], "window": "total", "ceiling": "strict"}],
        server={"busy_wait_s": 0},
    )
    text = {"messages": [{"role": "user", "content": "x" * 6000}], "max_tokens": 100}
    second = []

    async def meanwhile() -> Answer:
        second.append((await house.ask(**text)).status)
        return whole()

    first = await house.ask(meanwhile, **text)
    third = await house.ask(**text)
    assert (first.status, second, third.status) == (200, [429], 200)


async def test_without_clamp_it_is_refused(build: Build) -> None:
    house = build(budgets=[{"name": "b", "limit_usd": "0.003", "window": "total", "clamp": False}])
    assert (await house.ask(max_tokens=4000)).code == "budget_exceeded"


async def test_a_call_waits_for_those_in_flight(build: Build) -> None:
    """It would fit with nothing in flight: it is served as soon as the first one settles for less than its ceiling."""
    house = build(budgets=[{"name": "b", "limit_usd": "0.0006", "window": "total"}])
    gate = asyncio.Event()

    async def slow() -> Answer:
        await gate.wait()
        return whole()

    first = asyncio.create_task(house.ask(slow))
    while not house.sent:
        await asyncio.sleep(0)
    second = asyncio.create_task(house.ask())
    while not house.plane.store._waiting._queues:  # type: ignore[attr-defined]  # it waits in this process
        await asyncio.sleep(0.001)
    assert len(house.sent) == 1
    assert "waiting" in house.kinds()
    await asyncio.sleep(0.2)  # a wait that can be seen in a duration
    gate.set()
    assert [(await first).status, (await second).status] == [200, 200]
    assert house.reserved() == 0
    waited = house.records()[-1]
    assert waited["duration_ms"] > 200
    assert waited["duration_ms"] - waited["overhead_ms"] > 190  # to wait for room is no work of ours


async def test_a_call_that_waited_in_vain_is_told_that_it_is_busy(build: Build) -> None:
    house = build(budgets=[{"name": "b", "limit_usd": "0.0006", "window": "total"}], server={"busy_wait_s": 0.05})
    gate = asyncio.Event()

    async def slow() -> Answer:
        await gate.wait()
        return whole()

    first = asyncio.create_task(house.ask(slow))
    while not house.sent:
        await asyncio.sleep(0)
    busy = await house.ask()
    assert (busy.status, busy.code, busy.headers["retry-after"]) == (429, "budget_busy", "1")
    gate.set()
    await first


@pytest.mark.parametrize(
    ("failure", "status", "code", "kinds"),
    [
        (UpstreamError("connect", "refused", sent=False), 502, "upstream_unreachable", ["intent", "void"]),
        (UpstreamError("connect_timeout", "slow", sent=False), 504, "upstream_timeout", ["intent", "void"]),
        (UpstreamError("first_byte_timeout", "slow", sent=True), 504, "upstream_timeout", ["intent", "settle"]),
        (UpstreamError("reset", "gone", sent=True), 502, "upstream_unreachable", ["intent", "settle"]),
    ],
)
async def test_what_was_surely_not_sent_costs_nothing_and_the_rest_its_ceiling(
    build: Build, failure: UpstreamError, status: int, code: str, kinds: list[str]
) -> None:
    house = build(**HARD)
    told = await house.ask(failure)
    assert (told.status, told.code, house.kinds(), house.reserved()) == (status, code, kinds, 0)
    if kinds[-1] == "settle":
        intent, settle = house.records()
        assert (settle["status"], settle["cost_nanousd"]) == ("unconfirmed", intent["reserved_nanousd"])


async def test_an_upstreams_refusal_passes_and_costs_nothing(build: Build) -> None:
    house = build(**HARD)
    told = await house.ask(Answer(b'{"error":{"message":"no"}}', status=429))
    assert (told.status, told.body) == (429, b'{"error":{"message":"no"}}')
    settle = house.records()[-1]
    assert (settle["cost_nanousd"], settle["outcome"], settle["http_status"]) == (0, "upstream_error", 429)


async def test_an_unpriced_model_is_refused_by_default(build: Build) -> None:
    told = await build().ask(model="dark")
    assert (told.status, told.code, told.headers["x-should-retry"]) == (402, "model_not_priced", "false")


async def test_an_unpriced_model_may_be_allowed_with_an_unknown_cost(build: Build) -> None:
    house = build(on_unpriced="allow")
    told = await house.ask(whole(model="dark"), model="dark")
    assert told.status == 200
    assert "x-taximeter-cost-usd" not in told.headers
    assert house.records()[-1]["cost_nanousd"] is None


async def test_a_blocking_budget_refuses_what_has_no_price_all_the_same(build: Build) -> None:
    house = build(on_unpriced="allow", **HARD)
    assert (await house.ask(model="dark")).code == "model_not_priced"


async def test_an_assumed_price_is_charged_and_flagged(build: Build) -> None:
    house = build(
        on_unpriced={"input": "15", "output": "75"}, budgets=[{"name": "b", "limit_usd": 1, "window": "total"}]
    )
    told = await house.ask(whole(model="dark"), model="dark")
    assert told.headers["x-taximeter-cost-usd"] == "0.00105"
    assert "assumed_price" in house.records()[-1]["flags"]


async def test_a_call_without_a_bound_says_what_to_set(build: Build) -> None:
    """Media of unknown size for a model of unknown context, under a budget that blocks."""
    house = build(on_unpriced={"input": "1", "output": "1"}, **HARD)
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]
    told = await house.ask(model="dark", messages=image)
    assert (told.status, told.code) == (400, "unbounded_cost")
    assert b"context_tokens" in told.body


async def test_a_cap_is_sent_along_where_nobody_has_one(build: Build) -> None:
    house = build(on_unpriced="allow")
    await house.ask(whole(model="dark"), model="dark", max_tokens=None)
    assert house.sent[0][1]["max_tokens"] == 16_384


async def test_what_cannot_be_recorded_is_not_sent(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = build(**HARD)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        told = await house.ask()
    assert (told.status, told.code, house.sent, house.reserved()) == (503, "ledger_unavailable", [], 0)
    assert (await house.ask()).status == 200


async def test_a_cancelled_call_is_charged_its_ceiling_and_holds_nothing(build: Build) -> None:
    """Cancelled while the upstream works (a shutdown that could not wait): it may have been billed."""
    house = build(**HARD)

    async def never() -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    call = asyncio.create_task(house.ask(never))
    while not house.sent:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (house.records()[-1]["status"], house.reserved()) == ("unconfirmed", 0)


STREAM = [
    b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n',
    b'data: {"model":"m","choices":[],"usage":{"prompt_tokens":20,"completion_tokens":10,"total_tokens":30}}\n\n',
    b"data: [DONE]\n\n",
]


async def test_a_stream_passes_without_the_usage_that_only_we_asked_for(build: Build) -> None:
    house = build(**HARD)
    told = await house.ask(Answer(*STREAM, kind=b"text/event-stream"), stream=True)
    assert told.body == STREAM[0] + STREAM[2]
    assert house.sent[0][1]["stream_options"] == {"include_usage": True}
    assert house.records()[-1]["cost_nanousd"] == 40_000


async def test_a_stream_that_breaks_off_ends_properly_and_is_charged_its_ceiling(build: Build) -> None:
    house = build(**HARD)
    failure = UpstreamError("reset", "gone", sent=True)
    told = await house.ask(Answer(STREAM[0], failure, kind=b"text/event-stream"), stream=True)
    end = told.body.removeprefix(STREAM[0])
    assert orjson.loads(end.removeprefix(b"data: "))["error"]["code"] == "upstream_unreachable"
    assert (house.records()[-1]["status"], house.reserved()) == ("unconfirmed", 0)


async def test_a_stream_without_usage_is_counted_and_flagged(build: Build) -> None:
    house = build(**HARD)
    told = await house.ask(Answer(STREAM[0], STREAM[2], kind=b"text/event-stream"), stream=True)
    assert told.body == STREAM[0] + STREAM[2]
    settle = house.records()[-1]
    assert (settle["status"], settle["usage_source"]) == ("settled", "estimated")
    assert "estimated" in settle["flags"]
    assert settle["cost_nanousd"] > 0


async def test_untrusted_labels_are_kept_and_match_no_budget(build: Build) -> None:
    house = build(
        budgets=[
            {"name": "b", "match": {"label.plan": "free"}, "limit_usd": "0.0000001", "window": "total", "clamp": False}
        ]
    )
    told = await house.ask(
        headers={"x-taximeter-labels": "plan=free", "x-taximeter-user": "eve", "x-taximeter-session-id": "s1"}
    )
    assert (told.status, told.headers["x-taximeter-session-id"]) == (200, "s1")
    intent = house.records()[0]
    assert (intent["labels"], intent["user"], intent["budgets"]) == ({}, None, [])
    assert intent["untrusted_labels"] == {"plan": "free", "user": "eve"}


async def test_trusted_labels_count_but_never_against_the_key(build: Build) -> None:
    key = {"name": "k", "key": KEY, "team": "t", "user": "fixed", "labels": {"plan": "pro"}, "trust_labels": True}
    house = build(
        keys=[key], budgets=[{"name": "b", "match": {"label.tier": "gold"}, "limit_usd": 1, "window": "total"}]
    )
    await house.ask(
        headers={"x-taximeter-labels": "plan=free,tier=gold", "x-taximeter-user": "eve", "x-taximeter-customer": "acme"}
    )
    intent = house.records()[0]
    assert (intent["labels"], intent["user"], intent["customer"]) == ({"plan": "pro", "tier": "gold"}, "fixed", "acme")
    assert [row[0] for row in intent["budgets"]] == ["b"]


async def test_of_two_caps_the_larger_is_what_a_call_may_cost(build: Build) -> None:
    house = build()
    reserved = []
    for caps in ({"max_tokens": 100, "max_completion_tokens": 200}, {"max_tokens": 200, "max_completion_tokens": 100}):
        await house.ask(**caps)
        reserved.append([record for record in house.records() if record["t"] == "intent"][-1]["reserved_nanousd"])
    assert reserved[0] == reserved[1]
