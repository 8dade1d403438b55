"""JSON as servers really send it. Strict first; where that fails, what can be understood of it all the same.

Seen in the field: half surrogates and broken UTF-8 (a token that ends in the middle of a character), NaN and Infinity
(Python's own writer), a byte order mark, UTF-16, commas before a closing bracket, events where a whole answer was asked for
and the other way round, answers that are cut off, or sent twice. Nothing here raises; the work is O(bytes), and what would
take a great deal of memory (megabytes of `[]`) is not opened: of such an answer only its usage is looked for.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Sequence
from typing import Any

import orjson

from pricing.values import Value, frozen
from proxy.wire import sse
from proxy.wire.json_weight import parsed_bytes

# A larger body that was cut off is not mended: finding what is open in it takes some 50 ms a megabyte.
MAX_MENDED_BYTES = 1024 * 1024

# A value that takes more once it is parsed is not made: a second's work, in which nothing else would be done. No text of
# fewer bytes comes to that.
MAX_PARSED_BYTES = 64 * 1024 * 1024
_NEVER_HEAVY_BYTES = MAX_PARSED_BYTES // 128
_ENDS_BYTES = 64 * 1024  # of what is not opened, at either end, in which its usage is looked for
_USAGE = re.compile(rb'(?<!\\)"(usageMetadata|usage)"\s*:\s*(?=\{)')
_MOST_TRIED = 4
_FACTS = re.compile(rb'(?<!\\)"(model|modelVersion|service_tier)"\s*:\s*"([^"\\]{1,200})"')

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_GUARD = re.compile(r"\A(?:\)\]\}'?,?|while\(1\);|for\(;;\);)\s*")
# A string (the last one may have no end), or a comma with nothing behind it.
_LAST_COMMA = re.compile(r'(?P<string>"(?:[^"\\]++|\\.?)*+(?:"|\Z))|,(?=\s*+[}\]])', re.DOTALL)

_BLANK = b"\xef\xbb\xbf \t\r\n"
_EVENT_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
_DATA_LINE = re.compile(rb"[\r\n](?:\xef\xbb\xbf)?data:")  # behind a first event that is damaged
_DECODER = json.JSONDecoder(strict=False)
# An escape: a pair of surrogates, one that stands alone, or any other.
_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(
    rf"\\(?:u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}|(?P<half>u[dD][89a-fA-F]{_HEX}{{2}})|.)", re.DOTALL
)
# Strings (the last one may have no end), brackets, commas: these show how deep a text is.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?P<end>"?)|[{}\[\],]', re.DOTALL)
_CLOSERS = {"{": "}", "[": "]"}
_BARE_END = re.compile(r'[^\s"{}\[\],:]+\Z')  # a number that goes on behind the cut would be read as another
_PAGE = re.compile(rb"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE)
_HALF_ESCAPE = re.compile(r"(?<!\\)(?P<whole>(?:\\\\)*)\\u[0-9a-fA-F]{0,3}\Z")


@frozen
class Answer(Value):
    """A body, opened. streamed: `values` are a stream's events; else there is one value, or none. cut: its end is missing.
    cut_in_text: and it is missing from the middle of a text on. text: a body that is none of these and can be read."""

    values: list[Any]
    streamed: bool = False
    cut: bool = False
    cut_in_text: bool = False
    text: str = ""

    @property
    def readable(self) -> list[Any]:
        """All that can be counted where nothing says what was used."""
        return [self.text] if self.text and not self.values else self.values


def loads(data: bytes) -> Any:
    """The JSON value that `data` is; None where it is none. What no string can hold is replaced (U+FFFD)."""
    if _is_heavy(data):
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _loads_text(_text(data)) if data else None


def dumps(value: Any) -> bytes:
    """`value` as JSON (NaN as null)."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a number of more than 64 bits
        return json.dumps(value, separators=(",", ":")).encode()


def looks_like_json(body: bytes) -> bool:
    """Whether a body (or its beginning) is meant to be JSON, whatever its type says."""
    return body.lstrip(_BLANK)[:1] in (b"{", b"[")


def looks_like_events(body: bytes) -> bool:
    """Whether a body (or its beginning) is a stream of server-sent events."""
    return body.lstrip(_BLANK).startswith(_EVENT_STARTS)


def values_of(payload: bytes) -> list[Any]:
    """The JSON values in the data of one event: one, or several where a server left out the blank lines between them."""
    if _is_heavy(payload):
        return []
    try:
        value = orjson.loads(payload)
        return [] if value is None else [value]
    except orjson.JSONDecodeError:
        if payload.strip() in (b"", b"[DONE]"):
            return []
        value = _loads_text(_text(payload))
        values = _several(payload) if value is None else [value]
        if not values and (value := _tidied(payload)) is not None:
            return [value]
        return values


def answer(body: bytes) -> Answer:
    """Whatever an upstream sent as its answer: JSON, lines of JSON, events; what was cut off is read as far as it goes."""
    if _is_heavy(body) and looks_like_json(body) and not _has_lines(body):
        return _unopened(body)
    value = loads(body)
    if value is not None:
        return Answer([value])
    events = looks_like_events(body) or _DATA_LINE.search(body) is not None
    if events:
        framer = sse.Framer()
        payloads = (*framer.feed(body), *framer.close())
        values = [value for payload in payloads for value in values_of(payload)]
        if values or not looks_like_json(body := _behind_comments(body)):
            return Answer(values, streamed=True, text="" if values else _plain_texts(payloads))
    values = _several(body) if looks_like_json(body) else []
    if values:
        same = all(one == values[0] for one in values)  # the same answer twice
        return Answer(values[:1] if same else values, streamed=not same)
    if events:
        return Answer([], streamed=True)
    if (value := _tidied(body)) is not None:
        return Answer([value])
    if not looks_like_json(body):
        return Answer([], text=_plain_text(body))
    value = mended(body)
    if value is None:
        return Answer([])
    return Answer([value], cut=True, cut_in_text=_ends_in_text(body))


def _plain_text(body: bytes) -> str:
    """The text that a body is; "" for a page, a picture or anything else that nobody wrote for the caller."""
    if len(body) > MAX_MENDED_BYTES or b"\0" in body or _PAGE.match(body):
        return ""
    if body.strip() == b"null" or any(start.startswith(body.strip()) for start in _EVENT_STARTS):
        return ""  # no text: it is empty, or the beginning of an event
    try:
        return body.decode()
    except UnicodeDecodeError:
        return ""


def _plain_texts(payloads: Sequence[bytes]) -> str:
    """The text that a stream's events are, one piece each, where none of them is JSON."""
    texts = [payload for payload in payloads if payload.strip() not in (b"", b"[DONE]")]
    return "" if any(map(looks_like_json, texts)) else _plain_text(b"".join(texts))


def _tidied(data: bytes) -> Any:
    """The value of a text that needs more than a tolerant reading: in UTF-16, behind a guard against scripts, with commas
    before its closing brackets. None where that does not make it one."""
    if len(data) > MAX_MENDED_BYTES:
        return None
    text = data.decode("utf-16", "replace") if data.startswith(_UTF_16) else _text(data)
    tidied = _LAST_COMMA.sub(r"\g<string>", _GUARD.sub("", text))
    return None if tidied == text and not data.startswith(_UTF_16) else _loads_text(tidied)


def _behind_comments(body: bytes) -> bytes:
    """What stands behind the comments that a server kept its caller waiting with, before it sent JSON."""
    lines = body.splitlines(keepends=True)
    first = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith(b":")), len(lines))
    return b"".join(lines[first:])


def _is_heavy(data: bytes) -> bool:
    return len(data) > _NEVER_HEAVY_BYTES and parsed_bytes(data) > MAX_PARSED_BYTES


def _has_lines(body: bytes) -> bool:
    """Whether its first line is a value, so that each can be looked at for itself."""
    line, end, _ = body.lstrip(_BLANK).partition(b"\n")
    return bool(end) and loads(line) is not None


def _unopened(body: bytes) -> Answer:
    """What the ends of a body say of its usage, as a body whose rest is missing. Names in strings have escaped quotes."""
    value: dict[str, Any] = {}
    for end in (body[-_ENDS_BYTES:], body[:_ENDS_BYTES]):
        for name, text in _FACTS.findall(end):
            value.setdefault(name.decode(), text.decode("utf-8", "replace"))
        for match in reversed(list(_USAGE.finditer(end))[-_MOST_TRIED:]):
            try:
                usage, _ = _DECODER.raw_decode(_text(end[match.end() :]))
            except (ValueError, RecursionError):
                continue
            value.setdefault(match[1].decode(), usage)
    return Answer([value] if value else [], cut=True)


def _ends_in_text(data: bytes) -> bool:
    """Whether the last string that begins in it has no end."""
    last = deque(_TOKEN.finditer(_text(data)), maxlen=1)
    return bool(last) and last[0]["end"] == ""


def mended(data: bytes) -> Any:
    """The JSON value whose beginning `data` is, with what was open closed; None where there is none."""
    if len(data) > MAX_MENDED_BYTES:
        return None
    text, end = _text(data), ""
    openers: tuple[Any, str] | None = None  # a list from the innermost out
    before_comma: tuple[int, tuple[Any, str] | None] | None = None
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece in _CLOSERS:
            openers = (openers, _CLOSERS[piece])
        elif piece in ("}", "]"):
            if openers is None or openers[1] != piece:
                return None
            openers = openers[0]
        elif piece == ",":
            before_comma = (match.start(), openers)
        elif match["end"] == "":
            text, end = _HALF_ESCAPE.sub(r"\g<whole>", text[: match.end()]), '"'
    text = text + end if end else _BARE_END.sub("", text)
    attempts = [text + tail + _closers(openers) for tail in ("", ":null", "null")]
    if before_comma is not None:
        attempts.append(text[: before_comma[0]] + _closers(before_comma[1]))
    return next((value for attempt in attempts if (value := _loads_text(attempt)) is not None), None)


def _closers(openers: tuple[Any, str] | None) -> str:
    closers = []
    while openers is not None:
        openers, closer = openers
        closers.append(closer)
    return "".join(closers)


def _text(data: bytes) -> str:
    text = data.strip(_BLANK).decode("utf-8", "replace")
    return _ESCAPE.sub(lambda escape: "\\ufffd" if escape["half"] else escape[0], text) if "\\u" in text else text


def _loads_text(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _several(data: bytes) -> list[Any]:
    """The values of a text that has several, one behind the other or each on a line; a last one that is cut is left out."""
    lines = [line for line in data.strip(_BLANK).splitlines() if line.strip()]
    if len(lines) > 1 and loads(lines[0]) is not None:
        return [value for line in lines if (value := loads(line)) is not None]
    text, values, at = _text(data), [], 0
    while (at := _next_value(text, at)) >= 0:
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        values.append(value)
    return values


def _next_value(text: str, at: int) -> int:
    """Where the next object or array begins if only space stands before it; -1 where none does."""
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at if at < len(text) and text[at] in "{[" else -1
