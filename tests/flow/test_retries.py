"""Retries and fallbacks: each try an attempt of its own, paid at its own price, and none once the client has got a byte."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.exchange import retry
from proxy.exchange.retry import Failure, Turn, pause_s
from proxy.types import Route
from proxy.upstream.response import UpstreamError
from tests.flow.house import Answer, Build, House, Told, whole

MODELS = {
    "m": {
        "upstream": "up",
        "context_tokens": 8000,
        "max_output_tokens": 4000,
        "retries": 1,
        "fallbacks": ["dear", "free"],
    },
    "dear": {"upstream": "up", "context_tokens": 8000, "max_output_tokens": 4000},
    "free": {"upstream": "up", "context_tokens": 8000, "max_output_tokens": 4000},
}
PRICES = [
    {"provider": "acme", "model": "m", "input": "1", "output": "2"},
    {"provider": "acme", "model": "dear", "input": "10", "output": "20"},
    {"provider": "acme", "model": "free", "input": "0", "output": "0"},
]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_PAUSE_S", 0.001)


def failing(status: int, **headers: str) -> Answer:
    pairs = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Answer(b'{"error":{"message":"no","type":"server_error"}}', status=status, headers=pairs)


def unreachable(*, sent: bool) -> UpstreamError:
    return UpstreamError("broken" if sent else "refused", "gone", sent=sent)


async def turns(house: House, *answers: Any, **fields: Any) -> Told:
    house.answers += answers[:-1]
    return await house.ask(answers[-1], **fields)


def ends(house: House) -> list[tuple[str, str, str | None, int | None]]:
    """(kind, model asked of the upstream, outcome, cost) of each attempt, in order."""
    intents = {record["id"]: record for record in house.records() if record["t"] == "intent"}
    return [
        (record["t"], intents[record["id"]]["model"], record.get("outcome"), record.get("cost_nanousd"))
        for record in house.records()
        if record["t"] not in ("intent", "reserved")
    ]


@pytest.mark.parametrize("status", sorted(retry.RETRIED))
async def test_an_error_that_may_pass_is_tried_again(build: Build, status: int) -> None:
    house = build(models=MODELS, prices=PRICES)
    told = await turns(house, failing(status), whole())
    assert (told.status, told.headers["x-taximeter-attempts"]) == (200, "2")
    assert ends(house) == [("settle", "m", "upstream_error", 0), ("settle", "m", "ok", 40_000)]
    first, second = [record for record in house.records() if record["t"] == "intent"]
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["request_id"] == second["request_id"] == told.headers["x-taximeter-request-id"]
    assert first["id"] != second["id"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_an_error_that_stays_is_told_at_once(build: Build, status: int) -> None:
    house = build(models=MODELS, prices=PRICES)
    told = await turns(house, failing(status))
    assert (told.status, len(house.sent)) == (status, 1)


async def test_a_fallback_is_asked_by_its_name_and_charged_at_its_price(build: Build) -> None:
    house = build(models=MODELS, prices=PRICES)
    told = await turns(house, unreachable(sent=False), failing(503), whole(model="dear"))
    assert told.status == 200
    assert [body["model"] for _, body in house.sent] == ["m", "m", "dear"]
    assert ends(house) == [
        ("void", "m", "upstream_unreachable", None),
        ("settle", "m", "upstream_error", 0),
        ("settle", "dear", "ok", 400_000),
    ]
    asked = {record["model_requested"] for record in house.records() if record["t"] == "intent"}
    assert asked == {"m"}


async def test_an_attempt_that_may_have_been_billed_is_charged_and_the_next_reserves_anew(build: Build) -> None:
    house = build(models=MODELS, prices=PRICES, budgets=[{"name": "b", "limit_usd": "1", "window": "total"}])
    told = await turns(house, unreachable(sent=True), whole())
    assert told.status == 200
    (_, _, outcome, ceiling), (_, _, _, cost) = ends(house)
    assert outcome == "upstream_unreachable"
    assert ceiling is not None
    assert ceiling > 200_000
    assert cost == 40_000
    (standing,) = house.plane.store.standings()
    assert (standing.spent, standing.reserved) == (ceiling + cost, 0)


async def test_a_fallback_that_the_budget_does_not_afford_is_passed_over(build: Build) -> None:
    budgets = [{"name": "b", "limit_usd": "0.002", "window": "total", "clamp": False}]
    house = build(models=MODELS, prices=PRICES, budgets=budgets)
    told = await turns(house, failing(500), failing(500), whole(model="free"))
    assert told.status == 200
    assert [body["model"] for _, body in house.sent] == ["m", "m", "free"]


async def test_where_nothing_helps_the_client_is_told_what_the_last_upstream_said(build: Build) -> None:
    house = build(models=MODELS, prices=PRICES)
    told = await turns(house, *[failing(500)] * 3, failing(529, retry_after="7"))
    assert (told.status, told.headers["retry-after"], told.headers["x-taximeter-attempts"]) == (529, "7", "4")
    assert orjson.loads(told.body)["error"]["message"] == "no"
    assert len(house.sent) == 4
    assert house.reserved() == 0


async def test_where_no_upstream_can_be_reached_that_is_what_is_told(build: Build) -> None:
    house = build(models=MODELS, prices=PRICES)
    told = await turns(house, *[unreachable(sent=False)] * 4)
    assert (told.status, told.code) == (502, "upstream_unreachable")


async def test_no_try_follows_the_first_byte(build: Build) -> None:
    house = build(models=MODELS, prices=PRICES)
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    told = await turns(house, Answer(chunk, unreachable(sent=True), kind=b"text/event-stream"), stream=True)
    assert told.status == 200
    assert b"upstream_unreachable" in told.body
    assert len(house.sent) == 1


async def test_a_stream_that_breaks_before_its_first_byte_is_tried_again(build: Build) -> None:
    house = build(models=MODELS, prices=PRICES)
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":10,"total_tokens":30}}\n\ndata: [DONE]\n\n'
    broken = Answer(unreachable(sent=True), kind=b"text/event-stream")
    told = await turns(house, broken, Answer(usage, kind=b"text/event-stream"), stream=True)
    assert told.body.endswith(b"data: [DONE]\n\n")
    assert [end[2] for end in ends(house)] == ["upstream_error", "ok"]


async def test_a_cap_that_one_try_needed_is_not_the_nexts(build: Build) -> None:
    """The dear model's answer was made smaller to fit; the free one's need not be."""
    models = MODELS | {"m": MODELS["m"] | {"retries": 0}}
    house = build(models=models, prices=PRICES, budgets=[{"name": "b", "limit_usd": "0.03", "window": "total"}])
    told = await turns(house, failing(500), failing(500), whole(model="free"), max_tokens=4000)
    assert told.status == 200
    assert [body["model"] for _, body in house.sent] == ["m", "dear", "free"]
    assert house.sent[1][1]["max_tokens"] < 4000
    assert house.sent[2][1]["max_tokens"] == 4000
    assert "x-taximeter-clamped-max-tokens" not in told.headers


async def test_a_request_budget_counts_the_clients_call_once(build: Build) -> None:
    budgets = [{"name": "b", "limit_requests": 10, "window": "day"}]
    house = build(models=MODELS, prices=PRICES, budgets=budgets)
    await turns(house, unreachable(sent=False), unreachable(sent=True), whole(model="dear"))
    (standing,) = house.plane.store.standings()
    assert (standing.spent, standing.reserved) == (1, 0)


async def test_a_stored_conversation_does_not_fall_back(build: Build) -> None:
    """What it refers to lies at one upstream only."""
    house = build(models=MODELS, prices=PRICES)
    route = house.plane.configured.router.named("m")
    followed = retry.schedule(route, house.plane.configured.router.named, follow=False)
    assert [(turn.route.model, turn.earlier) for turn in followed] == [("m", 0), ("m", 1)]


def test_pauses_grow_and_an_upstreams_own_wish_wins() -> None:
    route = Route("m", "up", "acme", "m")
    plain = Failure(status=500)
    assert pause_s(plain, Turn(route, 0), 0.5) == 0
    assert [pause_s(plain, Turn(route, n), 0.0) for n in (1, 2, 3)] == [0.001, 0.002, 0.004]
    assert pause_s(plain, Turn(route, 60), 1.0) == 2.5
    assert pause_s(Failure(headers=((b"retry-after", b"3"),)), Turn(route, 1), 0.5) == 3
    assert pause_s(Failure(headers=((b"retry-after", b"3600"),)), Turn(route, 1), 0.5) is None
    assert pause_s(Failure(headers=((b"retry-after", b"soon"),)), Turn(route, 1), 0.0) == 0.001
