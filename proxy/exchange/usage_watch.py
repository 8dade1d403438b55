"""Reads a stream's usage as its events pass, and keeps the stream's beginning, to count it where it states too little."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from pricing.usage import Reading
from proxy.dialects import turns
from proxy.dialects.stream_text import chat_text
from proxy.dialects.streams import CHAT, StreamForm
from proxy.exchange.kept_stream import KeptStream
from proxy.meters.failures import is_failure
from proxy.meters.local import llama_chat
from proxy.meters.reader import Context, Reader
from proxy.meters.translated import FIELD, translated
from proxy.wire import lenient

_NAMED = re.compile(rb"(?:event: [^\n]*\n)?data: (?=\{|\[DONE\]\Z)")


class UsageWatch:
    """One stream's usage. final: what was stated is the whole call's. last: the latest event with usage.
    timed: llama.cpp's chunks, which say so far in `timings`; only the last has `usage`. several: the answer has
    several sequences; the usage in a chunk is then its own one's alone."""

    def __init__(self, reader: Reader, context: Context, form: StreamForm, *, several: bool = False) -> None:
        self._reader = reader
        self._context = context
        self._form = form
        self._several = several
        self._mark = form.usage_mark if reader.hint is None else reader.hint
        self._also = reader.also
        self._stream = reader.stream(context)
        self._whole: lenient.Answer | None = None
        self._stated_at = 0
        self.kept = KeptStream()
        self.timed = reader is llama_chat
        self.translated = reader is translated
        # Besides what `kept` took.
        self.other_events = 0
        self.other_bytes = 0
        self.final = False
        self.last: dict[str, Any] = {}

    @property
    def events(self) -> int:
        """How many have passed."""
        return self.other_events + self.kept.taken

    @property
    def bytes_seen(self) -> int:
        return self.other_bytes + self.kept.taken_bytes

    def may_be_in(self, data: bytes) -> bool:
        """Whether there may be usage in `data`: searches of its bytes, no parsing."""
        find = data.find  # see `StreamGate._interesting`
        return (find(self._mark) >= 0 or (self._also != b"" and find(self._also) >= 0)) and self._reader.wants(data)

    def read(self, event: Mapping[str, Any]) -> None:
        """An event in which there may be usage, an end or an error."""
        self._stream.event(event)

    def note(self, event: dict[str, Any]) -> None:
        """An event in which usage is looked for: whether it says what the stream has come to by now, or in all."""
        if self.translated and FIELD in event:
            self._stated_at, self.final = self.events, True
            return
        self.last = event
        if self._several and event.get("choices"):
            return  # vLLM's, with `continuous_usage_stats` or `--enable-force-include-usage`
        if self._form.usage_of(event) is not None or (self.timed and isinstance(event.get("timings"), dict)):
            self._stated_at = self.events
            self.final = self.final or self._form.is_final(event)

    def take_whole(self, body: bytes, answer: lenient.Answer) -> None:
        """A whole answer came where events were expected: it says all that there is."""
        self.kept.add(body)
        self._whole = answer
        self.final = True

    @property
    def so_far(self) -> bool:
        """Whether what was stated covers all that has come until now."""
        return self.final or (self._stated_at > 0 and self._stated_at == self.events)

    @property
    def only_comments(self) -> bool:
        """Whether nothing has come but comments, by which a server keeps its caller waiting."""
        return all(not line or line.startswith(b":") for line in bytes(self.kept).splitlines())

    def pieces(self) -> Iterable[bytes]:
        """What is kept, for a look at it: made when it is looked at."""
        yield bytes(self.kept)

    @property
    def share_seen(self) -> float:
        """How much longer the stream was than what `events_seen` has of it (1.0: it has all)."""
        return max(1.0, self.bytes_seen / self.kept.size) if self.kept.size else 1.0

    def events_seen(self) -> list[Any]:
        """The stream's first events, parsed, for counting where no usage came, and for knowing the answer again."""
        kept = bytes(self.kept)
        events = _parsed(_plain_payloads(kept))
        return lenient.answer(kept).readable if events is None else events

    def answer_turns(self) -> list[bytes]:
        """The turns that the answer adds to its conversation; [] where unknown."""
        condensed = self.kept.condensed()
        payloads = None if condensed is None else _plain_payloads(condensed)
        if payloads is not None and self._form is CHAT and (text := chat_text(payloads[0])) is not None:
            return [turns.text_turn("assistant", text)]
        events = _parsed(payloads)
        return turns.answer_turns(self.events_seen() if events is None else events)

    def reading(self) -> Reading:
        """What the stream has said so far."""
        if self._whole is not None:
            return self._reader.answer(self._whole, self._context)
        return self._stream.finish()

    def final_reading(self) -> tuple[Reading, bool]:
        """What the whole stream said, and whether it said that the call failed: where no event looked as if it said anything,
        each is read. So it is where the call is said to have failed: only the others show whether anything was written."""
        reading = self.reading()
        says = reading.source == "partial" or (reading.source == "provider" and (reading.usage or reading.parts))
        if self._whole is not None or says:
            return reading, False
        again, failed = self._reader.stream(self._context), False
        for event in self.events_seen():
            again.event(event)
            failed = failed or (isinstance(event, dict) and is_failure(event))
        return again.finish(), failed


def _plain_payloads(data: bytes) -> tuple[bytes, int] | None:
    """Of a stream in which each event is one line `data: {...}`, with its name before it or without: their JSON, if it is that,
    as one list; and their number."""
    if data.find(b"\r") >= 0:  # Gemini's lines end with both
        data = data.replace(b"\r\n", b"\n")
    if not data.endswith(b"\n\n") or data.find(b"\r") >= 0:
        return None
    if data.startswith(b"data: {"):
        payloads = data[6:-2].split(b"\n\ndata: ")
    else:
        payloads = []
        for event in data[:-2].split(b"\n\n"):
            if (named := _NAMED.match(event)) is None:
                return None
            payloads.append(event[named.end() :])
    if payloads[-1] == b"[DONE]":
        payloads.pop()
    return b"[" + b",".join(payloads) + b"]", len(payloads)


def _parsed(payloads: tuple[bytes, int] | None) -> list[Any] | None:
    """The events of such a stream, read at once; None of any other."""
    if payloads is None:
        return None
    try:
        events = orjson.loads(payloads[0])
    except orjson.JSONDecodeError:
        return None
    return events if isinstance(events, list) and len(events) == payloads[1] else None
