"""What a reader is: how one wire format states its usage, for whole responses and for streams.

A format is two small functions. `read` takes a whole response into a `ReadingBuilder`. `fold` takes the events of a stream, one
by one, into a plain dict shaped like a whole response, so that `read` serves both: a stream cannot be read differently.
Usage in streams is cumulative nearly everywhere: `fold` overwrites, it does not add.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from pricing.usage import Quantity, Reading
from pricing.values import NOTHING, Value, frozen
from proxy.meters.failures import is_failure, wrote
from proxy.meters.reading_builder import ReadingBuilder, mapping, number, text
from proxy.wire import lenient

Read = Callable[[Mapping[str, Any], "Context", ReadingBuilder], None]
Fold = Callable[[dict[str, Any], Mapping[str, Any]], None]

# Names for "no tier in particular": the price is the ordinary one.
_SAME_TIER = {"fast": "priority"}  # OpenAI takes either word and answers with the second
# Words that no request buys: where a response repeats one that its request had, it is an echo, and confirms nothing.
_NOT_FOR_SALE = {"batch", "provisioned", "free"}
# What a request may say of its price, and by which names.
_ASKED = {"service_tier": "service_tier", "serviceTier": "service_tier", "speed": "speed", "inference_geo": "geo"}
_ORDINARY_TIERS = {"default", "standard", "standard_only", "auto", "on_demand", "unspecified", "not_available", "none"}


_NOTHING: Mapping[str, Any] = NOTHING


@frozen
class Context(Value):
    """What is known of a call besides its response.

    provider: whose prices. model: the name that was asked of the upstream. service_tier: the tier that whoever asks for
    the reading says was served; a tier that the response states wins over it. selector: facts that a response cannot state
    (proxy/CONTRACT.md#pricing-offline). response_headers: names in lower case. from_client: `request` is a client's, who may
    want it cheap: what it says of its price is `requested`, and no condition.
    """

    provider: str = ""
    endpoint: str = ""
    model: str = ""
    request: Mapping[str, Any] = _NOTHING
    response_headers: Mapping[str, str] = _NOTHING
    selector: Mapping[str, Any] = _NOTHING
    service_tier: str | None = None
    from_client: bool = False


NO_CONTEXT = Context()


def last_wins(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """The plainest fold: every field as it was last stated, null never erasing what was there."""
    state.update({name: value for name, value in event.items() if value is not None})


@frozen
class Reader:
    """One dialect.

    marks: finds, in the bytes of an event, what may be usage; events without it need not be parsed.
    hint: stands in every such event, for a search that costs less than that of `marks`; None where that is the word for
        usage in the dialect of the stream. b"": nothing does.
    also: stands in events that are billed beside the usage (calls of tools); b"": there are none.
    usage_key: where a usage object stands that was cut out of its response.
    facts: conditions that the dialect itself implies (batch results are batch-processed).
    """

    dialect: str
    read: Read
    fold: Fold = last_wins
    usage_key: str = "usage"
    marks: re.Pattern[bytes] | None = None
    hint: bytes | None = None
    also: bytes = b""
    facts: Mapping[str, str] = field(default_factory=dict)

    def whole(self, response: object, context: Context = NO_CONTEXT) -> Reading:
        """Read a whole response: parsed JSON of any shape. A list is a stream that came in one piece (Gemini's does)."""
        if isinstance(response, list):
            stream = self.stream(context)
            for event in response:
                stream.event(event)
            return stream.finish()
        builder = ReadingBuilder()
        if context.from_client:
            builder.requested = requested_by(context.request)
        if self.facts or context.selector:
            for name, value in {**self.facts, **context.selector}.items():
                builder.condition(name, value)
        if context.service_tier is not None:
            note_tier(builder, context.service_tier)
        body = mapping(response)
        self.read(body, context, builder)
        if not builder.has_usage and (_was_refused(context) or (is_failure(body) and not wrote(body))):
            builder.has_usage = True  # an error before any work is known to cost nothing
        _add_gpu_time(context, builder)
        # A count that cannot be read is not 0: the call is charged for more.
        if builder.unreadable and context.from_client:
            builder.partial = True
        return builder.reading()

    def answer(self, answer: lenient.Answer, context: Context = NO_CONTEXT) -> Reading:
        """Read what a body turned out to be, whatever was asked for: a whole response, or a stream in one piece."""
        if answer.streamed:
            return self.whole(answer.values, context)
        reading = self.whole(answer.values[0] if answer.values else {}, context)
        return reading._replace(source="partial") if answer.cut and reading.source == "provider" else reading

    def usage_only(self, usage: object, context: Context = NO_CONTEXT) -> Reading:
        """Read a usage object that was cut out of its response."""
        return self.whole({self.usage_key: usage}, context)

    def stream(self, context: Context = NO_CONTEXT) -> StreamReader:
        """A reader for one stream."""
        return StreamReader(self, context)

    def wants(self, payload: bytes) -> bool:
        """Whether an event may say something about usage. For most chunks of a stream this is all that is asked."""
        return self.marks is None or self.marks.search(payload) is not None


class StreamReader:
    """One stream being read: `event` for each parsed payload (in order), then `finish`."""

    __slots__ = ("_context", "_failed", "_last", "_reader", "_state", "_wrote")

    def __init__(self, reader: Reader, context: Context) -> None:
        self._reader = reader
        self._context = context
        self._state: dict[str, Any] = {}
        self._last: Mapping[str, Any] | None = None
        self._failed = self._wrote = False

    def event(self, payload: object) -> None:
        """Take one event in. What is not an object (`[DONE]`) is passed over; text and lists are opened."""
        if isinstance(payload, dict):
            self._reader.fold(self._state, payload)
            self._last = payload
            if not self._wrote:
                self._failed = self._failed or is_failure(payload)
                self._wrote = wrote(payload)
        elif isinstance(payload, list):
            for part in payload:
                self.event(part)
        elif isinstance(payload, str) and payload != "[DONE]":
            for value in lenient.answer(payload.encode("utf-8", "replace")).values:
                self.event(value)

    def finish(self) -> Reading:
        """What the stream said, however it ended. May be called again after more events."""
        reading = self._reader.whole(self._state, self._context)
        if reading.source != "none" or reading.usage or reading.parts or self._last is None:
            return reading
        if self._failed:  # an error before any work is known to cost nothing
            return reading if self._wrote else reading._replace(source="provider")
        return self._reader.whole(self._last, self._context)  # perhaps a whole response, sent as the only event


def requested_by(request: Mapping[str, Any]) -> dict[str, str]:
    """The conditions of its price that a client's request states: {} for nearly all."""
    if _ASKED.keys().isdisjoint(request):
        return {}
    builder = ReadingBuilder()
    for key, name in _ASKED.items():
        if key in request:
            value = text(request[key])
            if value and value.lower() not in _ORDINARY_TIERS:
                builder.note_requested(name, value)
    return builder.requested


def note_requested(builder: ReadingBuilder, context: Context, name: str, value: object) -> None:
    """Note what the request orders: from a client that is what it asks for, from the operator it is what was made."""
    (builder.note_requested if context.from_client else builder.condition)(name, value)


def note_tier(builder: ReadingBuilder, value: object) -> None:
    """Note the service tier; a later call (what the response says) replaces an earlier one (what the selector says)."""
    if not (name := text(value)):
        return
    if (requested := builder.requested.pop("service_tier", None)) in _NOT_FOR_SALE and requested == name.lower():
        return
    builder.conditions.pop("service_tier", None)
    if name.lower() == "batch":
        builder.condition("processing", "batch")
    elif name.lower() not in _ORDINARY_TIERS:
        builder.condition("service_tier", _SAME_TIER.get(name.lower(), name))


def first_mapping(source: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The first of `names` that holds an object with anything in it but zeros and nulls; an empty one where none does."""
    return next((value for name in names if any((value := mapping(source.get(name))).values())), mapping(None))


def merge_counts(old: Mapping[str, Any], new: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """Cumulative usage, newer over older: numbers never fall, null never erases, objects are merged field by field."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if value is None:
            continue
        if isinstance(value, dict) and isinstance(before, dict) and depth > 0:
            merged[name] = merge_counts(before, value, depth - 1)
        else:
            merged[name] = _larger(before, value)
    return merged


def _larger(before: object, value: object) -> object:
    old, new = _plain(before), _plain(value)
    return before if old is not None and new is not None and old > new else value


def _plain(value: object) -> Quantity | None:
    return number(value) if isinstance(value, (int, float)) else None


def _add_gpu_time(context: Context, builder: ReadingBuilder) -> None:
    """A server of one's own is paid by GPU time: wall time x GPUs, which only the caller knows."""
    if "gpus" not in context.selector:
        return
    gpus, seconds = builder.maybe(context.selector, "gpus"), builder.maybe(context.selector, "duration_seconds")
    if gpus and seconds:
        builder.add("gpu_second", gpus * seconds)


def _was_refused(context: Context) -> bool:
    status = number(context.selector.get("http_status"))
    return status is not None and status >= 400
