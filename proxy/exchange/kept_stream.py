"""The beginning of a stream, for counting what it says, and for knowing its answer again.

Nearly all events of nearly every stream are alike but for one text: then only the texts are held, a twentieth of their
bytes, and what there is to find in such an event was looked for once, in the first of them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import orjson

from proxy.meters.failures import is_failure
from proxy.wire import sse

MOST_BYTES = 1024 * 1024

# Values that are a text of the answer, and nothing that decides what an event is.
_NAME = rb'"(?:content|text|delta|reasoning_content|reasoning|thinking|partial_json|arguments)"\s*:\s*"'
_TEXT = re.compile(_NAME + rb'([^"\\\r\n]*)"')
_SAID = re.compile(_NAME + rb'[^"]')
# What stays within its JSON string, and within its line.
_plain_text = re.compile(rb'[^"\\\r\n]*').fullmatch
_TRIES = 5  # for streams whose events differ in more than a text (OpenAI's have `obfuscation`)


class Alike(NamedTuple):
    """Events that are one JSON object each: `head`, a text, `tail`. The text is a value's, so whatever it says, the event has
    no other names, no other end and no error. It is the event's only one, or `condensed` would say another but once."""

    head: bytes
    head_size: int
    tail: bytes
    tail_size: int

    def texts_of(self, data: bytes) -> bytes | None:
        """Their texts, each with a line end behind it, where `data` is such events; they may have escapes."""
        if len(data) < self.head_size + self.tail_size or not (data.startswith(self.head) and data.endswith(self.tail)):
            return None
        texts = data[self.head_size : -self.tail_size].split(self.tail + self.head)
        joined = b"\n".join([*texts, b""])
        return joined if joined.count(b"\n") == len(texts) else None


def alike(event: bytes) -> Alike | None:
    """Events that are like this one but for a text; `event` is one whole event, in which there is nothing but an answer."""
    payload = sse.payload(event)
    if payload is None or event.find(b"\r") >= 0 or not event.endswith(payload + b"\n\n"):
        return None
    begin = len(event) - len(payload) - 2
    match = _TEXT.search(event, begin)
    if match is None or event.find(b"\n\n") != len(event) - 2:
        return None
    try:
        value = orjson.loads(payload)  # where this is JSON, what matched is a field and its value
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or is_failure(value):
        return None
    head, tail = event[: match.start(1)], event[match.end(1) :]
    if _SAID.search(head + tail) is not None:
        return None
    return Alike(head, len(head), tail, len(tail))


class KeptStream:
    """The first megabyte. size: how much of the stream that is, which is not how much is held."""

    __slots__ = ("_alike", "_parts", "_texts", "_tries", "size")

    def __init__(self) -> None:
        self.size = 0
        # Bytes as they came, or texts of events that are alike. Each in one piece: thousands of small ones would leave holes.
        self._parts: list[tuple[Alike | None, bytearray]] = []
        self._alike: Alike | None = None
        self._texts: bytearray | None = None  # the last part, where it is of such events
        self._tries = _TRIES

    def took(self, data: bytes) -> bool:
        """Keep another event like those before it; whether it is one, and nothing else is in it but its text. `data` begins
        where an event does."""
        like = self._alike
        if like is None:
            return False
        head, head_size, tail, tail_size = like
        if not (data.startswith(head) and data.endswith(tail)):
            return False
        end = len(data) - tail_size
        if _plain_text(data, head_size, end) is None:
            return False
        if self.size < MOST_BYTES:
            self.size += len(data)
            texts = self._texts
            if texts is None:
                texts = self._begin(like)
            texts += data[head_size:end]
            texts += b"\n"
        return True

    def add(self, data: bytes) -> None:
        """Keep what came, whatever it is."""
        if self.size >= MOST_BYTES:
            return
        self.size += len(data)
        if self._alike is not None and (texts := self._alike.texts_of(data)) is not None:
            held = self._begin(self._alike) if self._texts is None else self._texts
            held += texts
            return
        if self._texts is not None or not self._parts:
            self._parts.append((None, bytearray()))
            self._texts = None
        held = self._parts[-1][1]
        held += data

    def look_at(self, event: bytes) -> None:
        """`event` is an answer's, and nothing else: those behind it may be like it."""
        if event.startswith(b":"):
            return  # a comment; some servers send many before the first word
        before = self._alike
        if before is not None and event.startswith(before.head) and event.endswith(before.tail):
            return
        if self._texts is not None and self._texts[:4096].count(b"\n") > _TRIES:
            self._tries = _TRIES  # it was worth it
        if self._tries:
            self._tries -= 1
            if (like := alike(event)) is not None:
                self._alike, self._texts = like, None

    def _begin(self, like: Alike) -> bytearray:
        texts = self._texts = bytearray()
        self._parts.append((like, texts))
        return texts

    def __bytes__(self) -> bytes:
        """What was kept, as it came."""
        return b"".join([_whole(like, held) for like, held in self._parts])

    def condensed(self) -> bytes | None:
        """The same, with one event in place of neighbours that are alike, which says the texts of all; None where a text is not
        whole by itself."""
        parts: list[bytes | bytearray] = []
        for like, held in self._parts:
            if like is None:
                parts.append(held)
            elif _are_whole(held):
                parts += (like.head, held.replace(b"\n", b""), like.tail)
            else:
                return None
        return b"".join(parts)


def _whole(like: Alike | None, held: bytearray) -> bytes:
    if like is None:
        return bytes(held)
    return like.head + held[:-1].replace(b"\n", like.tail + like.head) + like.tail


def _are_whole(texts: bytearray) -> bool:
    """Whether each text, up to its line end, is the whole content of a JSON string, as UTF-8."""
    if not texts.isascii():
        try:
            texts.decode()
        except UnicodeDecodeError:
            return False
    if texts.find(b"\\") >= 0:
        texts = texts.replace(b"\\\\", b"").replace(b'\\"', b"")
        if texts.find(b"\\\n") >= 0 or texts.find(b"\\u") >= 0:
            return False
    return texts.find(b'"') < 0
