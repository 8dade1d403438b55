"""The translator's HTTP side: an ASGI application on a unix socket, asked by the data planes of this installation alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote

import orjson

from proxy.config.model import Config
from proxy.dialects import ANTHROPIC, OPENAI, RESPONSES
from proxy.dialects.family import Family
from proxy.errors import Refusal, Refused, model_not_found
from proxy.meters import translated
from proxy.translate import adapter, answers, ends, refusing
from proxy.translate.accepted import accepted
from proxy.translate.expressed import asks_for_a_form, prepared, wishes
from proxy.translate.files import NO_URLS, require_data
from proxy.translate.hook import TAP, Tap
from proxy.translate.inline import HERE
from proxy.translate.providers import is_plain, target_of
from proxy.translate.runs import Run
from proxy.wire import lenient, sse

log = logging.getLogger("taximeter.translate")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_ENDPOINTS: Mapping[str, tuple[str, Family]] = {
    "/chat/completions": ("chat", OPENAI),
    "/embeddings": ("embeddings", OPENAI),
    "/responses": ("responses", RESPONSES),
    "/v1/messages": ("messages", ANTHROPIC),
}
_FILE_BY_URL = re.compile(rb'"(?:url|image_url|file_url)"\s*:\s*"https?:')
_JSON, _EVENTS = b"application/json", b"text/event-stream"


class _MidStreamError(Exception):
    """A stream that began, and cannot go on."""


class Translation:
    """The application. named: models as the configuration has them, whose names nobody else chose."""

    def __init__(self, config: Config, litellm: adapter.Adapter) -> None:
        self.config = config
        rows = config.models.items()
        named = {row.model or name for name, row in rows}
        for upstream in config.upstreams.values():
            named.update(upstream.params.get("deployments", {}))
        self.named = frozenset(named)
        self._litellm = litellm
        self._calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        upstream, _, path = scope["raw_path"].decode("latin-1").partition("?")[0].removeprefix("/").partition("/")
        operation, family = _ENDPOINTS.get(f"/{path}", ("", OPENAI))
        call = _Call(self, unquote(upstream), operation, family, dict(scope["headers"]), send)
        self._calls += 1
        try:
            if self._calls > self.config.translate.max_calls:
                await call.refuse(
                    Refusal(503, "overloaded", "The translator is busy; try again.", "server_error", retry_after_s=1)
                )
                return
            await self._until_gone(call, await _body(receive), receive)
        finally:
            self._calls -= 1

    async def _until_gone(self, call: _Call, body: bytes, receive: Receive) -> None:
        """Run the call; end it, and the provider's connection with it, when its caller leaves."""
        running = asyncio.create_task(call.run(body, self._litellm))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            running.cancel()
            await asyncio.gather(running, gone, return_exceptions=True)


class _Call:
    def __init__(
        self,
        owner: Translation,
        upstream: str,
        operation: str,
        family: Family,
        headers: Mapping[bytes, bytes],
        send: Send,
    ) -> None:
        self._config, self._named = owner.config, owner.named
        self._upstream, self._operation, self._family = upstream, operation, family
        self._headers, self._send = headers, send
        self._tap = Tap("", "", most_output=None, body_bytes=0)
        self._dropped: list[str] = []
        self._run_of = Run(numbered=operation == "responses")
        self._started = False

    async def run(self, raw: bytes, litellm: adapter.Adapter) -> None:
        try:
            await self._run(orjson.loads(raw), len(raw), litellm)
        except Exception as error:  # noqa: BLE001 - LiteLLM's exceptions have no root but this
            refusal = refusing.refusal_of(error, self._tap)
            if refusal.status >= 500 and self._tap.observed is None and _FILE_BY_URL.search(raw):
                refusal = NO_URLS  # LiteLLM would have fetched it, and could not
            if refusal.status >= 500:
                log.warning("upstream %s: a translated call failed (%s)", self._upstream, type(error).__name__)
            await self.refuse(refusal)

    async def _run(self, body: dict[str, Any], size: int, litellm: adapter.Adapter) -> None:
        row = self._config.upstreams.get(self._upstream)
        if row is None or not self._operation:
            raise Refused(
                Refusal(503, "overloaded", "The translator does not know this upstream yet.", retry_after_s=1)
            )
        model = str(body["model"])
        if model not in self._named and not is_plain(row, self._upstream, model):
            raise model_not_found(model)
        passed, self._dropped = accepted(self._operation, body)
        most = self._headers.get(translated.MOST_OUTPUT)
        provider = row.provider_name(self._upstream)
        target = target_of(self._upstream, row, model, self._operation)
        require_data(self._operation, passed, target.provider, model)
        self._dropped += prepared(self._operation, passed, target.provider, model)
        asked = wishes(self._operation, passed)
        location = str(row.params.get("vertex_location", ""))
        self._tap = Tap(
            provider, model, most_output=int(most) if most else None, body_bytes=size, asked=asked, location=location
        )
        if body.get("stream") and not asks_for_a_form(asked):
            self._tap.run, self._tap.write = self._run_of, self._write
        TAP.set(self._tap)
        HERE.set(target.waits_for_nothing(litellm.environ))
        answer, unknown = await litellm.call(self._operation, target, passed)
        self._dropped += unknown
        if body.get("stream"):
            await self._stream(answer, wants_usage=self._wants_usage(body))
        else:
            await self._whole(answer)

    def _wants_usage(self, body: Mapping[str, Any]) -> bool:
        options = body.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    async def _whole(self, answer: Any) -> None:
        fields = adapter.fields_of(answer)
        reading = self._reading(answers.usage_in(fields))
        self._require_an_end()
        if ends.is_end(self._operation, fields):
            self._tell_why(fields)
        body = answers.whole(self._operation, fields)
        header = (translated.HEADER.encode(), translated.encode(reading))
        await self._start(200, _JSON, [header, *self._answer_headers()])
        await self._send({"type": "http.response.body", "body": body})

    def _reading(self, stated: Mapping[str, Any] | None) -> Any:
        observed = self._tap.observed
        native = observed.reading() if observed is not None else translated.NOTHING
        return answers.settled(self._operation, native, stated)

    async def _stream(self, answer: AsyncIterator[Any], *, wants_usage: bool) -> None:
        stated: Mapping[str, Any] | None = None
        sent = last = early = b""
        try:
            async for out, usage in self._blocks(answer, wants_usage=wants_usage):
                stated = {**(stated or {}), **usage} if usage else stated  # the last event may say but a part
                if not self._run_of.made(out, more=usage is not None):
                    continue
                if (
                    usage is not None
                    and self._tap.answered
                    and (reading := translated.event(self._reading(stated))) != sent
                ):
                    sent = reading
                    await self._write(reading)
                if answers.ends(self._operation, out):
                    last = out
                elif out and not self._tap.answered:
                    early += out  # LiteLLM's own first words: the provider may still say no, with a status
                elif out:
                    await self._write(early + out)
                    early = b""
            self._require_an_end()
            reading = translated.event(self._reading(stated))
            end = (reading if reading != sent else b"") + last + answers.stream_end(self._operation)
            await self._write(early)
            # With the last event the end, for clients leave then.
            await self._send({"type": "http.response.body", "body": end})
        finally:
            with contextlib.suppress(Exception):
                await self._tap.aclose()
            with contextlib.suppress(Exception):
                await adapter.close(answer)

    async def _blocks(
        self, answer: AsyncIterator[Any], *, wants_usage: bool
    ) -> AsyncIterator[tuple[bytes, Mapping[str, Any] | None]]:
        """The events as they go out, each with the usage that it states."""
        splitter, run = sse.Splitter(), self._run_of
        same: dict[str, Any] = {}  # in all chunks of an answer; LiteLLM makes up others for each, of some providers
        async for item in answer:
            if isinstance(item, bytes | str):  # Anthropic's, written already
                for block in splitter.feed(item.encode() if isinstance(item, str) else item):
                    if block.startswith(b"event: error"):
                        raise _MidStreamError  # LiteLLM's words for it have what was sent, and its own source, in them
                    yield self._checked(block)
                continue
            fields = adapter.fields_of(item)
            if self._operation == "chat":
                same = same or {name: fields[name] for name in ("id", "created") if name in fields}
                fields |= same
            usage = answers.usage_in(fields)
            if ends.is_end(self._operation, fields) and not self._tell_why(fields):
                continue
            yield answers.event(self._operation, fields, run.number, wants_usage=wants_usage), usage
            run.number += not run.dropping

    def _checked(self, block: bytes) -> tuple[bytes, Mapping[str, Any] | None]:
        """An event of Anthropic's as it goes out, and the usage that it states."""
        ending = ends.MARK.search(block)
        if not ending and b'"usage"' not in block:
            return block, None
        fields = _payload(block)
        usage = answers.usage_in(fields)
        if ending:
            block = answers.anthropic_event(fields) if self._tell_why(fields) else b""
        return block, usage

    def _tell_why(self, fields: dict[str, Any]) -> bool:
        """Tell the provider's own reason in the event of an end; False where it is a failure, which no such event tells."""
        ends.correct(self._operation, fields, self._tap.reason)
        return not (ends.failed(self._tap.reason) or self._tap.cut)

    def _require_an_end(self) -> None:
        """Raises `Refused` (502) where the provider has ended its answer, and says that it is none; or has not ended it."""
        if self._tap.cut:
            raise Refused(refusing.CUT)
        if ends.failed(self._tap.reason):
            raise Refused(refusing.failure(self._tap.reason))

    async def _write(self, data: bytes) -> None:
        if not self._started:
            await self._start(200, _EVENTS, self._answer_headers())
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def _answer_headers(self) -> list[tuple[bytes, bytes]]:
        headers = refusing.headers_of(self._tap.observed)
        if dropped := (*self._dropped, *self._tap.lost):
            names = ", ".join(dict.fromkeys(dropped))[:1000]
            headers.append((b"x-taximeter-dropped-fields", names.encode("ascii", "replace")))
        return headers

    async def _start(self, status: int, kind: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self._started = True
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *headers]}
        )

    async def refuse(self, refusal: Refusal) -> None:
        """Say no, in the caller's dialect; in the middle of a stream as its last event, behind what is known of the usage."""
        if self._started:
            reading = translated.event(self._reading(None))
            end = reading + self._family.stream_end(refusal, ())
            await self._send({"type": "http.response.body", "body": end})
            return
        headers = self._answer_headers()
        native = self._reading(None)
        if self._tap.answered and native.usage:  # what was answered is billed, whether it arrived or not
            headers.append((translated.HEADER.encode(), translated.encode(native)))
        if refusal.retry_after_s is not None and not any(name == b"retry-after" for name, _ in headers):
            headers.append((b"retry-after", b"%d" % refusal.retry_after_s))
        await self._start(refusal.status, _JSON, headers)
        await self._send({"type": "http.response.body", "body": self._family.refusal_body(refusal)})


def _payload(block: bytes) -> dict[str, Any]:
    """The data of an event that is one line of JSON."""
    _, _, data = block.partition(b"data: ")
    value = lenient.loads(data.strip())
    return value if isinstance(value, dict) else {}


async def _body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(chunks)
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
