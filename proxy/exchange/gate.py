"""From the upstream to the client: bytes pass unchanged, the moment they arrive, while a meter watches.

The observer can never break the observed: when reading usage fails, the gate stops observing and says so, and the bytes
go on. No I/O here; `stream.py` does the reading and the sending.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from pricing.units import INPUT_SIDE
from pricing.usage import Reading
from proxy.dialects.streams import CHAT, StreamForm
from proxy.meters.failures import is_failure
from proxy.meters.local import llama_chat
from proxy.meters.reader import Context, Reader
from proxy.wire import lenient, sse

_OUTPUTS = ("output", "reasoning", "audio_out", "image_out", "video_out")
_LAST = b"[DONE]\n\n"
_SAYS_ERROR = re.compile(rb'"error"(?!\s*:\s*null)')
_KEPT_BYTES = 1024 * 1024  # of a stream, for counting its text should it end without usage

# Response headers that the client gets. Everything else stays here: cookies, servers' names, hop-by-hop fields.
_PASSED = frozenset({
    b"content-type", b"content-encoding", b"retry-after", b"retry-after-ms", b"openai-processing-ms", b"openai-version",
})  # fmt: skip
_PASSED_PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-")


def passed_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Those of an upstream's response headers that a client gets; its request id under a name of its own."""
    passed = []
    for name, value in headers:
        if name in _PASSED or name.startswith(_PASSED_PREFIXES):
            passed.append((name, value))
        elif name in (b"x-request-id", b"request-id"):
            passed.append((b"x-upstream-request-id", value))
    return passed


class StreamGate:
    """Watches one SSE stream for usage, and takes out what the client did not ask for.

    strip_usage: leave out the usage chunk that was only sent because we asked for it.
    strip_each: the same for the usage in every other chunk.
    before_done: called before the stream's last event passes; the bytes that it returns go out first.
    on_usage: what goes out for an event that has usage.
    form: how streams of this dialect state usage and end.
    sequences: of the answer; where there are several, the usage in a chunk is its own one's alone.
    """

    def __init__(
        self,
        reader: Reader,
        context: Context,
        *,
        strip_usage: bool,
        strip_each: bool = False,
        before_done: Callable[[], bytes] | None = None,
        on_usage: Callable[[dict[str, Any], bytes], bytes] | None = None,
        form: StreamForm = CHAT,
        sequences: int = 1,
    ) -> None:
        self._form = form
        self._reader = reader
        self._timed = reader is llama_chat  # whose chunks say so far in `timings`; only the last has `usage`
        self._end_mark = form.end_mark
        self._typed = bool(form.end_types)  # whose streams may end with `[DONE]` all the same
        self._mark = form.usage_mark if reader.hint is None else reader.hint
        self._stream = reader.stream(context)
        self._splitter = sse.Splitter()
        self._strip_usage = strip_usage
        self._strip_each = strip_each
        self._several = sequences > 1
        self._told_at = 0
        self._told_final = False
        self._before_done = before_done
        self._on_usage = on_usage
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self.events = 0
        self.bytes_seen = 0
        self.done = False
        self.upstream_error = self.told_error = False
        self.torn = False
        self.broken = False
        self.last_usage: dict[str, Any] = {}
        self._context = context
        self._whole: lenient.Answer | None = None

    def feed(self, data: bytes) -> bytes:
        """What of `data` (and of what was held back) goes to the client now."""
        self.bytes_seen += len(data)
        if data.endswith(b"\n\n") and self._splitter.empty and not self._interesting(data):
            # What most reads are: whole events, nothing in them to read or to take out.
            self.events += data.count(b"\n\n")
            self._keep(data)
            return data
        blocks = self._splitter.feed(data)
        if len(blocks) == 1:
            return self._pass(blocks[0])
        return b"".join([self._pass(block) for block in blocks])

    @property
    def between_events(self) -> bool:
        """Whether the client has got whole events only."""
        return self._splitter.empty

    def close(self, then: bytes = b"") -> bytes:
        """The upstream has ended: what is still held back, and `then` behind it as an event of its own.

        Half of an event is not passed on: nobody could read it, nor what follows.
        """
        rest = self._splitter.close()
        if not rest:
            return then
        if lenient.looks_like_json(rest) and (answer := lenient.answer(rest)).values and not answer.cut:
            return self._take_whole(rest, answer) + then
        if _is_torn(rest):
            self.torn = True
            return rest[: len(rest) - len(rest.lstrip(b"\r\n"))] + then  # of the line end before it
        passed = self._pass(rest)
        return passed + (b"\n\n" if passed.strip(b"\r\n") and then else b"") + then

    def _take_whole(self, body: bytes, answer: lenient.Answer) -> bytes:
        """A whole answer came where events were expected: it says all that there is."""
        self._keep(body)
        self._whole = answer
        self.done = self._told_final = True
        failed = any(isinstance(value, dict) and is_failure(value) for value in answer.values)
        self.upstream_error = self.told_error = failed
        return body

    def finish(self, too_early: bytes) -> bytes:
        """As `close`, where the upstream ended as it should; `too_early` follows where it did so in the middle.

        Some dialects end without saying so.
        """
        rest = self.close()
        if self.torn or (self._form.must_end and not self.complete):
            self.upstream_error = True
            return rest + (b"" if self.told_error else (b"\n\n" if rest.strip(b"\r\n") else b"") + too_early)
        if self.done or self._before_done is None:
            return rest
        self.done = True
        return rest + (b"\n\n" if rest.strip(b"\r\n") else b"") + self._before_done()

    def _interesting(self, data: bytes) -> bool:
        """Whether there may be usage, an end or an error in `data`: three searches of its bytes, no parsing."""
        return (
            self._end_mark in data
            or (b'"error"' in data and _SAYS_ERROR.search(data) is not None)
            or (self._mark in data and self._reader.wants(data))
            or (self._typed and data.endswith(_LAST))
        )

    def _keep(self, data: bytes) -> None:
        if self._kept_bytes < _KEPT_BYTES:
            self._kept.append(data)
            self._kept_bytes += len(data)

    def _pass(self, block: bytes) -> bytes:
        self.events += 1
        self._keep(block)
        if self.broken:
            return block
        try:
            return self._observe(block)
        except Exception:  # noqa: BLE001 - the observer must not break the observed, whatever is wrong with it
            self.broken = True
            return block

    def _observe(self, block: bytes) -> bytes:
        payload = sse.payload(block)
        if payload is None:
            return block
        told = self._mark in block and self._reader.wants(block)
        fails = b'"error"' in block and _SAYS_ERROR.search(block) is not None
        ends = self._end_mark in block or (self._typed and payload == b"[DONE]")
        if ends and payload.strip() == b"[DONE]":
            return self._end(block)
        if not told and not fails and not ends:
            return block
        out = block
        for event in lenient.values_of(payload):
            if isinstance(event, dict):
                self._stream.event(event)
                if fails and is_failure(event):
                    self.upstream_error = self.told_error = True
                if told:
                    out = self._usage_block(event, out)
                if ends and self._form.is_end(event):
                    out = self._end(out)
        return out

    def _end(self, block: bytes) -> bytes:
        before = self._before_done() if self._before_done is not None and not self.done else b""
        self.done = self._told_final = True
        return before + block

    def _usage_block(self, event: dict[str, Any], block: bytes) -> bytes:
        self.last_usage = event
        if self._several and event.get("choices"):
            pass  # vLLM's, with `continuous_usage_stats` or `--enable-force-include-usage`
        elif self._form.usage_of(event) is not None or (self._timed and isinstance(event.get("timings"), dict)):
            self._told_at = self.events
            self._told_final = self._told_final or self._form.is_final(event)
        if self._strip_usage and event.get("choices") == []:
            return b""
        if self._strip_each and event.get("choices"):
            event.pop("timings" if self._timed else "usage", None)
            return b"data: " + lenient.dumps(event) + b"\n\n"
        return self._on_usage(event, block) if self._on_usage is not None else block

    @property
    def kept(self) -> Sequence[bytes]:
        """The stream's first megabyte."""
        return self._kept

    def events_seen(self) -> list[Any]:
        """The stream's first events, parsed, for counting where no usage came, and for knowing the answer again."""
        plain = _plain_events(b"".join(self._kept))
        if plain is not None:
            return plain
        return lenient.answer(b"".join(self._kept)).values

    @property
    def told_final(self) -> bool:
        """Whether what the stream has said of its usage is the whole call's."""
        return self._told_final

    @property
    def told_so_far(self) -> bool:
        """Whether it covers all that has come until now."""
        return self.told_final or (self._told_at > 0 and self._told_at == self.events)

    @property
    def share_seen(self) -> float:
        """How much longer the stream was than what `events_seen` has of it (1.0: it has all)."""
        return max(1.0, self.bytes_seen / self._kept_bytes) if self._kept_bytes else 1.0

    def reading(self) -> Reading:
        """What the stream has said so far."""
        if self._whole is not None:
            return self._reader.answer(self._whole, self._context)
        return self._stream.finish()

    def final_reading(self) -> Reading:
        """What the whole stream said: where no event looked as if it said anything, each is read."""
        reading = self.reading()
        if reading.source != "none":
            return reading
        again = self._reader.stream(self._context)
        for event in self.events_seen():
            again.event(event)
            self.upstream_error = self.upstream_error or (isinstance(event, dict) and is_failure(event))
        return again.finish()

    @property
    def complete(self) -> bool:
        """Whether the client has the whole answer, its last event or not."""
        if self.done or self.torn:
            return self.done
        return self._form.finished(event for event in self.events_seen() if isinstance(event, dict))


def _plain_events(data: bytes) -> list[Any] | None:
    """The events of a stream in which each is one line `data: {...}`, read at once; None where one is anything else."""
    if not data.startswith(b"data: {") or not data.endswith(b"\n\n") or b"\r" in data:
        return None
    payloads = data[6:-2].split(b"\n\ndata: ")
    if payloads[-1] == b"[DONE]":
        payloads.pop()
    try:
        events = orjson.loads(b"[" + b",".join(payloads) + b"]")
    except orjson.JSONDecodeError:
        return None
    return events if isinstance(events, list) and len(events) == len(payloads) else None


def _is_torn(block: bytes) -> bool:
    """Whether a block that lacks its end lacks more than the blank line."""
    payload = sse.payload(block)
    if payload is None:
        text = block.lstrip(b"\r\n")  # what a line end that was cut in two leaves
        return bool(text) and not text.startswith(b":")
    if payload.strip() == b"[DONE]":
        return False
    return not lenient.values_of(payload)


# Something that a model wrote, in any dialect: text, or what it calls.
_WRITTEN = re.compile(
    rb'"(?:content|text|delta|refusal|arguments|partial_json|thinking|reasoning_content|reasoning)"\s*:\s*"[^"]'
    rb'|"(?:tool_use|functionCall)"'
)


def shows_output(pieces: Iterable[bytes]) -> bool:
    """Whether a model wrote something in (the beginning of) an answer."""
    return any(_WRITTEN.search(piece) for piece in pieces)


def doubtful(reading: Reading, pieces: Iterable[bytes]) -> bool:
    """Whether a stated usage leaves something out, contradicts itself without saying any visible output, or says none
    though the answer shows some: then what was seen is counted."""
    if reading.source == "partial":
        return True
    outputs = [unit for unit in _OUTPUTS if reading.usage.get(unit)]
    if "inconsistent_usage" in reading.flags and (
        outputs in ([], ["reasoning"]) or INPUT_SIDE.isdisjoint(reading.usage)  # a count that is none is not 0
    ):
        return True
    return not outputs and shows_output(pieces)
