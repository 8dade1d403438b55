"""Servers of one's own (vLLM, llama.cpp, Ollama): what they speak, and what a call costs that its client leaves."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from proxy.exchange import unseen
from proxy.upstream.response import UpstreamError
from tests.flow.house import HARD, Answer, Build, House, Line, whole
from tests.flow.test_hangups import settled, talk

SERVERS = ("vllm", "llama.cpp", "llamacpp", "ollama")


def at(provider: str, **changes: Any) -> dict[str, Any]:
    """A configuration with one server at its usual address."""
    return {
        "upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-own", "provider": provider}},
        "prices": [{"provider": provider, "model": "m", "input": "1", "output": "2"}],
    } | changes


def head(house: House, number: int = -1) -> bytes:
    return house.sent[number][0]


@pytest.mark.parametrize("provider", SERVERS)
async def test_messages_are_spoken_without_saying_so_below_the_servers_root(build: Build, provider: str) -> None:
    house = build(**at(provider))
    answer = {"type": "message", "model": "m", "content": [], "usage": {"input_tokens": 9, "output_tokens": 3}}
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    told = await house.ask(Answer(orjson.dumps(answer)), path="/v1/messages", chat=False, **asked)
    assert told.status == 200
    assert head(house).startswith(b"POST /v1/messages HTTP/1.1\r\n")
    assert b"authorization: Bearer sk-own\r\n" in head(house)
    assert settled(house)["usage"] == {"input": 9, "output": 3}


def leaves(house: House, line: Line, broken: asyncio.Event) -> None:
    """The next call's client hangs up while the server works; the server ends the connection only when it is told."""

    async def answering(pool: str, head: bytes, body: bytes, sent: Any = None, **_: Any) -> Any:
        assert sent is not None, "nobody would tell the server"
        sent(type("Begun", (), {"hang_up": staticmethod(broken.set)}))
        line.hang_up()
        await broken.wait()
        raise UpstreamError("reset", "broken off", sent=True)

    house.upstreams.sending = answering


async def test_a_whole_answer_that_nobody_waits_for_is_stopped_and_charged_by_the_servers_pace(build: Build) -> None:
    house, line, broken = build(**at("ollama")), Line(), asyncio.Event()
    await house.ask(whole())
    house.plane.paces["up", "m"] = 1e-6  # so slow that it has written one token
    leaves(house, line, broken)
    async with asyncio.timeout(5):
        await house.ask(line=line)
    assert broken.is_set()
    end = house.records()[-1]
    assert (end["status"], end["outcome"], end["usage_source"]) == ("settled", "client_disconnected", "estimated")
    assert end["usage"]["output"] == 1
    assert 0 < end["usage"]["input"] < 20


async def test_a_pace_makes_no_answer_longer_than_its_cap(build: Build) -> None:
    house, line = build(**at("ollama")), Line()
    house.plane.paces["up", "m"] = 1e12
    leaves(house, line, asyncio.Event())
    await house.ask(line=line)
    assert settled(house)["usage"]["output"] == 100


async def test_where_no_pace_is_known_none_is_faster(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen, "_FASTEST", 1e-6)
    house, line = build(**at("ollama")), Line()
    leaves(house, line, asyncio.Event())
    await house.ask(line=line)
    assert (settled(house)["status"], settled(house)["usage"]["output"]) == ("settled", 1)


async def test_a_hosted_provider_is_not_told_that_the_client_of_a_whole_answer_left(build: Build) -> None:
    house, line = build(), Line()

    async def answering(pool: str, head: bytes, body: bytes, sent: Any = None, **_: Any) -> Any:
        told = list[str]()
        sent(SimpleNamespace(hang_up=partial(told.append, "left")))
        line.hang_up()
        assert told == []
        return whole()

    house.upstreams.sending = answering
    await house.ask(line=line)
    assert settled(house)["usage"] == {"input": 20, "output": 10}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
async def test_a_stream_left_in_prefill_costs_its_prompt(build: Build, path: str) -> None:
    """vLLM sends the head before it reads the prompt: its client has seen a 200, and nothing else."""
    house, line = build(**at("ollama")), Line()
    body: dict[str, Any] = {"model": "m", "stream": True}
    if path.endswith("responses"):
        body |= {"input": "one two three four", "max_output_tokens": 400}
    else:
        body |= {"messages": [{"role": "user", "content": "one two three four"}], "max_tokens": 400}
    answer = talk(line, waits=True, leaves_after=0)

    async def answering(pool: str, head: bytes, body: bytes, sent: Any = None, **_: Any) -> Any:
        sent(answer)
        return answer

    house.upstreams.sending = answering
    async with asyncio.timeout(5):
        await house.ask(line=line, path=path, chat=False, **body)
    end = settled(house)
    assert (end["status"], end["outcome"]) == ("settled", "client_disconnected")
    assert list(end["usage"]) == ["input"]
    assert 4 <= end["usage"]["input"] <= 16


@pytest.mark.parametrize(
    "seen", [UpstreamError("reset", "gone", sent=True), Answer(UpstreamError("reset", "gone", sent=True))]
)
async def test_a_server_that_died_wrote_nothing_that_anybody_pays_for(build: Build, seen: Any) -> None:
    house = build(**at("vllm"))
    told = await house.ask(seen)
    assert told.status == 502
    end = settled(house)
    assert (end["status"], list(end["usage"])) == ("settled", ["input"])


async def test_a_hosted_provider_that_broke_off_may_have_billed_it_all(build: Build) -> None:
    house = build()
    await house.ask(UpstreamError("reset", "gone", sent=True))
    assert settled(house)["status"] == "unconfirmed"


UNKNOWN = {"m": {"upstream": "up"}}


def models(*rows: dict[str, Any]) -> Answer:
    return Answer(orjson.dumps({"object": "list", "data": list(rows)}))


VLLM_SAYS = {"id": "m", "max_model_len": 2048}
LLAMA_SAYS = {"id": "whatever", "meta": {"n_ctx": 2048, "n_ctx_train": 8192}}


@pytest.mark.parametrize(("provider", "says"), [("vllm", VLLM_SAYS), ("sglang", VLLM_SAYS), ("llama.cpp", LLAMA_SAYS)])
async def test_a_servers_own_limit_is_read_once_and_no_cap_is_made_up(
    build: Build, provider: str, says: dict[str, Any]
) -> None:
    """vLLM refuses 16,384 tokens where it has a context of 2,048, though nobody asked for them."""
    house = build(**at(provider, models=UNKNOWN))
    house.answers.append(models(says))
    await house.ask(max_tokens=None)
    await house.ask(max_tokens=None)
    assert [head.split(b" ")[:2] for head, _ in house.sent] == [
        [b"GET", b"/v1/models"], [b"POST", b"/v1/chat/completions"], [b"POST", b"/v1/chat/completions"],
    ]  # fmt: skip
    assert all(body.get("max_tokens") is None for _, body in house.sent[1:])
    assert house.records()[0]["reserved_nanousd"] <= 2048 * 1000 + 2048 * 2000


async def test_a_cap_that_money_makes_leaves_room_for_the_input(build: Build) -> None:
    """$0.0045 affords more tokens than the context has beside the prompt, and fewer than the whole of it."""
    budget = {"name": "b", "limit_usd": "0.0045", "window": "total"}
    house = build(**at("vllm", models=UNKNOWN, budgets=[budget]))
    house.answers += [models(VLLM_SAYS), Answer(orjson.dumps({"count": 500}))]
    told = await house.ask(max_tokens=None, messages=[{"role": "user", "content": "word " * 180}])
    assert told.status == 200, told.body
    sent = house.sent[-1][1]
    assert 1024 <= sent["max_tokens"] <= 2048 - 180 * 5 // 4


async def test_callers_at_once_ask_the_server_once(build: Build) -> None:
    house = build(**at("vllm", models=UNKNOWN))
    may = asyncio.Event()
    asked = 0

    async def answering(body: dict[str, Any]) -> Any:
        nonlocal asked
        if body:
            return whole()
        asked += 1
        await may.wait()
        return models(VLLM_SAYS)

    house.answering = answering
    calls = [asyncio.create_task(house.ask(max_tokens=None)) for _ in range(5)]
    while not asked:
        await asyncio.sleep(0)
    may.set()
    await asyncio.gather(*calls)
    assert asked == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"", status=404),
        Answer(b"not json"),
        Answer(b"[]"),
        Answer(orjson.dumps({"data": [7, {"id": "m", "max_model_len": True}, {"id": "m", "max_model_len": -1}]})),
        UpstreamError("connect", "refused", sent=False),
    ],
)
async def test_a_server_that_says_nothing_of_its_limits_is_served_as_before(build: Build, answer: Any) -> None:
    house = build(**at("vllm", models=UNKNOWN))
    house.answers.append(answer)
    told = await house.ask(max_tokens=None)
    assert told.status == 200
    assert house.sent[-1][1]["max_tokens"] == 16_384


@pytest.mark.parametrize(
    "changes", [{"upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1", "provider": "acme"}}}, at("vllm")]
)
async def test_neither_hosted_providers_nor_configured_limits_are_asked_about(
    build: Build, changes: dict[str, Any]
) -> None:
    house = build(**changes)
    await house.ask(max_tokens=None)
    assert [head.split(b" ")[0] for head, _ in house.sent] == [b"POST"]


async def test_a_stream_that_is_left_is_counted_by_its_pieces_and_by_the_servers_own_count(build: Build) -> None:
    """A server writes a token and sends it: one delta each, whatever another tokenizer makes of the text."""
    house, line = build(**at("llama.cpp")), Line()
    pieces = [
        b'data: {"type":"response.output_text.delta","delta":"%s"}\n\n' % text
        for text in (b"un", b"belie", b"vab", b"ly")
    ]
    house.answers.append(None)
    answer = talk(line, *pieces, waits=True, leaves_after=4)
    counts = Answer(orjson.dumps({"input_tokens": 38}))
    house.answers = [answer, counts]

    async def answering(body: dict[str, Any]) -> Any:
        return house.answers.pop(0)

    house.answering = answering
    await house.ask(
        line=line, path="/v1/responses", chat=False, model="m", input="hi", stream=True, max_output_tokens=50
    )
    assert house.sent[-1][0].startswith(b"POST /v1/responses/input_tokens ")
    assert settled(house)["usage"] == {"input": 38, "output": 4}


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("path", ["chat", "completions"])
async def test_every_sequence_of_a_stream_that_is_left_is_counted(build: Build, path: str, forced: bool) -> None:
    """forced: each chunk has a usage, of its own sequence and prompt alone (vLLM's `--enable-force-include-usage`)."""
    house, line = build(**at("vllm")), Line()
    pieces = []
    for n in range(8):
        choice = (
            {"index": n % 2, "delta": {"content": " word"}} if path == "chat" else {"index": n % 2, "text": " word"}
        )
        used = {"prompt_tokens": 20, "completion_tokens": n // 2 + 1, "total_tokens": 21 + n // 2} if forced else None
        pieces.append(b"data: " + orjson.dumps({"choices": [choice], "usage": used}) + b"\n\n")
    answer, counts = talk(line, *pieces, waits=True, leaves_after=8), Answer(orjson.dumps({"count": 20}))
    house.answers = [answer, counts]

    async def answering(body: dict[str, Any]) -> Any:
        return house.answers.pop(0)

    house.answering = answering
    if path == "chat":
        await house.ask(line=line, stream=True, n=2)
        assert settled(house)["usage"] == {"input": 20, "output": 8}
    else:
        prompts = ["one two three four five", "six seven eight nine ten"]
        asked = {"model": "m", "prompt": prompts, "max_tokens": 90, "stream": True}
        await house.ask(line=line, path="/v1/completions", chat=False, **asked)
        used = settled(house)["usage"]
        assert 10 <= used["input"] <= 12
        assert used["output"] == 8


TOKENS = ([list(range(1000, 1040))], [list(range(1000, 1025)), list(range(1025, 1040))], list(range(1000, 1040)))


@pytest.mark.parametrize("prompt", TOKENS, ids=["a list in a list", "two lists", "a list"])
async def test_prompts_of_tokens_are_counted_where_no_usage_comes(build: Build, prompt: list[Any]) -> None:
    house, line = build(**at("vllm")), Line()
    piece = b"data: " + orjson.dumps({"choices": [{"index": 0, "text": " word"}]}) + b"\n\n"
    answer = talk(line, piece, piece, waits=True, leaves_after=2)
    await house.ask(answer, line=line, path="/v1/completions", chat=False, model="m", prompt=prompt, stream=True)
    assert settled(house)["usage"]["input"] == 40


@pytest.mark.parametrize("cap", [{}, {"max_tokens": 0}, {"max_tokens": 5}])
@pytest.mark.parametrize(
    "asked", [{"prompt": ["a", "b"]}, {"prompt": [[1, 2], [3]]}, {"prompt": "a", "n": 2}, {"prompt": "a", "best_of": 2}]
)
async def test_no_sequence_is_left_out_of_a_bill_that_tells_the_first_alone(
    build: Build, asked: dict[str, Any], cap: dict[str, int]
) -> None:
    house = build(**at("llama.cpp"))
    told = await house.ask(path="/v1/completions", chat=False, model="m", **asked, **cap)
    assert (told.status, house.sent) == (400, [])


async def test_a_cap_of_nothing_is_none_where_the_server_takes_it_so(build: Build) -> None:
    """Ollama writes on until it likes to stop."""
    house = build(**at("ollama"), budgets=HARD["budgets"])
    used = {"prompt_tokens": 5, "completion_tokens": 3000, "total_tokens": 3005}
    answer = Answer(orjson.dumps({"model": "m", "choices": [{"text": "word"}], "usage": used}))
    told = await house.ask(answer, path="/v1/completions", chat=False, model="m", prompt="a", max_tokens=0)
    assert told.status == 200
    intent, end = house.records()[0], house.records()[-1]
    assert (end["status"], end["usage"]["output"]) == ("settled", 3000)
    assert end["cost_nanousd"] <= intent["reserved_nanousd"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_empty_answer_to_who_hung_up_says_only_that_it_stopped(build: Build, stream: bool) -> None:
    """llama.cpp's: a 200 with nothing in it, for a whole answer and for a stream that was left in prefill."""
    house, line = build(**at("llama.cpp")), Line()
    house.plane.paces["up", "m"] = 1e-6
    house.answers = [Answer(b""), Answer(orjson.dumps({"input_tokens": 33}))]

    async def answering(body: dict[str, Any]) -> Any:
        line.hang_up()
        return house.answers.pop(0)

    house.answering = answering
    await house.ask(line=line, stream=stream)
    end = settled(house)
    assert (end["status"], end["outcome"]) == ("settled", "client_disconnected")
    assert end["usage"] == ({"input": 33} if stream else {"input": 33, "output": 1})


SCORED = [
    ("/v1/rerank", {"query": "how many legs", "documents": ["eight", "six"]}, b"/v1/rerank"),
    ("/rerank", {"query": "how many legs", "documents": ["eight", "six"]}, b"/v1/rerank"),
    ("/v2/rerank", {"query": "how many legs", "documents": ["eight", "six"]}, b"/v1/rerank"),
    ("/score", {"text_1": "legs", "text_2": ["eight", "six"]}, b"/v1/score"),
    ("/v1/score", {"queries": "legs", "documents": ["eight", "six"]}, b"/v1/score"),
    ("/pooling", {"input": ["eight", "six"]}, b"/pooling"),
]


@pytest.mark.parametrize(("path", "body", "target"), SCORED)
async def test_texts_are_ranked_scored_and_pooled_at_their_tokens(
    build: Build, path: str, body: dict[str, Any], target: bytes
) -> None:
    house = build(**at("vllm"))
    answer = Answer(orjson.dumps({"model": "m", "usage": {"prompt_tokens": 15, "total_tokens": 15}}))
    told = await house.ask(answer, path=path, chat=False, model="m", **body)
    assert told.status == 200, told.body
    assert head(house).split(b" ")[1] == target
    intent, end = house.records()
    assert (intent["operation"], end["usage"]) == (path.rpartition("/")[2], {"input": 15})
    assert end["cost_nanousd"] <= intent["reserved_nanousd"]


async def test_hosted_providers_are_not_asked_to_rank(build: Build) -> None:
    told = await build().ask(path="/v1/rerank", chat=False, model="m", query="a", documents=["b"])
    assert (told.status, told.code) == (400, "invalid_request_error")


@pytest.mark.parametrize("documents", [None, [], "", 7, [7], [["a"]], ["a"] * 2049])
async def test_what_cannot_be_ranked_is_refused(build: Build, documents: Any) -> None:
    house = build(**at("vllm"))
    told = await house.ask(path="/v1/rerank", chat=False, model="m", query="a", documents=documents)
    assert told.status == (200 if documents == "" else 400)
