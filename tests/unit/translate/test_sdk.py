"""OpenAI's SDK asked plainly: the same request and the same answer as through its objects, and its own errors."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from proxy.translate.sdk import FETCHED, plainer, quicker_pieces

ANSWER = {"id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": {"content": "x"}}], "extra": 1}
RAW = {"X-Stainless-Raw-Response": "true"}
BODY = {"model": "m", "messages": [{"role": "user", "content": "é"}]}


class Provider(httpx.AsyncBaseTransport):
    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.status, self.answer, self.kind = 200, json.dumps(ANSWER).encode(), "application/json"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = {name: value for name, value in request.headers.items() if name not in IN_ONE_REQUEST}
        self.seen.append((str(request.url), headers, json.loads(await request.aread())))
        return httpx.Response(self.status, headers={"content-type": self.kind}, content=self.answer, request=request)


IN_ONE_REQUEST = {"x-stainless-retry-count", "x-stainless-read-timeout", "content-length"}


@pytest.fixture
async def provider() -> Provider:
    return Provider()


@pytest.fixture
async def client(provider: Provider) -> AsyncIterator[openai.AsyncOpenAI]:
    http = httpx.AsyncClient(transport=provider)
    more: dict[str, Any] = {"http_client": http}
    yield openai.AsyncOpenAI(api_key="k", base_url="https://example.com/v1", max_retries=0, **more)
    await http.aclose()


@functools.cache
def plain_post() -> Any:
    """The same for all: it remembers what was asked."""
    return plainer(openai.AsyncOpenAI.post, openai.AsyncOpenAI)


async def ask(client: openai.AsyncOpenAI, *, stream: bool = False, **more: Any) -> Any:
    options = {"headers": RAW | more.pop("headers", {}), "timeout": 60.0} | more
    chat = openai.types.chat
    how = {"stream": stream, "stream_cls": openai.AsyncStream[chat.ChatCompletionChunk], "options": options}
    return await plain_post()(client, "/chat/completions", body=BODY, cast_to=chat.ChatCompletion, **how)


def plainly(answer: Any) -> bool:
    """Whether it came without the SDK's objects."""
    return type(answer).__name__ == "Answer"


@pytest.mark.long
async def test_the_second_request_is_as_the_first_and_its_answer_too(
    client: openai.AsyncOpenAI, provider: Provider
) -> None:
    first, second = await ask(client), await ask(client)

    assert provider.seen[0] == provider.seen[1]
    assert provider.seen[0][0] == "https://example.com/v1/chat/completions"
    assert provider.seen[1][1]["authorization"] == "Bearer k"
    assert first.parse().model_dump(exclude_unset=True) == second.parse().model_dump(exclude_unset=True) == ANSWER
    assert isinstance(second.parse(), BaseModel)  # Azure's way through LiteLLM takes nothing else
    assert dict(first.headers) == dict(second.headers)
    assert (plainly(first), plainly(second)) == (False, True)


PIECES: list[dict[str, Any]] = [
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "obfuscation": "ab", "choices": choices} | more
    for choices, more in (
        ([{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}], {}),
        ([{"index": 0, "delta": {"content": "é", "reasoning": "x"}, "finish_reason": None, "native": {"a": [1]}}], {}),
        ([{"index": 0, "delta": {}, "finish_reason": "stop"}], {"service_tier": "default", "provider": "other"}),
        ([], {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.1, "more": {"a": 1}}}),
    )
]  # fmt: skip
STRANGE: list[Any] = [
    PIECES[0] | {"created": 1.5},
    PIECES[0] | {"service_tier": "unheard of", "choices": None},
    PIECES[0] | {"choices": [{"index": 0, "delta": {}, "finish_reason": "", "logprobs": None}]},
    PIECES[0] | {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [{"token": "a", "logprob": -1}]}}]},
    {"choices": ["x"]},
    ["x"],
]


def _pieces(*values: Any) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(value).encode() for value in values) + b"data: [DONE]\n\n"


async def _streamed(client: openai.AsyncOpenAI) -> tuple[bool, list[Any]]:
    answer = await ask(client, stream=True)
    return plainly(answer), [piece async for piece in answer.parse()]


async def test_a_stream_is_asked_for_as_the_first_was(client: openai.AsyncOpenAI, provider: Provider) -> None:
    provider.answer, provider.kind = _pieces(*PIECES), "text/event-stream"

    first, second = await _streamed(client), await _streamed(client)

    assert provider.seen[0] == provider.seen[1]
    assert (first[0], second[0]) == (False, True)
    assert first[1] == second[1]
    assert [piece.model_dump(exclude_unset=True) for piece in second[1]] == PIECES


async def test_an_error_of_a_stream_is_the_sdks_own(client: openai.AsyncOpenAI, provider: Provider) -> None:
    provider.answer, provider.kind = _pieces(*PIECES), "text/event-stream"
    await _streamed(client)
    provider.status, provider.answer = 429, b'{"error": {"message": "slowly"}}'

    with pytest.raises(openai.RateLimitError, match="slowly") as raised:
        await ask(client, stream=True)

    assert raised.value.response.status_code == 429


def test_a_piece_of_a_stream_is_the_object_that_the_sdk_makes(client: openai.AsyncOpenAI) -> None:
    plain, chunk = openai.AsyncOpenAI._process_response_data, openai.types.chat.ChatCompletionChunk
    quick = quicker_pieces(plain, chunk)
    known = []

    def noted(self: Any, **how: Any) -> Any:
        known.append(how["data"])
        return plain(self, **how)

    for value in [*PIECES, *STRANGE]:
        try:
            expected = plain(client, data=value, cast_to=chunk, response=None)
        except Exception as error:
            with pytest.raises(type(error)):
                quick(client, data=value, cast_to=chunk, response=None)
        else:
            piece = quick(client, data=value, cast_to=chunk, response=None)
            assert repr(piece) == repr(expected)
        quicker_pieces(noted, chunk)(client, data=value, cast_to=chunk, response=None)
    assert known == STRANGE


async def test_headers_of_another_upstream_are_its_own(client: openai.AsyncOpenAI, provider: Provider) -> None:
    for team in ("a", "b", "a", "b"):
        await ask(client, headers={"x-team": team})

    assert [headers["x-team"] for _, headers, _ in provider.seen] == ["a", "b", "a", "b"]


async def test_an_error_is_the_sdks_own(client: openai.AsyncOpenAI, provider: Provider) -> None:
    await ask(client)
    provider.status, provider.answer = 429, b'{"error": {"message": "slowly"}}'

    with pytest.raises(openai.RateLimitError, match="slowly") as raised:
        await ask(client)

    assert raised.value.response.status_code == 429


async def test_whatever_else_is_asked_goes_through_the_sdk(client: openai.AsyncOpenAI, provider: Provider) -> None:
    await ask(client)
    for more in ({"extra_json": {"seed": 1}}, {"params": {"a": "b"}}):
        assert not plainly(await ask(client, **more))
    other = client.with_options(default_headers={"x-a": "b"})
    assert not plainly(await ask(other))
    assert provider.seen[-1][1]["x-a"] == "b"


async def test_an_answer_that_is_no_object_is_no_objects(client: openai.AsyncOpenAI, provider: Provider) -> None:
    await ask(client)
    provider.answer = b'["x"]'

    assert not hasattr((await ask(client)).parse(), "model_dump")


async def test_a_token_that_is_fetched_anew_is_fetched_for_each_request(provider: Provider) -> None:
    """Azure's v1 API by Entra ID: its tokens end after an hour, the client does not."""
    tokens = iter(["first", "second", "third"])

    async def token() -> str:
        return next(tokens)

    async with httpx.AsyncClient(transport=provider) as http:
        more: dict[str, Any] = {"http_client": http}
        client = openai.AsyncOpenAI(api_key=token, base_url="https://example.com/openai/v1", max_retries=0, **more)
        for _ in range(3):
            await ask(client)

    assert [headers["authorization"] for _, headers, _ in provider.seen] == [
        "Bearer first",
        "Bearer second",
        "Bearer third",
    ]


async def test_numbers_that_are_none_in_json_are_read_as_the_sdk_reads_them(
    client: openai.AsyncOpenAI, provider: Provider
) -> None:
    """Servers in Python write log probabilities of nothing like that."""
    provider.answer = json.dumps(ANSWER | {"logprob": float("-inf")}).encode()

    first, second = await ask(client), await ask(client)

    assert plainly(second)
    assert second.parse().model_dump()["logprob"] == first.parse().model_dump()["logprob"] == float("-inf")


def test_the_names_that_are_used_are_there() -> None:
    for name in ("_make_status_error_from_response", "post", "_process_response_data"):
        assert callable(getattr(openai.AsyncOpenAI, name))
    assert asyncio.iscoroutinefunction(openai.AsyncOpenAI.post)
    client = openai.AsyncOpenAI(api_key="k")
    assert [getattr(client, name) for name in FETCHED] == [None] * len(FETCHED)
