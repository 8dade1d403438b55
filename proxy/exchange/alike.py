"""Events of a stream that are alike but for a text of the answer, and for fields that say nothing of it: their number, and
what hides the text's length. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import orjson

from proxy.meters.failures import is_failure
from proxy.wire import sse

# Values that are a text of the answer, and nothing that decides what an event is.
_NAME = rb'"(?:content|text|delta|reasoning_content|reasoning|thinking|partial_json|arguments)"\s*:\s*"'
_TEXT = re.compile(_NAME + rb'([^"\\\r\n]*)"')
_SAID = re.compile(_NAME + rb'[^"]')
# OpenAI's padding and Mistral's (`p`), Responses' numbers, Anthropic's spaces before the last bracket.
_FILLER = re.compile(
    rb'"(?:obfuscation|p)"\s*:\s*"(?P<word>[^"\\\r\n]*)"'
    rb'|"sequence_number"\s*:\s*(?P<number>0|[1-9][0-9]*)(?=[,}])'
    rb"|(?P<space> +)(?=\}\n\n\Z)"
)
# Looked for first, as `_FILLER` is slow to find none.
_MAY_FILL = (b'"obfuscation"', b'"p"', b'"sequence_number"', b" }\n\n")
# What a text cannot have and stay within its JSON string, and within its line; where it has escapes, `_VALUE` knows.
odd_text = re.compile(rb'["\\\r\n]').search
_VALUE = {
    "text": rb'[^"\\\r\n]*(?:\\["\\/bfnrtu][^"\\\r\n]*)*',
    "word": rb'[^"\\\r\n]*',
    "number": rb"(?:0|[1-9][0-9]*)",
    "space": rb" *",
}
_MARKS = (b"\n", b"\r")  # between three values at most


@lru_cache(maxsize=64)
def _values_by(kinds: tuple[str, ...]) -> Callable[[bytes], object]:
    """Tells whether values of these kinds, with a mark between each two, are no more than that."""
    pattern = _VALUE[kinds[0]] + b"".join(mark + _VALUE[kind] for mark, kind in zip(_MARKS, kinds[1:], strict=False))
    return re.compile(pattern).fullmatch


class Alike(NamedTuple):
    """Events that are one JSON object each: `head`, values with what stands `between` each two of them, `tail`. kinds: of the
    values. The one at `text` is the answer's, so whatever it says, the event has no other names, no other end and no error; it
    is the event's only text, or `condensed` would say another but once.

    least: how long an event is without its values. marked: what stands between them, and what does while they are looked at;
    shorter: by how much that makes it shorter."""

    head: bytes
    between: tuple[bytes, ...]
    tail: bytes
    kinds: tuple[str, ...]
    text: int
    least: int
    marked: tuple[tuple[bytes, bytes], ...]
    shorter: int
    is_line: Callable[[bytes], object]

    def line(self, varied: bytes) -> bytes | None:
        """An event's values, by what stands between its head and its tail: a line each but for the last line's end. None where
        they are more than that."""
        line = varied
        for between, mark in self.marked:
            line = line.replace(between, mark, 1)
        if len(varied) - len(line) != self.shorter or self.is_line(line) is None:
            return None
        return line.replace(b"\r", b"\n") if len(self.marked) > 1 else line

    def lines(self, data: bytes) -> bytes | None:
        """The values of each event, a line each, where `data` is such events and nothing else."""
        if len(data) < self.least or not (data.startswith(self.head) and data.endswith(self.tail)):
            return None
        lines: list[bytes] = []
        for part in data[len(self.head) : -len(self.tail)].split(self.tail + self.head):
            varied = part
            for between in self.between:
                value, behind, varied = varied.partition(between)
                if not behind:
                    return None
                lines.append(value)
            lines.append(varied)
        for at, kind in enumerate(self.kinds):
            if kind != "text" and not all(map(_values_by((kind,)), lines[at :: len(self.kinds)])):
                return None
        joined = b"\n".join([*lines, b""])
        return joined if joined.count(b"\n") == len(lines) else None

    def whole(self, lines: bytearray) -> bytes:
        """The events that `lines` are the values of."""
        if not self.between:
            return self.head + lines[:-1].replace(b"\n", self.tail + self.head) + self.tail
        behind, values = (*self.between, self.tail + self.head), lines[:-1].split(b"\n")
        pieces: list[bytes | bytearray] = [self.head]
        for number, value in enumerate(values):
            pieces += (value, behind[number % len(behind)])
        return b"".join(pieces)[: -len(self.head)]

    def texts(self, lines: bytearray) -> tuple[bytearray, Sequence[bytes | bytearray]]:
        """The texts among `lines`, a line each, and all values of the first event."""
        if not self.between:
            return lines, (b"",)
        count, values = len(self.between) + 1, lines[:-1].split(b"\n")
        return bytearray(b"\n").join([*values[self.text :: count], b""]), values[:count]

    def event(self, text: bytes | bytearray, values: Sequence[bytes | bytearray]) -> bytes:
        """An event that says `text`, with these other values."""
        values = [*values[: self.text], text, *values[self.text + 1 :]]
        return self.whole(bytearray(b"\n").join([*values, b""]))


def alike(event: bytes) -> Alike | None:
    """Events that are like this one; `event` is one whole event, in which there is nothing but an answer."""
    payload = sse.payload(event)
    if payload is None or event.find(b"\r") >= 0 or not event.endswith(payload + b"\n\n"):
        return None
    begin = len(event) - len(payload) - 2
    texts = [match.span(1) for match in _TEXT.finditer(event, begin)]
    if not texts or event.find(b"\n\n") != len(event) - 2:
        return None
    try:
        value = orjson.loads(payload)  # where this is JSON, what matched is a field and its value
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or is_failure(value):
        return None
    said = next((span for span in texts if span[0] < span[1]), texts[0])
    spans = [(*said, "text")]
    if any(event.find(mark, begin) >= 0 for mark in _MAY_FILL):
        for filler in _FILLER.finditer(event, begin):
            assert filler.lastgroup is not None
            spans.append((*filler.span(filler.lastgroup), filler.lastgroup))
    return _of_spans(event, sorted(spans))


def _of_spans(event: bytes, spans: list[tuple[int, int, str]]) -> Alike | None:
    kinds, literals, at = list[str](), list[bytes](), 0
    for start, end, kind in spans:
        literal = event[at:start]
        if literal.find(b'"') < 0 or (kind != "text" and len(kinds) + ("text" not in kinds) > len(_MARKS)):
            continue  # the value before it could not be told from this one; or there are too many
        literals.append(literal)
        kinds.append(kind)
        at = end
    head, *between = literals
    tail = event[at:]
    if _SAID.search(b"".join([*literals, tail])) is not None:
        return None
    least = len(tail) + sum(map(len, literals))
    marked, shorter = tuple(zip(between, _MARKS, strict=False)), sum(map(len, between)) - len(between)
    is_line = _values_by(tuple(kinds))
    return Alike(head, tuple(between), tail, tuple(kinds), kinds.index("text"), least, marked, shorter, is_line)


def are_whole(texts: bytearray) -> bool:
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
