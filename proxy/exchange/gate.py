"""From the upstream to the client: bytes pass unchanged, the moment they arrive, while a meter watches.

The observer can never break the observed: when reading usage fails, the gate stops observing and says so, and the bytes
go on. No I/O here; `stream.py` does the reading and the sending.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from pricing.usage import Reading
from proxy.dialects.streams import CHAT, StreamForm
from proxy.exchange.usage_watch import UsageWatch
from proxy.meters.failures import is_failure
from proxy.meters.reader import Context, Reader
from proxy.meters.translated import FIELD
from proxy.wire import lenient, sse

COMMENT = b": keep-alive\n\n"
_LAST = b"[DONE]\n\n"
_SAYS_ERROR = re.compile(rb'"error"(?!\s*:\s*null)')


class Phase(Enum):
    """Where a stream is: it runs; its last event has passed; it ended inside an event; it runs on unobserved, since observing
    it failed."""

    RUNNING = "running"
    DONE = "done"
    TORN = "torn"
    UNOBSERVED = "unobserved"


class Fault(Enum):
    """Whether a stream failed: no; it said so itself; it ended too early without a word."""

    NONE = "none"
    SAID = "said"
    SILENT = "silent"


class Gate:
    """What a stream passes through on its way to the client. fault: how it went wrong, as far as it is known. between_events:
    whether nothing is held back, so that events that came whole may pass by `watch.kept.took`."""

    watch: UsageWatch
    phase: Phase
    fault: Fault
    between_events = False

    def feed(self, data: bytes) -> bytes:
        """What of `data` (and of what was held back) goes to the client now; of data that `watch.kept` has not taken."""
        raise NotImplementedError

    @property
    def had_last_event(self) -> bool:
        """Whether the event has passed that is known to be the last, so that the upstream is about to end by itself."""
        return False

    @property
    def comment_now(self) -> bytes:
        """What may go to the client now and says nothing; b"" inside an event, and where such streams have no comments."""
        return b""

    def final_reading(self) -> Reading:
        """What the whole stream said of its usage."""
        reading, failed = self.watch.final_reading()
        if failed and self.fault is Fault.NONE:
            self.fault = Fault.SILENT
        return reading


class StreamGate(Gate):
    """Watches one SSE stream for usage, and takes out what the client did not ask for.

    strip_usage: leave out the usage chunk that was only sent because we asked for it.
    strip_each: the same for the usage in every other chunk.
    before_done: called before the stream's last event passes; the bytes that it returns go out first.
    on_usage: what goes out for an event that has usage.
    form: how streams of this dialect state usage and end.
    sequences: of the answer.
    secrets: our own credentials: taken out of every event that is an error, or no event at all, by `redact`.
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
        secrets: tuple[bytes, ...] = (),
        redact: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._form = form
        self._end_mark = form.end_mark
        self._typed = bool(form.end_types)  # whose streams may end with `[DONE]` all the same
        self._splitter = sse.Splitter()
        self._strip_usage = strip_usage
        self._strip_each = strip_each
        self._before_done = before_done
        self._on_usage = on_usage
        self._secrets = secrets
        self._redact = redact
        self.watch = UsageWatch(reader, context, form, several=sequences > 1)
        self._kept = self.watch.kept
        self.between_events = True
        self.phase = Phase.RUNNING
        self.fault = Fault.NONE

    @property
    def had_last_event(self) -> bool:
        return self.phase is Phase.DONE

    @property
    def comment_now(self) -> bytes:
        return COMMENT if self.between_events else b""

    def feed(self, data: bytes) -> bytes:
        watch = self.watch
        watch.other_bytes += len(data)
        if self.between_events and data.endswith(b"\n\n") and not self._interesting(data):
            # What most other reads are: whole events, nothing in them to read or to take out.
            count = data.count(b"\n\n")
            watch.other_events += count
            if count == 1:
                self._kept.look_at(data)
            self._kept.add(data)
            return data
        blocks = self._splitter.feed(data)
        self.between_events = self._splitter.empty
        if len(blocks) == 1:
            return self._pass(blocks[0])
        return b"".join([self._pass(block) for block in blocks])

    def close(self, then: bytes = b"") -> bytes:
        """The upstream has ended: what is still held back, and `then` behind it as an event of its own.

        Half of an event is not passed on: nobody could read it, nor what follows.
        """
        rest = self._splitter.close()
        if not rest:
            return then
        if lenient.looks_like_json(rest) and self.watch.only_comments:
            answer = lenient.answer(rest)
            if answer.values and not answer.cut:
                return self._take_whole(rest, answer) + then
            if _says_failure(answer):  # damaged, so no client is sent it; what it says is clear nevertheless
                self.watch.take_whole(rest, answer)
                self.fault = Fault.SAID
        if _is_torn(rest):
            if self.watch.only_comments and lenient.answer(rest).text:
                self.watch.kept.add(rest)  # a text where events were expected: it is counted
            self.phase = Phase.TORN
            return rest[: len(rest) - len(rest.lstrip(b"\r\n"))] + then  # of the line end before it
        passed = self._pass(rest)
        return passed + (b"\n\n" if passed.strip(b"\r\n") and then else b"") + then

    def _take_whole(self, body: bytes, answer: lenient.Answer) -> bytes:
        self.watch.take_whole(body, answer)
        self.phase = Phase.DONE
        failed = _says_failure(answer)
        self.fault = Fault.SAID if failed else Fault.NONE
        return self._redact(body) if failed else body

    def finish(self, too_early: Callable[[], bytes]) -> bytes:
        """As `close`, where the upstream ended as it should; what `too_early` gives follows where it did so in the
        middle.

        Some dialects end without saying so.
        """
        rest = self.close()
        behind = b"\n\n" if rest.strip(b"\r\n") else b""
        if self.phase is Phase.TORN or (self._form.must_end and not self.complete):
            if self.fault is Fault.SAID:
                return rest
            self.fault = Fault.SILENT
            return rest + behind + too_early()
        if self.phase is Phase.DONE or self._before_done is None:
            return rest
        self.phase = Phase.DONE
        return rest + behind + self._before_done()

    def _interesting(self, data: bytes) -> bool:
        """Whether there may be usage, an end or an error in `data`: some searches of its bytes, no parsing."""
        # `x in data` makes up an error first, in case that x is a number, which takes five times as long.
        find = data.find
        if find(self._end_mark) >= 0 or (find(b'"error"') >= 0 and _SAYS_ERROR.search(data) is not None):
            return True
        if self.watch.may_be_in(data) or (self._typed and data.endswith(_LAST)):
            return True
        for secret in self._secrets:  # one, nearly always: this runs for every read of a stream
            if find(secret) >= 0:
                return True
        return False

    def _holds_secret(self, data: bytes) -> bool:
        return any(secret in data for secret in self._secrets)

    def _pass(self, block: bytes) -> bytes:
        self.watch.other_events += 1
        self.watch.kept.add(block)
        if self._holds_secret(block) and not _is_written(block):
            block = self._redact(block)
        if self.phase is Phase.UNOBSERVED:
            return block
        try:
            return self._observe(block)
        except Exception:  # noqa: BLE001 - the observer must not break the observed, whatever is wrong with it
            self.phase = Phase.UNOBSERVED
            return block

    def _observe(self, block: bytes) -> bytes:
        payload = sse.payload(block)
        if payload is None:
            return block
        stated = self.watch.may_be_in(block)
        fails = b'"error"' in block and _SAYS_ERROR.search(block) is not None
        ends = self._end_mark in block or (self._typed and payload == b"[DONE]")
        if ends and payload.strip() == b"[DONE]":
            return self._end(block)
        if not stated and not fails and not ends:
            return block
        out = block
        for value in lenient.values_of(payload):
            for event in (value,) if isinstance(value, dict) else _within(value):
                self.watch.read(event)
                if (fails or self._typed) and is_failure(event):
                    self.fault = Fault.SAID
                if stated and event is value:
                    out = self._usage_block(event, out)
                elif stated:
                    self.watch.note(event)
                if ends and self._form.is_end(event):
                    out = self._end(out)
        return out

    def _end(self, block: bytes) -> bytes:
        before = self._before_done() if self._before_done is not None and self.phase is not Phase.DONE else b""
        self.phase = Phase.DONE
        self.watch.final = True
        return before + block

    def _usage_block(self, event: dict[str, Any], block: bytes) -> bytes:
        self.watch.note(event)
        if self.watch.translated and FIELD in event:
            return b""
        if self._strip_usage and event.get("choices") == []:
            return b""
        if self._strip_each and event.get("choices"):
            event.pop("timings" if self.watch.timed else "usage", None)
            return b"data: " + lenient.dumps(event) + b"\n\n"
        return self._on_usage(event, block) if self._on_usage is not None else block

    @property
    def complete(self) -> bool:
        """Whether the client has the whole answer, its last event or not."""
        if self.phase in (Phase.DONE, Phase.TORN):
            return self.phase is Phase.DONE
        return self._form.finished(event for event in self.watch.events_seen() if isinstance(event, dict))


def _says_failure(answer: lenient.Answer) -> bool:
    return any(isinstance(value, dict) and is_failure(value) for value in answer.values)


def _within(value: Any) -> Iterator[dict[str, Any]]:
    """The events in an event that is none itself: a list of them, or a text that has them."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
        elif isinstance(part, list):
            waiting += reversed(part)
        elif isinstance(part, str) and part != "[DONE]":
            waiting += reversed(lenient.answer(part.encode("utf-8", "replace")).values)


def _is_torn(block: bytes) -> bool:
    """Whether a block that lacks its end lacks more than the blank line."""
    payload = sse.payload(block)
    if payload is None:
        text = block.lstrip(b"\r\n")  # what a line end that was cut in two leaves
        return bool(text) and not text.startswith(b":")
    if payload.strip() == b"[DONE]":
        return False
    return not lenient.values_of(payload)


def _is_written(block: bytes) -> bool:
    """Whether an event is a piece of an answer: no error, and nothing that only looks like an event."""
    payload = sse.payload(block)
    values = lenient.values_of(payload) if payload is not None else []
    return bool(values) and not any(isinstance(value, dict) and is_failure(value) for value in values)
