"""Runs of stream pieces that differ only in their words (most of any stream): LiteLLM translates one of each. Pure.

What LiteLLM makes of one piece says what it makes of the next, where the two are the same but for the words. So it is given
the first pieces of a run one by one. When two of them came out the same but for their words, those behind them are written
likewise, and it is given all of their words in one piece before the next other piece, so that what it keeps of the answer is
whole. What it makes of that is compared again, and not sent. Nothing of LiteLLM's is known for it: where a piece comes out
otherwise than the one before (it waits for more, counts, changes its mind), it is given each.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import orjson

from proxy.wire import aws_event_stream, sse

# Names under which the APIs, and the callers' dialects, have a piece of text; and what only hides its length.
_WORDS = rb"text|content|delta|thinking|reasoning_content|reasoning|partial_json|arguments|input"
_PADDING = rb"p|obfuscation"
# Words that stand in one answer's JSON as in the other's: whole escapes and pairs, and no "<": LiteLLM may read a tag.
_PLAIN = re.compile(
    rb'(?:[^"\\<\x00-\x1f]|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F]|003[cC])[0-9a-fA-F]{4}'
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*"
)
_SLOT = re.compile(
    rb'(?<!\\)"(?:(?P<words>' + _WORDS + rb")|" + _PADDING + rb')"\s*:\s*"(?P<text>(?:[^"\\]|\\.)*)"'
    rb'|(?<!\\)"usageMetadata"\s*:\s*(?P<usage>\{)'
)
# Gemini's counts, and lists of them; the last one holds.
_USAGE = re.compile(rb'\{(?:[^{}"\[\]]|"\w*"|\[(?:[^{}"\[\]]|"\w*"|\{(?:[^{}"\[\]]|"\w*")*\})*\])*\}')
_MARK = re.compile(rb"\[DONE\]|data:")  # ends and beginnings of events, to some of LiteLLM's readers
_NUMBER = re.compile(rb',"sequence_number":\d+\}\n\n\Z')
_MOST_HELD_BYTES = 64 * 1024
_LONGEST_MARK = len(b"[DONE]")


class Piece(NamedTuple):
    """An event of the provider's. raw: as it came. text: what is compared of it, JSON among it. name: of an event of AWS's."""

    raw: bytes
    text: bytes
    name: str = ""

    def filled(self, text: bytes) -> bytes:
        """A piece as this one, with another text."""
        if not self.name:
            return text
        return aws_event_stream.with_payload(self.raw, text[len(self.name) + 4 : -1])


class Shape(NamedTuple):
    """Pieces that differ in their words alone. between: what stands before, between and behind what may differ. kinds: what
    that is: "words" once, "padding", "usage"."""

    between: tuple[bytes, ...]
    kinds: tuple[str, ...]

    def words_in(self, text: bytes) -> bytes | None:
        """The words of a piece of this shape, as they stand in its JSON; None for any other piece."""
        words = b""
        if not text.startswith(self.between[0]):
            return None
        position = len(self.between[0])
        for kind, literal in zip(self.kinds, self.between[1:], strict=True):
            match = (_USAGE if kind == "usage" else _PLAIN).match(text, position)
            if match is None or not text.startswith(literal, match.end()):
                return None
            if kind == "words":
                words = match[0]
            position = match.end() + len(literal)
        return words if position == len(text) and _is_plain(words) else None

    def filled(self, words: bytes, like: bytes) -> bytes:
        """A piece with these words, and otherwise as `like`, which is of this shape."""
        parts, position = [self.between[0]], len(self.between[0])
        for kind, literal in zip(self.kinds, self.between[1:], strict=True):
            match = (_USAGE if kind == "usage" else _PLAIN).match(like, position)
            assert match is not None
            parts += [words if kind == "words" else match[0], literal]
            position = match.end() + len(literal)
        return b"".join(parts)


def _is_plain(words: bytes) -> bool:
    if not words or _MARK.search(words):
        return False
    if words.isascii():
        return True
    try:
        words.decode()
    except UnicodeDecodeError:
        return False
    return True


def shape_of(text: bytes) -> Shape | None:
    """The shape of a piece; None where it has not one piece of text in it, or is so large that looking would take long."""
    if len(text) > _MOST_HELD_BYTES:
        return None
    between, kinds, end = [], [], 0
    for slot in _SLOT.finditer(text):
        if slot["usage"] is not None:
            match = _USAGE.match(text, slot.start("usage"))
            if match is None:
                return None
            kind, (start, stop) = "usage", match.span()
        elif slot["text"]:
            kind, (start, stop) = "words" if slot["words"] else "padding", slot.span("text")
        else:
            continue
        between.append(text[end:start])
        kinds.append(kind)
        end = stop
    return Shape((*between, text[end:]), tuple(kinds)) if kinds.count("words") == 1 else None


def template_of(event: bytes, words: bytes) -> tuple[bytes, ...]:
    """What an event has around `words`, wherever they stand in it; empty where they do not."""
    wanted, between, end = _loaded(words), [], 0
    for slot in _SLOT.finditer(event):
        if slot["words"] and _loaded(slot["text"]) == wanted:
            between.append(event[end : slot.start("text")])
            end = slot.end("text")
    return (*between, event[end:]) if between else ()


def _loaded(words: bytes) -> object:
    try:
        return orjson.loads(b'"%b"' % words)
    except orjson.JSONDecodeError:
        return None


class Run:
    """Where a stream stands. numbered: its events end with a number each (Responses)."""

    def __init__(self, *, numbered: bool = False) -> None:
        self.number = 0  # of the next event that goes out
        self._numbered = numbered
        self._shape: Shape | None = None  # of the piece that LiteLLM was given last
        self._words = b""
        self._made: list[bytes] | None = []  # of it; None: something that is more than its words
        self._template: tuple[bytes, ...] = ()  # of the piece before
        self._before = b""  # the words of that
        self._proven = False
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._held_end = b""  # as much as a mark may have begun in
        self._last: Piece | None = None
        self.dropping = False  # what LiteLLM makes now has been sent

    # What LiteLLM does

    def given(self, piece: Piece) -> None:
        """LiteLLM is given this piece, and nothing else until it asks for more."""
        shape = shape_of(piece.text)
        if shape is None or shape != self._shape:
            self._shape, self._template, self._before, self._proven = shape, (), b"", False
        self._words = (shape.words_in(piece.text) or b"") if shape is not None else b""
        self._made = []

    def made(self, event: bytes, *, more: bool = False) -> bool:
        """LiteLLM has made this event of it; False: it has been sent in pieces. more: it says more than words (usage)."""
        if self._made is not None:
            self._made.append(event)
        if more:
            self._made = None
        return not self.dropping

    def asks(self) -> None:
        """LiteLLM asks for another piece, and has made all that it makes of the last one."""
        made, words, self._made = self._made, self._words, []
        template: tuple[bytes, ...] = ()
        if words and made is not None and len(made) == 1:
            event = _NUMBER.sub(b"", made[0]) if self._numbered else made[0]
            template = template_of(event, words)
        if self.dropping:
            self.dropping = False
            self._proven = self._proven and template == self._template
            return
        alike = bool(template) and template == self._template
        self._proven = alike and (self._proven or words != self._before)
        self._template, self._before = template, words

    # What it need not do

    def event(self, piece: Piece) -> bytes | None:
        """What goes out for this piece; None where LiteLLM is to be given it, behind what is `held`."""
        if not self._proven or self._shape is None or self._held_bytes > _MOST_HELD_BYTES:
            return None
        if len(piece.text) > _MOST_HELD_BYTES or (words := self._shape.words_in(piece.text)) is None:
            return None
        if self._held_end and _MARK.search(self._held_end + words[:_LONGEST_MARK]):
            return None
        self._held_end = (self._held_end + words)[1 - _LONGEST_MARK :]
        self._held.append(words)
        self._held_bytes += len(words)
        self._last = piece
        event = words.join(self._template)
        if self._numbered:
            event += b',"sequence_number":%d}\n\n' % self.number
            self.number += 1
        return event

    def held(self) -> bytes:
        """The words that LiteLLM has not been given, as one piece; b"" for none. What it makes of it is not sent."""
        if not self._held or self._shape is None or self._last is None:
            return b""
        self._words = b"".join(self._held)
        self._held.clear()
        self._held_bytes, self._held_end, self.dropping, self._made = 0, b"", True, []
        return self._last.filled(self._shape.filled(self._words, self._last.text))


class Pieces:
    """Cuts an answer's bytes into its events. kind: the answer's content type."""

    def __init__(self, kind: str) -> None:
        self._splitter = sse.Splitter() if kind.startswith("text/event-stream") else None
        self._framer = aws_event_stream.Framer()
        self._broken = self._splitter is None and not kind.startswith(aws_event_stream.CONTENT_TYPE.decode())

    def feed(self, data: bytes) -> list[Piece]:
        """The events that `data` completes. Bytes that are none come as they are."""
        if self._broken:
            return [Piece(data, b"")]
        if self._splitter is not None:
            return [Piece(block, block if whole else b"") for block, whole in self._splitter.feed_marked(data)]
        pieces = [Piece(message.raw, message.json, message.event) for message in self._framer.feed(data)]
        if self._framer.broken:
            self._broken = True
            pieces.append(Piece(self._framer.rest(), b""))
        return pieces

    def rest(self) -> bytes:
        """What is no whole event, at the end."""
        return self._framer.rest() if self._splitter is None else self._splitter.close()
