"""Messages that say nothing but their text, recognised when they are sent again: an agent sends hundreds with each call. Pure.

What a dialect looks for in a message (media, ids, URLs, tools, words that prices go by) depends on that message alone. One in
which nothing was found is remembered by Python's own hash of its JSON: 64 bits, keyed by a secret of the process. To have
another message taken for one takes 2^51 tries, each of them sent, and no answer says how near one came. What something was
found in is looked at each time; so is what stands beside the messages, which is remembered in the same way. No text is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from proxy.bounded_table import BoundedTable
from proxy.dialects import fields, references
from proxy.dialects.known_beginnings import Beginning, KnownBeginnings
from proxy.dialects.unread_messages import UnreadMessages
from proxy.wire.written_list import WrittenList

# Of a body: in a shorter one there is nothing to gain, and one that is new takes up to half as long again as without all this.
FROM_BYTES, _TO_BYTES = 65_536, 2 * 1024 * 1024
_LEAST_MESSAGES, _MOST_MESSAGES = 8, 2048  # fewer are no agent's, and perhaps a long text that nobody sends again
_LEAST_BYTES = 256  # of a message, on average: shorter ones are looked at as fast as they are recognised
_MOST_BYTES = 65_536  # of a message that is remembered
_MOST_KNOWN, _MOST_RESTS = 8192, 512
_LATEST = 16  # where something was found, so many of the last are looked at by themselves


class Messages:
    """A body with what has to be looked at in it.

    listed: all messages, or whatever stands in their field. fresh: of a list, those that are not known to be plain. beside:
    what stands beside them, where that is not known to be plain either. words: of those that prices go by, the ones that stand
    anywhere in the body; None: nobody has looked for them. marks: a hash of each message; None: they have none. written: all
    of them as JSON, to be sent on; None: they have to be written.
    """

    __slots__ = ("_sorted", "beside", "body", "fresh", "listed", "marks", "words", "written")

    def __init__(self, body: dict[str, Any], listed: Any) -> None:
        self.body = self.beside = body
        self.listed = self.fresh = listed
        self.words: frozenset[bytes] | None = None
        self.marks: list[int] | None = None
        self.written: WrittenList | None = None
        self._sorted: _Sorted | None = None

    def references(self, names: references.Names) -> references.References:
        """What the body refers to (`references.of`). Raises `Refused`."""
        if not self.beside:
            return references.of({"": self.fresh}, names)
        return references.of(self.body, names, self.listed, self.fresh)

    def remember(self, is_plain: Callable[[Any], bool], *, nothing_found: bool) -> None:
        """Remember what is plain of all that was looked at. nothing_found: neither in messages nor beside them, so that nobody
        has changed anything in a message either. is_plain: the same of one of them."""
        if self._sorted is not None:
            self._sorted.remember(is_plain, nothing_found=nothing_found)
            if nothing_found:
                self.written = WrittenList(self.listed, self._sorted.written)
            self._sorted = None


class PlainMessages:
    """The latest plain messages of one dialect, in the field `name` of its bodies. words: a pattern that finds in JSON what
    prices go by, if anything does. sends_model: whether the name of a model in a body is sent on."""

    # Whether Python's hash is keyed by a secret that nobody knows: else one might be met on purpose, and nothing is recognised.
    # It is for the process that serves to say.
    hash_is_secret = False
    __slots__ = ("_sends_model", "beginnings", "find", "messages", "name", "rests")

    def __init__(self, name: str, words: str = "", *, sends_model: bool = False) -> None:
        self.name = name
        self._sends_model = sends_model
        self.find: Callable[[bytes], list[bytes]] = re.compile(words.encode()).findall if words else lambda _: []
        self.beginnings = KnownBeginnings(name)
        self.messages: BoundedTable[int, bool] = BoundedTable(_MOST_KNOWN)
        # What stands beside them, with its words.
        self.rests: BoundedTable[int, frozenset[bytes]] = BoundedTable(_MOST_RESTS)

    def beside(self, body: dict[str, Any]) -> dict[str, Any]:
        """What stands beside the messages, as far as it is sent on."""
        own = self.name if self._sends_model or type(body.get("model")) is not str else "model"
        return {name: value for name, value in body.items() if name not in (self.name, own)}

    def parse(self, raw: bytes) -> Messages:
        """A body, as `fields.parse_object` has it. Raises `Refused` as that does."""
        if not (self.hash_is_secret and FROM_BYTES <= len(raw) <= _TO_BYTES):
            return self.of(fields.load_object(raw), raw)
        fields.refuse_dense(raw)
        begun = self.beginnings.find(raw)
        if begun is not None and not begun.blocks and self.beginnings.is_full():
            return self.looked_at(fields.load_object(raw), raw)
        body = self.beginnings.parse(raw, begun) if begun is not None else None
        if body is None or not _are_worth_it(body[self.name], len(raw)):
            body = fields.load_object(raw)
            begun = begun.unknown() if begun is not None else None
        return self.of(body, raw, begun)

    def of(self, body: dict[str, Any], raw: bytes, begun: Beginning | None = None) -> Messages:
        """The same of a body that is read already, and no more. begun: what is known of how it begins. Raises `Refused`."""
        listed = body.get(self.name)
        messages = Messages(body, listed)
        known = None
        if self.hash_is_secret and FROM_BYTES <= len(raw) <= _TO_BYTES and _are_worth_it(listed, len(raw)):
            known = messages._sorted = _Sorted.of(self, messages)  # noqa: SLF001 - its own file's
        if known is None:
            return self.looked_at(fields.load_object(raw) if type(listed) is UnreadMessages else body, raw)
        looked_at = {**messages.beside, self.name: messages.fresh}
        known.no_long = fields.refuse_long_integers(raw, looked_at, len(raw) - known.plain_bytes)
        known.body = raw, begun
        return messages

    def looked_at(self, body: dict[str, Any], raw: bytes) -> Messages:
        """A body of which nothing is recognised. Raises `Refused`."""
        fields.refuse_long_integers(raw, body)
        return Messages(body, body.get(self.name))


class _Sorted:
    """What is known of a body's parts, and what may be remembered of the others."""

    __slots__ = ("body", "candidates", "known", "marks", "no_long", "own", "plain_bytes", "rest", "written")

    def __init__(self, known: PlainMessages, own: Sequence[bytes], marks: Sequence[int]) -> None:
        self.known = known
        self.own, self.marks = own, marks  # each message that is a value, as JSON, and the hash of that
        self.written: Sequence[bytes] = own  # all messages
        self.candidates: list[tuple[int, Any]] = []
        self.rest: tuple[int, frozenset[bytes]] | None = None  # where that is new
        self.body: tuple[bytes, Beginning | None] = b"", None  # as it came, and what was known of that
        self.no_long = False
        self.plain_bytes = 0

    @classmethod
    def of(cls, known: PlainMessages, messages: Messages) -> _Sorted | None:
        """None where something is nested deeper than can be written: whoever writes it says so."""
        listed, dumps = messages.listed, orjson.dumps
        values = listed.values() if type(listed) is UnreadMessages else listed
        try:
            rest = dumps(known.beside(messages.body))
            # As deep as it stands in the body; held until that is sent, without the buffer that it was written into.
            written = [dumps([[message]])[2:-2] for message in values]
        except TypeError:
            return None
        marks = [*map(hash, written)]
        is_plain = known.messages.get
        new = [number for number, mark in enumerate(marks) if is_plain(mark) is None]
        self = cls(known, written, marks)
        words = known.rests.get(hash(rest))
        if words is None:
            words = frozenset(known.find(rest))
            self.rest = hash(rest), words
        else:
            self.plain_bytes = len(rest)
            messages.beside = {}
        fresh_bytes = 0
        for number in new:
            fresh_bytes += len(written[number])
            if own := known.find(written[number]):
                words = words.union(own)
            elif len(written[number]) <= _MOST_BYTES:
                self.candidates.append((marks[number], values[number]))
        messages.fresh = [values[number] for number in new]
        messages.words, messages.marks = words, marks
        if type(listed) is UnreadMessages:
            self.written, messages.marks = listed.with_runs(written, marks)
        self.plain_bytes += sum(map(len, self.written)) - fresh_bytes
        return self

    def remember(self, is_plain: Callable[[Any], bool], *, nothing_found: bool) -> None:
        plain = looked_at = self.candidates
        if nothing_found and self.no_long:
            if self.rest is not None:
                mark, words = self.rest
                self.known.rests[mark] = words
        else:
            looked_at = plain[-_LATEST:]
            plain = [(mark, one) for mark, one in looked_at if is_plain(one) and _is_as_it_was(one, mark)]
        self.known.messages.put([mark for mark, _ in plain], True)
        raw, begun = self.body
        if begun is not None:
            behind = len(begun.opened)  # of those that are values, these stand in the beginning
            marks = self.marks[behind:]
            unsure = {mark for mark, _ in self.candidates[: len(self.candidates) - len(looked_at)]}
            certain = (
                next((number for number, mark in enumerate(marks) if mark in unsure), len(marks))
                if unsure
                else len(marks)
            )
            opened = [self.known.messages.get(mark) is None for mark in marks[:certain]]
            self.known.beginnings.note(raw, begun, self.own[behind : behind + certain], marks[:certain], opened)


def _are_worth_it(listed: Any, size: int) -> bool:
    return isinstance(listed, list) and _LEAST_MESSAGES <= len(listed) <= min(_MOST_MESSAGES, size // _LEAST_BYTES)


def _is_as_it_was(message: Any, mark: int) -> bool:
    """Whether nothing was changed in a message, and no number in it is one that its reader may have changed."""
    return hash(orjson.dumps(message)) == mark and fields.name_of_long({"": message}) is None
