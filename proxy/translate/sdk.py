"""OpenAI's SDK, through which LiteLLM asks for OpenAI's chat completions, without what it does beside that.

The SDK makes a request from its parts, with its headers and URL found anew, and an object for each part of the answer, of
which LiteLLM makes a dictionary again: a third of such a call. Here the first request of a client is the SDK's own. Those
behind it have the same URL and headers, and their answers are read as JSON; the pieces of a stream are the SDK's objects, made
in C where they are as its types say. Other paths and whatever else is asked for go through the SDK. Names of it that are not
public are used here alone; tests/unit/translate/test_sdk.py says if a new version has them no more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple, get_args
from weakref import WeakKeyDictionary

import httpx
import orjson
from pydantic import BaseModel, ValidationError

Post = Callable[..., Awaitable[Any]]

_PATH = "/chat/completions"
_OPTIONS = frozenset({"headers", "timeout", "security"})
_OF_ONE_REQUEST = frozenset(
    {"content-length", "x-stainless-retry-count", "x-stainless-read-timeout", "idempotency-key"}
)
_MOST_KINDS = 64  # of headers with one client
# What of a client makes the headers of each request anew: tokens that are fetched, and end.
FETCHED = ("_api_key_provider", "_provider_runtime", "workload_identity")


_Kind = tuple[bool, frozenset[tuple[str, str]]]  # whether it streams, and the headers


class _Known(NamedTuple):
    """Where a client's chat completions are asked for, and the headers that go with them."""

    url: str
    headers: Mapping[str, str]


class _Fields(BaseModel):
    """An answer, as LiteLLM asks the SDK's objects for it: it asks Azure's for their class, too."""

    fields: dict[str, Any]

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return dict(self.fields)


def plainer(plain: Post, client_class: type) -> Post:
    """`plain`, the `post` of a client's class, or the same for chat completions."""
    raw_class: Any = plain.__globals__["LegacyAPIResponse"]  # what it returns
    known: WeakKeyDictionary[Any, dict[_Kind, _Known]] = WeakKeyDictionary()

    class Answer(raw_class):  # type: ignore[misc]  # a base that is known when it runs
        def parse(self, **_: Any) -> Any:
            if (kind := self._stream_cls) is not None:
                return kind(cast_to=get_args(kind)[0], response=self.http_response, client=self._client)
            try:
                value = orjson.loads(self.http_response.content)
            except orjson.JSONDecodeError:
                value = self.http_response.json()  # as the SDK reads it: NaN, UTF-16
            return _Fields.model_construct(fields=value) if isinstance(value, dict) else value

    async def post(
        self: Any,
        path: str,
        *,
        body: Any = None,
        options: Any = None,
        stream: bool = False,
        stream_cls: Any = None,
        **how: Any,
    ) -> Any:
        options = {name: value for name, value in (options or {}).items() if value or name != "extra_json"}
        headers = options.get("headers") or {}
        if (
            path != _PATH or type(self) is not client_class or not isinstance(body, Mapping)
            or (stream and not get_args(stream_cls)) or not options.keys() <= _OPTIONS
            or how.get("files") is not None or how.get("content") is not None
            or not all(isinstance(value, str) for value in headers.values())
            or any(getattr(self, name) is not None for name in FETCHED)
        ):  # fmt: skip
            return await plain(self, path, body=body, options=options, stream=stream, stream_cls=stream_cls, **how)
        kinds = known.setdefault(self, {})
        kind = stream, frozenset(headers.items())
        if (way := kinds.get(kind)) is None:
            answer = await plain(self, path, body=body, options=options, stream=stream, stream_cls=stream_cls, **how)
            if isinstance(answer, raw_class) and len(kinds) < _MOST_KINDS:
                request = answer.http_response.request
                sent = {name: value for name, value in request.headers.items() if name not in _OF_ONE_REQUEST}
                kinds[kind] = _Known(str(request.url), sent)
            return answer
        request = httpx.Request(
            "POST",
            way.url,
            headers=dict(way.headers),
            json=body,
            extensions={"timeout": _timeout(options.get("timeout"))},
        )
        sdk: Any = self  # mypy takes it for the class above
        response = await sdk._client.send(request, stream=stream)  # noqa: SLF001 - test_sdk.py says if it is there no more
        if response.status_code != 200:
            await response.aread()
            raise sdk._make_status_error_from_response(response)  # noqa: SLF001 - as above
        return Answer(
            raw=response,
            client=self,
            stream=stream,
            stream_cls=stream_cls if stream else None,
            options=None,
            cast_to=how.get("cast_to"),
        )

    return post


def _timeout(timeout: Any) -> dict[str, float | None]:
    return httpx.Timeout(timeout if isinstance(timeout, int | float) else None).as_dict()


def quicker_pieces(plain: Callable[..., Any], piece_class: Any) -> Callable[..., Any]:
    """`plain`, a client's way from JSON to its objects, or the same object of pydantic's own making for a piece of a stream
    that is as its class says."""

    def made(self: Any, *, data: Any, cast_to: Any, response: Any) -> Any:
        if cast_to is piece_class and not _NUMBERS.intersection(_fields(data)):
            try:
                return piece_class.model_validate(data, strict=True)
            except ValidationError:
                pass
        return plain(self, data=data, cast_to=cast_to, response=response)

    return made


_NUMBERS = frozenset({"logprobs", "moderation"})  # which would be made decimals


def _fields(piece: Any) -> Iterator[str]:
    """The names that a piece and its choices have values for."""
    if isinstance(piece, dict):
        choices = piece.get("choices")
        for part in (piece, *(choices if isinstance(choices, list) else ())):
            if isinstance(part, dict):
                yield from (name for name, value in part.items() if value is not None)


def install() -> None:
    """Once the SDK is imported."""
    import openai  # noqa: PLC0415 - it comes with LiteLLM, and is slow
    from openai.types.chat import ChatCompletionChunk  # noqa: PLC0415 - as above

    client: Any = openai.AsyncOpenAI
    client.post = plainer(client.post, client)
    client._process_response_data = quicker_pieces(client._process_response_data, ChatCompletionChunk)  # noqa: SLF001 - as above
