"""The hook in httpx: every request that LiteLLM makes on behalf of a call passes here, and its answer's bytes are read along.

It also keeps what the ceiling rests on: one billed request a call, of no higher output cap than was reserved for, and nothing
fetched from elsewhere on a caller's word.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import httpx

from proxy.errors import Refusal, Refused, invalid_request, unbounded_cost
from proxy.translate.accepted import refused
from proxy.translate.expressed import Wish, missing
from proxy.translate.files import NO_URLS
from proxy.translate.native import Observed
from proxy.translate.runs import Piece, Pieces, Run
from proxy.translate.transport import leaner, quicker, quicker_build

# Where an API has its output cap, whatever the provider: OpenAI's, Anthropic's, Gemini's, Converse's, and vendors' on Bedrock.
_CAPS = (
    ("max_tokens",), ("max_completion_tokens",), ("max_output_tokens",), ("generationConfig", "maxOutputTokens"),
    ("generationConfig", "max_output_tokens"),
    ("inferenceConfig", "maxTokens"), ("inferenceConfig", "max_new_tokens"), ("parameters", "max_new_tokens"),
    ("max_gen_len",), ("textGenerationConfig", "maxTokenCount"), ("max_tokens_to_sample",),
)  # fmt: skip
# Vertex AI's; LiteLLM takes another one for models that it knows elsewhere.
_LOCATION = re.compile(r"/locations/([a-z0-9-]+)/")
_LOGIN = "application/x-www-form-urlencoded"  # OAuth's token requests, which no provider bills
_GROWTH, _SLACK_BYTES = (
    3,
    64 * 1024,
)  # how much larger than the caller's a request may be: JSON says the same at greater length


_DRAINED_S = 2.0  # at most: how long the usage behind an end is waited for


class Tap:
    """What one call had sent, and what came back of it.

    model: as it is priced. most_output: tokens that the ceiling allows. body_bytes: what the caller sent. asked: what it asked
    for that a provider may not know. location: where Google must serve it, "" where anywhere will do. refusal: why nothing was
    sent. lost: the names of what was asked for and left out. run: of a stream whose words may pass LiteLLM by; `write` has
    them go out.
    """

    def __init__(
        self,
        provider: str,
        model: str,
        *,
        most_output: int | None,
        body_bytes: int,
        asked: Sequence[Wish] = (),
        location: str = "",
    ) -> None:
        self._provider, self.model = provider, model
        self._most_output, self._body_bytes = most_output, body_bytes
        self._asked, self._location = asked, location
        self.lost: list[str] = []
        self.run: Run | None = None
        self.write: Callable[[bytes], Awaitable[None]] = _nowhere
        self.observed: Observed | None = None
        self.refusal: Refusal | None = None
        self.stream: Read | None = None

    async def aclose(self) -> None:
        """End the provider's answer, wherever it stands: not all that LiteLLM hands out can be closed."""
        if self.stream is not None:
            await self.stream.aclose()

    @property
    def answered(self) -> bool:
        """Whether the provider has begun to answer."""
        return self.observed is not None and self.observed.status != 0

    @property
    def reason(self) -> str:
        """Why the provider ended its answer, in its own word; "" as long as it has not said."""
        return "" if self.observed is None else self.observed.reason

    @property
    def cut(self) -> bool:
        """Whether the provider's stream has ended in the middle of its answer."""
        return self.observed is not None and self.observed.cut

    def begin(self, request: httpx.Request, body: bytes) -> Observed:
        """A request is about to be sent. Raises `Refused` where it must not be."""
        try:
            self.observed = self._allowed(request, body)
        except Refused as refused:
            self.refusal = refused.refusal
            raise
        return self.observed

    def _allowed(self, request: httpx.Request, body: bytes) -> Observed:
        if request.method != "POST":
            raise Refused(NO_URLS)
        if self.observed is not None:
            raise invalid_request("This call would take more than one request to the provider.")
        value = _object(body)
        for path in _CAPS:
            cap = _at(value, path)
            if self._most_output is not None and type(cap) is int and cap > self._most_output:
                message = (
                    f"This call needs an output cap of {cap} tokens at its provider, and its ceiling has {self._most_output}: "
                    "raise its cap, or ask for less thinking."
                )
                raise unbounded_cost(message)
        for wish in missing(self._asked, body, value):
            if wish.needed:
                raise refused(wish.name)
            self.lost.append(wish.name)
        if len(body) > _GROWTH * self._body_bytes + _SLACK_BYTES:
            raise unbounded_cost(
                "The translated request is much larger than what was sent, so its ceiling would not hold."
            )
        url = str(request.url).partition("?")[0]
        if self._location and (sent_to := _LOCATION.search(url)) and sent_to[1] != self._location:
            raise _elsewhere(sent_to[1], self._location)
        return Observed(self._provider, url, self.model, value)


async def _nowhere(_: bytes) -> None:
    """Nobody reads."""


TAP: ContextVar[Tap | None] = ContextVar("tap", default=None)


def _elsewhere(there: str, location: str) -> Refused:
    message = (
        f"This model would be asked at {there!r}, and its upstream is set to {location!r} (`params.vertex_location`)."
    )
    return invalid_request(message, "model")


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


class Read(httpx.AsyncByteStream):
    """An answer on its way to LiteLLM."""

    def __init__(self, stream: httpx.AsyncByteStream, observed: Observed, tap: Tap | None = None) -> None:
        self._stream, self._observed = stream, observed
        self._parts = aiter(stream)  # one for all readers: a reader that stops does not end it
        self._tap = tap if tap is not None and tap.run is not None and observed.status < 300 else None
        self._pieces = None if self._tap is None else Pieces(observed.headers.get("content-type", ""))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._tap is not None and (run := self._tap.run) is not None:
            async for data in self._in_pieces(run, self._tap.write):
                yield data
            return
        async for data in self._parts:
            self._noted(data)
            yield data
        self._observed.ended()

    def _noted(self, data: bytes) -> list[Piece]:
        """Read along. The events that `data` completes, where they are cut for the run."""
        if self._pieces is None:
            self._observed.feed(data)
            return []
        cut = self._pieces.feed(data)
        self._observed.feed(data, cut)
        return cut

    async def _in_pieces(self, run: Run, write: Callable[[bytes], Awaitable[None]]) -> AsyncIterator[bytes]:
        """Event by event; those that need no translation go out from here."""
        assert self._pieces is not None
        async for data in self._parts:
            events: list[bytes] = []
            for piece in self._noted(data):
                if (event := run.event(piece)) is not None:
                    events.append(event)
                    continue
                if events:
                    await write(b"".join(events))
                    events.clear()
                if held := run.held():
                    yield held
                    run.asks()
                run.given(piece)
                yield piece.raw
                run.asks()
            if events:
                await write(b"".join(events))
        if held := run.held():
            yield held
            run.asks()
        rest = self._pieces.rest()
        self._observed.ended(rest)
        if rest:
            yield rest

    async def aclose(self) -> None:
        """End it. Where the provider has told why it ends, what is left is its usage, which it bills: that is read before."""
        if self._observed.reason:
            with contextlib.suppress(TimeoutError, httpx.HTTPError):
                async with asyncio.timeout(_DRAINED_S):
                    async for data in self._parts:
                        self._noted(data)
                    self._observed.ended(b"" if self._pieces is None else self._pieces.rest())
        await self._stream.aclose()


def install() -> None:
    """From now on requests of calls are observed. Once a process, before LiteLLM makes its clients."""
    send = quicker(httpx.AsyncHTTPTransport.handle_async_request)
    send_sync = httpx.HTTPTransport.handle_request

    async def observed_send(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        tap = TAP.get()
        if tap is None or request.headers.get("content-type", "").startswith(_LOGIN):
            return await send(self, request)
        observed = tap.begin(request, await request.aread())
        request.headers["accept-encoding"] = "identity"  # so that what is read along is plain
        response = await send(self, request)
        observed.began(response.status_code, dict(response.headers))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = tap.stream = Read(response.stream, observed, tap)
        return response

    def no_sync_send(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        """Where LiteLLM asks in the old way: for a token, or for files that a call names."""
        tap = TAP.get()
        if tap is not None and not request.headers.get("content-type", "").startswith(_LOGIN):
            tap.begin(request, b"" if request.method == "GET" else request.read())
        return send_sync(self, request)

    _replace(httpx.AsyncClient, "send", leaner(httpx.AsyncClient.send))
    _replace(httpx.AsyncClient, "build_request", quicker_build(httpx.AsyncClient.build_request))
    _replace(httpx.AsyncHTTPTransport, "handle_async_request", observed_send)
    _replace(httpx.HTTPTransport, "handle_request", no_sync_send)


def _replace(owner: type, name: str, by: Callable[..., Any]) -> None:
    setattr(owner, name, by)
