"""OpenAI's SDK, through which LiteLLM asks for OpenAI's chat completions, without its objects for whole answers.

The SDK makes a request from its parts, with its headers and URL found anew, and an object for each part of the answer, of
which LiteLLM makes a dictionary again: a third of such a call. Here the first request of a client is the SDK's own. Those
behind it have the same URL and headers, and their answers are read as JSON. Streams, other paths and whatever else is asked
for go through the SDK. Names of it that are not public are used here alone; tests/unit/translate/test_sdk.py says if a new
version has them no more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import httpx
import orjson

Post = Callable[..., Awaitable[Any]]

_PATH = "/chat/completions"
_OPTIONS = frozenset({"headers", "timeout", "security"})
_OF_ONE_REQUEST = frozenset(
    {"content-length", "x-stainless-retry-count", "x-stainless-read-timeout", "idempotency-key"}
)
_MOST_KINDS = 64  # of headers with one client
# What of a client makes the headers of each request anew: tokens that are fetched, and end.
FETCHED = ("_api_key_provider", "_provider_runtime", "workload_identity")


class _Known(NamedTuple):
    """Where a client's chat completions are asked for, and the headers that go with them."""

    url: str
    headers: Mapping[str, str]


class _Fields(dict[str, Any]):
    """An answer, as LiteLLM asks the SDK's objects for it."""

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return dict(self)


def plainer(plain: Post, client_class: type) -> Post:
    """`plain`, the `post` of a client's class, or the same for whole chat completions."""
    raw_class: Any = plain.__globals__["LegacyAPIResponse"]  # what it returns
    known: WeakKeyDictionary[Any, dict[frozenset[tuple[str, str]], _Known]] = WeakKeyDictionary()

    class Answer(raw_class):  # type: ignore[misc]  # a base that is known when it runs
        def parse(self, **_: Any) -> Any:
            try:
                value = orjson.loads(self.http_response.content)
            except orjson.JSONDecodeError:
                value = self.http_response.json()  # as the SDK reads it: NaN, UTF-16
            return _Fields(value) if isinstance(value, dict) else value

    async def post(
        self: Any, path: str, *, body: Any = None, options: Any = None, stream: bool = False, **how: Any
    ) -> Any:
        options = {name: value for name, value in (options or {}).items() if value or name != "extra_json"}
        headers = options.get("headers") or {}
        if (
            stream or path != _PATH or type(self) is not client_class or not isinstance(body, Mapping)
            or not options.keys() <= _OPTIONS or how.get("files") is not None or how.get("content") is not None
            or not all(isinstance(value, str) for value in headers.values())
            or any(getattr(self, name) is not None for name in FETCHED)
        ):  # fmt: skip
            return await plain(self, path, body=body, options=options, stream=stream, **how)
        kinds = known.setdefault(self, {})
        kind = frozenset(headers.items())
        if (way := kinds.get(kind)) is None:
            answer = await plain(self, path, body=body, options=options, stream=stream, **how)
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
        response = await sdk._client.send(request)  # noqa: SLF001 - test_sdk.py says if it is there no more
        if response.status_code != 200:
            raise sdk._make_status_error_from_response(response)  # noqa: SLF001 - as above
        return Answer(
            raw=response, client=self, stream=False, stream_cls=None, options=None, cast_to=how.get("cast_to")
        )

    return post


def _timeout(timeout: Any) -> dict[str, float | None]:
    return httpx.Timeout(timeout if isinstance(timeout, int | float) else None).as_dict()


def install() -> None:
    """Once the SDK is imported."""
    import openai  # noqa: PLC0415 - it comes with LiteLLM, and is slow

    client: Any = openai.AsyncOpenAI
    client.post = plainer(client.post, client)
