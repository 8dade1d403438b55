"""The provider's own usage, from the bytes of its wire: which meter reads what LiteLLM asked, and reading it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from pricing.usage import Reading
from proxy.meters import registry
from proxy.meters.bedrock import unwrapped
from proxy.meters.reader import Context, Reader, StreamReader
from proxy.translate import ends
from proxy.translate.runs import Piece
from proxy.wire import aws_event_stream, lenient, sse

# What of a path says whose format is spoken there; the first that fits. None: as the upstream's provider speaks it there.
_FORMATS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"/converse(-stream)?\Z"), "bedrock.converse"),
    (re.compile(r"/invoke(-with-response-stream)?\Z"), "bedrock.invoke"),
    (re.compile(r":(rawPredict|streamRawPredict)\Z"), "anthropic.messages"),
    (re.compile(r":(generateContent|streamGenerateContent)\Z"), "gemini"),
    (re.compile(r":(embedContent|batchEmbedContents|predict)\Z"), "gemini.embed"),
    (re.compile(r"/messages\Z"), "anthropic.messages"),
    (re.compile(r"/responses\Z"), "openai.responses"),
    (re.compile(r"/v[12]/embed\Z"), "cohere.embed"),
    # watsonx, and SageMaker's whole answers; what its streams have in their frames is the container's own.
    (re.compile(r"/ml/v1/.*/chat(_stream)?\Z|/endpoints/[^/]+/invocations\Z"), "openai.chat"),
)
# All servers of these say so at the end of every stream.
_SAY_THEIR_END = frozenset({"anthropic.messages", "bedrock.converse"})
_KEPT_BYTES = 64 * 1024 * 1024


@lru_cache(1024)
def meter_of(provider: str, path: str) -> Reader | None:
    """Whose format the answer of `path` is in; None where no meter knows it."""
    for pattern, dialect in _FORMATS:
        if pattern.search(path):
            return registry.reader(dialect)
    for ending in ("/chat/completions", "/embeddings", "/chat"):
        if path.endswith(ending):
            return registry.reader(None, provider, ending)
    return None


class Observed:
    """The provider's answer to one request, read as it passes.

    provider: whose prices hold. url: what was asked, without its query. request: its body. The answer may be whole, events,
    or AWS's frames.
    """

    def __init__(self, provider: str, url: str, model: str, request: Mapping[str, Any]) -> None:
        path = urlsplit(url).path
        self.reader = meter_of(provider, path)
        self._place = {"base_url": url}  # on which the price depends, with some
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._provider, self._path, self._model, self._request = provider, path, model, request
        self._stream: StreamReader | None = None
        self._splitter: sse.Splitter | None = None
        self._frames: aws_event_stream.Framer | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._broken = False  # nothing can be said of it
        self._torn = False  # nothing can be said of it from here on
        self._reason = ""
        self._last = b""  # of a stream's events
        self._ended = False

    def began(self, status: int, headers: Mapping[str, str]) -> None:
        """headers: with lower-case names."""
        self.status, self.headers = status, headers
        kind = headers.get("content-type", "")
        if self.reader is None or status >= 300:
            return
        if kind.startswith("text/event-stream"):
            self._splitter = sse.Splitter()
        elif kind.startswith("application/vnd.amazon.eventstream"):
            self._frames = aws_event_stream.Framer()
        if self._splitter is not None or self._frames is not None:
            self._stream = self.reader.stream(self._context())

    def _context(self) -> Context:
        return Context(
            provider=self._provider, endpoint=self._path, model=self._model, request=self._request, from_client=True,
            response_headers=self.headers, selector=self._place,
        )  # fmt: skip

    def feed(self, data: bytes, cut: Iterable[Piece] | None = None) -> None:
        """Some bytes of the answer; cut: the events in them, where somebody has cut them, all of them then. Never raises: who
        reads along must not break what is read."""
        try:
            if cut is None or self._stream is None:
                self._feed(data)
            else:
                self._read(cut)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the answer passes; there is no usage then
            self._broken = True

    def ended(self, rest: bytes = b"") -> None:
        """The answer has come to its end. rest: what stands behind the last event, where somebody has cut them: its server may
        have left out the blank line, and its usage counts all the same."""
        self._ended = True
        if self._splitter is None or self._broken:
            return
        if last := rest or self._splitter.close():
            self.feed(last, [Piece(last, last)])

    def _read(self, cut: Iterable[Piece]) -> None:
        for piece in cut:
            if self._splitter is not None:
                self._event(piece.raw)
            else:
                self._message(piece.text)

    def _feed(self, data: bytes) -> None:
        if self._stream is None or self.reader is None:
            self._size += len(data)
            if self._size <= _KEPT_BYTES:
                self._chunks.append(data)
        elif self._splitter is not None:
            for block in self._splitter.feed(data):
                self._event(block)
        elif self._frames is not None:
            for message in self._frames.feed(data):
                self._message(message.json)
            self._torn = self._frames.broken

    def _message(self, text: bytes) -> None:
        """One of AWS's, as JSON; b"" for bytes that are none, as are all behind them."""
        assert self.reader is not None
        assert self._stream is not None
        self._torn = self._torn or not text
        if self._torn:
            return
        if self.reader.wants(text) or ends.MARK.search(text):
            for value in lenient.values_of(text):
                self._stream.event(value)
                self._reason = ends.reason_in(unwrapped(value)) or self._reason

    def _event(self, block: bytes) -> None:
        assert self.reader is not None
        assert self._stream is not None
        self._last = block
        payload = sse.payload(block)
        ending = ends.MARK.search(block) is not None
        if payload is not None and (ending or self.reader.wants(block) or b'"error"' in block):
            for value in lenient.values_of(payload):
                self._stream.event(value)
                if ending:
                    self._reason = ends.reason_in(value) or self._reason

    @property
    def body(self) -> bytes:
        """The answer, where it came in one piece."""
        return b"".join(self._chunks)

    @property
    def reason(self) -> str:
        """Why the provider ended its answer, in its own word; "" as long as it has not said."""
        if self._reason or self._stream is not None or self.status >= 300 or self._size > _KEPT_BYTES:
            return self._reason
        if ends.MARK.search(body := self.body):
            for value in lenient.answer(body).values:
                self._reason = ends.reason_in(value) or self._reason
        return self._reason

    @property
    def cut(self) -> bool:
        """Whether it is a stream that has ended, and its provider had not: its connection did."""
        says = self._stream is not None and self.reader is not None and self.reader.dialect in _SAY_THEIR_END
        return says and self._ended and not self._reason and b"message_stop" not in self._last

    def reading(self) -> Reading:
        """What has been said of usage by now."""
        unread = Reading(conditions=self._place)
        if self.reader is None or self._broken:
            return unread
        if self._stream is not None:
            reading = self._stream.finish()
            more = self._torn and not self._reason and reading.source == "provider"
            return reading._replace(source="partial") if more else reading
        if self._size > _KEPT_BYTES:
            return unread
        return self.reader.answer(lenient.answer(self.body), self._context())
