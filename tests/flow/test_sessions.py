"""Sessions through a whole call: found, placed in their trees, counted in budgets, told to the client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from proxy.access.stored_owners import digest
from proxy.exchange import references as notes
from proxy.types import Identity
from tests.flow.house import Answer, Build, House, Odd, Told, whole
from tests.support.native import IS_NATIVE

USER = {"role": "user", "content": "hello"}
SESSION_BUDGET = {"budgets": [{"name": "s", "per": ["session"], "limit_usd": "0.01", "window": "total"}]}


def said(text: str) -> Answer:
    return whole(choices=[{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}])


def streamed(*pieces: str) -> Answer:
    events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    events.append({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}})
    data = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    return Answer(data, kind=b"text/event-stream")


def intents(house: House) -> list[dict[str, Any]]:
    return [record for record in house.records() if record["t"] == "intent"]


def groups(house: House) -> dict[str, int]:
    return {one.group: one.spent for one in house.plane.store.standings() if one.spent}


async def talk(house: House, first: Answer, told: str) -> tuple[Told, Told]:
    """Two calls of one conversation, by a client that names no session."""
    one = await house.ask(first, messages=[USER], stream=first.is_stream or first.headers[0][1] == b"text/event-stream")
    two = await house.ask(messages=[USER, {"role": "assistant", "content": told}, {"role": "user", "content": "go on"}])
    return one, two


@pytest.mark.parametrize("first", [said("hi there"), streamed("hi ", "there")], ids=["whole", "stream"])
async def test_a_conversation_without_a_name_is_one_session(build: Build, first: Answer) -> None:
    house = build(**SESSION_BUDGET)
    one, two = await talk(house, first, "hi there")
    assert one.headers["x-taximeter-session-id"] == two.headers["x-taximeter-session-id"]
    assert [intent["session_source"] for intent in intents(house)] == ["none", "prefix"]
    assert two.headers["x-taximeter-session-cost-usd"] == "0.00008"


@pytest.mark.skipif(IS_NATIVE, reason="machine code: native callers do not see what is put in the place of a method")
@pytest.mark.parametrize("told", [True, False], ids=["its request was written", "it is only known in the end"])
async def test_neither_request_nor_answer_waits_until_a_new_conversation_is_known(
    build: Build, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    house, order = build(**SESSION_BUDGET), list[str]()
    chains, send = house.plane.chains, house._send
    for name in ("conversation", "answered"):
        real = getattr(chains, name)
        monkeypatch.setattr(chains, name, lambda *given, name=name, real=real: (order.append(name), real(*given))[1])

    async def sending(*given: Any, **named: Any) -> Any:
        order.append("request")
        if told:
            given[3](SimpleNamespace(hang_up=None))
        return await send(*given, **named)

    house.upstreams.sending = sending
    house.watch = lambda message: order.append(message["type"].removeprefix("http.response."))
    await talk(house, said("hi"), "hi")
    first = ["conversation", "start", "body", "answered"] if told else ["start", "body", "answered", "conversation"]
    # Of the second call its session hangs on it.
    assert order == ["request", *first, "conversation", "request", "start", "body", "answered"]


class _EndsLate(Answer):
    """A stream whose end comes a while behind its last event."""

    def __init__(self, of: Answer) -> None:
        super().__init__(*of.pieces, kind=b"text/event-stream")
        self.may_end = asyncio.Event()

    async def read(self) -> bytes:
        if not self.pieces:
            await self.may_end.wait()
        return await super().read()


async def test_who_has_the_last_event_of_a_stream_is_of_its_session(build: Build) -> None:
    """OpenAI's SDK goes on at `[DONE]`, whenever the stream may be over."""
    house, first, done = build(**SESSION_BUDGET), _EndsLate(streamed("hi")), asyncio.Event()
    house.watch = lambda message: done.set() if b"[DONE]" in message.get("body", b"") else None
    one = asyncio.create_task(house.ask(first, messages=[USER], stream=True))
    await done.wait()
    two = await house.ask(messages=[USER, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "go on"}])
    first.may_end.set()
    assert (await one).headers["x-taximeter-session-id"] == two.headers["x-taximeter-session-id"]


async def test_who_has_the_last_event_of_a_stream_may_go_on_from_what_it_stored(build: Build) -> None:
    """Whoever named a response whose connection was not over yet got a 404."""
    response = {"id": "resp_1", "object": "response", "output": [], "usage": {"input_tokens": 20, "output_tokens": 10}}
    events = [{"type": f"response.{name}", "response": response} for name in ("created", "completed")]
    data = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    house, done = build(**SESSION_BUDGET), asyncio.Event()
    first = _EndsLate(Answer(data, kind=b"text/event-stream"))
    house.watch = lambda message: done.set() if b"response.completed" in message.get("body", b"") else None
    asked = {"path": "/v1/responses", "chat": False, "model": "m", "max_output_tokens": 50}
    one = asyncio.create_task(house.ask(first, input="hello", stream=True, **asked))
    await done.wait()
    whole = Answer(orjson.dumps(response | {"id": "resp_2"}))
    two = await house.ask(whole, input="on", previous_response_id="resp_1", **asked)
    first.may_end.set()
    assert two.status == 200
    assert (await one).headers["x-taximeter-session-id"] == two.headers["x-taximeter-session-id"]


class _Shared(Odd):
    """In Redis, as far as it tells others what happens, and when."""

    epoch, up = "e", True

    def __init__(self, order: list[str]) -> None:
        super().__init__()
        self.order = order

    def note_session(self, names: Sequence[str], session_id: str) -> None:
        self.order.append("told")

    def send_notes(self) -> None:
        self.order.append("sent")

    async def settle(self, reservation_id: str, amounts: Sequence[int]) -> object:
        self.order.append("settled")
        return await self.store.settle(reservation_id, amounts)


WHOLE_OR_STREAM = pytest.mark.parametrize("first", [said("hi"), streamed("hi")], ids=["whole", "stream"])


@WHOLE_OR_STREAM
async def test_another_worker_knows_a_conversation_before_its_client_has_the_answer(
    build: Build, first: Answer
) -> None:
    """It is told on the way on which the call is settled, so that who is answered may ask any of them next."""
    house, order = build(**SESSION_BUDGET), list[str]()
    house.plane.store, house.plane.shares_conversations = cast(Any, _Shared(order)), True
    house.watch = lambda message: None if message.get("more_body", True) else order.append("answered")
    await talk(house, first, "hi")
    assert [one for one in order if one != "sent"] == ["told", "settled", "answered"] * 2
    assert [one for one in order if one != "settled"] == ["told", "sent", "answered"] * 2


@WHOLE_OR_STREAM
async def test_a_worker_that_is_alone_tells_nobody_of_conversations(build: Build, first: Answer) -> None:
    """Other instances have another secret, and could not know them by their names."""
    house, order = build(**SESSION_BUDGET), list[str]()
    house.plane.store = cast(Any, _Shared(order))
    await talk(house, first, "hi")
    assert order == ["settled"] * 2


async def test_a_guess_is_shown_but_counts_on_its_own(build: Build) -> None:
    house = build(**SESSION_BUDGET)
    one, two = await talk(house, said("hi"), "hi")
    assert groups(house) == {told.headers["x-taximeter-request-id"]: 40_000 for told in (one, two)}


async def test_a_guess_counts_where_it_is_enforced(build: Build) -> None:
    house = build(**SESSION_BUDGET, session_guess="enforce")
    one, _ = await talk(house, said("hi"), "hi")
    assert groups(house) == {one.headers["x-taximeter-session-id"]: 80_000}


async def test_a_tree_counts_in_its_root(build: Build) -> None:
    house = build(**SESSION_BUDGET)
    await house.ask(headers={"x-taximeter-session-id": "root"})
    await house.ask(
        headers={"x-taximeter-session-id": "child", "x-taximeter-parent-session-id": "root", "x-taximeter-agent": "a1"}
    )
    told = await house.ask(headers={"x-taximeter-session-id": "grandchild", "x-taximeter-parent-session-id": "child"})
    assert groups(house) == {"root": 120_000}
    assert told.headers["x-taximeter-session-id"] == "grandchild"
    assert told.headers["x-taximeter-session-cost-usd"] == "0.00012"
    names = ("session_id", "parent_session_id", "root_session_id", "agent")
    rows = [tuple(map(one.get, names)) for one in intents(house)]
    assert rows == [
        ("root", None, "root", None),
        ("child", "root", "root", "a1"),
        ("grandchild", "child", "root", None),
    ]


async def test_a_session_that_nests_for_ever_stays_in_its_budget(build: Build) -> None:
    house = build(budgets=[{"name": "s", "per": ["session"], "limit_usd": "0.001", "window": "total", "clamp": False}])
    statuses = set()
    for number in range(40):
        headers = {"x-taximeter-session-id": f"s{number}"} | (
            {"x-taximeter-parent-session-id": f"s{number - 1}"} if number else {}
        )
        statuses.add((await house.ask(headers=headers)).status)
    assert statuses == {200, 402}
    assert groups(house).keys() == {"s0"}


async def test_two_teams_with_one_session_id_do_not_meet(build: Build) -> None:
    keys = [{"name": n, "key": f"sk-test-{n}-0123456789", "team": n} for n in ("red", "blue")]
    house = build(**SESSION_BUDGET, keys=keys)
    for key in keys:
        await house.ask(key=key["key"], headers={"x-taximeter-session-id": "same"})
    assert groups(house) == {"same": 40_000, "same@blue": 40_000}


async def test_a_response_that_continues_another_is_of_its_session(build: Build) -> None:
    house = build(**SESSION_BUDGET)

    def response(number: int) -> Answer:
        usage = {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}
        body = {
            "id": f"resp_{number}",
            "object": "response",
            "model": "m",
            "status": "completed",
            "output": [],
            "usage": usage,
        }
        return Answer(orjson.dumps(body))

    asked = {"path": "/v1/responses", "chat": False, "model": "m", "max_output_tokens": 50}
    one = await house.ask(response(1), input="hello", **asked)
    two = await house.ask(response(2), input="on", previous_response_id="resp_1", **asked)
    assert (one.status, two.status) == (200, 200)
    assert one.headers["x-taximeter-session-id"] == two.headers["x-taximeter-session-id"]
    assert [intent["session_source"] for intent in intents(house)] == ["none", "previous_response_id"]
    assert groups(house) == {one.headers["x-taximeter-session-id"]: 80_000}


async def test_what_another_worker_stored_is_asked_for(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not be in the ledger yet: it is asked for again, and then unknown."""
    monkeypatch.setattr(notes, "_ASK_AGAIN_S", (0, 0, 0))
    house, asked = build(**SESSION_BUDGET), []
    theirs = {
        "digest": digest(Identity("k", "k", team="t"), "resp_1"),
        "upstream": "up",
        "model": "m",
        "session_id": "s",
    }

    async def recall(digests: Sequence[str]) -> list[dict[str, str]] | None:
        asked.append(list(digests))
        return [theirs] if len(asked) == 2 else None

    house.plane.recall_stored = recall
    fields = {"path": "/v1/responses", "chat": False, "model": "m", "input": "on", "max_output_tokens": 50}
    answer = Answer(
        orjson.dumps(
            {
                "id": "resp_2",
                "object": "response",
                "output": [{"id": "msg_2"}],
                "usage": {"input_tokens": 1, "output_tokens": 1},
            }
        )
    )
    told = await house.ask(answer, previous_response_id="resp_1", **fields)
    assert (told.status, told.headers["x-taximeter-session-id"]) == (200, "s")
    assert asked == [[theirs["digest"]]] * 2
    assert (await house.ask(previous_response_id="resp_9", **fields)).status == 404
    assert len(asked) == 5
    kept = [record.get("stored", []) for record in house.records() if record["t"] == "settle"]
    assert kept == [[digest(Identity("k", "k", team="t"), one) for one in ("resp_2", "msg_2")]]


async def test_what_the_provider_does_not_keep_is_not_kept_here(build: Build) -> None:
    house = build()
    body = orjson.dumps(
        {"id": "resp_1", "object": "response", "output": [], "usage": {"input_tokens": 1, "output_tokens": 1}}
    )
    await house.ask(
        Answer(body), path="/v1/responses", chat=False, model="m", input="hi", max_output_tokens=9, store=False
    )
    assert "stored" not in house.records()[-1]


async def test_a_conversation_that_was_counted_is_bounded_by_its_count(build: Build) -> None:
    """70 KB of history: by its bytes it would not fit a second time, by what the provider counted it does."""
    text = "The quick brown fox jumps over the lazy dog. " * 1600
    budgets = [{"name": "b", "limit_usd": "0.08", "window": "total", "ceiling": "strict"}]
    house = build(budgets=budgets, models={"m": {"upstream": "up", "context_tokens": 200_000}})
    session = {"x-taximeter-session-id": "s"}
    history = [{"role": "user", "content": text}]
    usage = {"prompt_tokens": 16_000, "completion_tokens": 10, "total_tokens": 16_010}
    assert (await house.ask(whole(usage=usage), messages=history, headers=session)).status == 200
    history += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Again."}]
    told = await house.ask(whole(usage=usage), messages=history, headers=session)
    assert told.status == 200
    reserved = next(record for record in house.records() if record["t"] == "reserved")
    assert 16_000_000 < reserved["reserved_nanousd"] < 17_000_000


@pytest.mark.parametrize(("limit_usd", "counted"), [("0.08", 1), ("80", 0)])
async def test_a_conversation_is_counted_once_its_money_could_run_short(
    limit_usd: str, counted: int, build: Build
) -> None:
    house = build(
        budgets=[{"name": "b", "limit_usd": limit_usd, "window": "total"}],
        models={"m": {"upstream": "up", "context_tokens": 200_000}},
    )
    history = [{"role": "user", "content": "The quick brown fox. " * 1000}]
    usage = {"prompt_tokens": 5_000, "completion_tokens": 10, "total_tokens": 5_010}
    told = await house.ask(whole(usage=usage), messages=history, headers={"x-taximeter-session-id": "s"})
    assert (told.status, len(house.plane.prefixes)) == (200, counted)


# After a restart: what the ledger has of a session


def ledger(house: House, *rows: dict[str, Any]) -> list[list[str]]:
    """Let the house find these rows in the ledger; the names that it asks for."""
    asked: list[list[str]] = []

    async def recall(names: Any) -> list[dict[str, Any]]:
        asked.append(list(names))
        return [row for row in rows if row["name"] in names]

    house.plane.recall = recall
    return asked


def known(name: str, root: str | None = None, parent: str | None = None, **fields: Any) -> dict[str, Any]:
    found = {
        "name": name,
        "team": "t",
        "key": "k",
        "root": root or name,
        "parent": parent,
        "depth": 1,
        "tree_nanousd": 0,
    }
    return found | fields


async def test_a_session_costs_on_where_it_stood(build: Build) -> None:
    house = build(**SESSION_BUDGET)
    asked = ledger(house, known("s", tree_nanousd=5_000_000))
    first = await house.ask(headers={"x-taximeter-session-id": "s"})
    again = await house.ask(headers={"x-taximeter-session-id": "s"})
    assert [told.headers["x-taximeter-session-cost-usd"] for told in (first, again)] == ["0.00504", "0.00508"]
    assert asked == [["s", "s@t"]], "asked once"


async def test_a_child_goes_back_to_its_tree(build: Build) -> None:
    """Its own parent is below the root already; only the ledger knows."""
    house = build(**SESSION_BUDGET)
    ledger(house, known("child", "root", "root", depth=2, tree_nanousd=1_000_000))
    told = await house.ask(headers={"x-taximeter-session-id": "leaf", "x-taximeter-parent-session-id": "child"})
    assert groups(house) == {"root": 40_000}
    assert told.headers["x-taximeter-session-cost-usd"] == "0.00104"
    again = await house.ask(headers={"x-taximeter-session-id": "child"})
    assert again.headers["x-taximeter-session-cost-usd"] == "0.00108"


async def test_another_teams_session_stays_its_own_after_a_restart(build: Build) -> None:
    """The other team comes first this time: it gets neither the name nor what was spent under it."""
    keys = [{"name": n, "key": f"sk-test-{n}-0123456789", "team": n} for n in ("red", "blue")]
    house = build(**SESSION_BUDGET, keys=keys)
    rows = [known("same", team="red", tree_nanousd=9_000_000), known("same@blue", team="blue", tree_nanousd=2_000_000)]
    ledger(house, *rows)
    blue = await house.ask(key=keys[1]["key"], headers={"x-taximeter-session-id": "same"})
    red = await house.ask(key=keys[0]["key"], headers={"x-taximeter-session-id": "same"})
    assert groups(house) == {"same": 40_000, "same@blue": 40_000}
    costs = [told.headers["x-taximeter-session-cost-usd"] for told in (blue, red)]
    assert costs == ["0.00204", "0.00904"]


async def test_a_ledger_that_does_not_answer_stops_nobody(build: Build) -> None:
    house = build(**SESSION_BUDGET)

    async def away(_: Any) -> None:
        return None

    house.plane.recall = away
    told = await house.ask(headers={"x-taximeter-session-id": "s"})
    assert (told.status, told.headers["x-taximeter-session-cost-usd"]) == (200, "0.00004")


async def test_nothing_is_asked_about_calls_without_a_name(build: Build) -> None:
    house = build(**SESSION_BUDGET)
    asked = ledger(house)
    await talk(house, said("hi"), "hi")
    await house.ask(headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
    assert asked == []
