"""The most bytes that a text can have after a tokenizer has normalised it: a bound, in one pass. Pure.

Normalising a text, or asking whether it is normalised, can take time that grows with its square; so no text is. What each
character may become is known beforehand: most become no longer; U+FDFA, the worst, becomes 18. A character that is composed
of others (é) may come apart where a mark follows it, and is counted in its parts there. NFC and NFKC never make more of a text
than that, as composing two characters into one makes none longer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

from proxy.types import Call

# Tokenizers that take bytes as they are.
_AS_THEY_ARE = ("openai", "azure")
_EXACT_CHARACTERS = 50_000  # of those that grow; all that comes after so many is taken for the worst

# Blocks with characters that have a decomposition or are marks; between them are Han and Hangul, which normalise to no more.
_BLOCKS = ((0x80, 0x3400), (0xA640, 0xAC00), (0xF900, 0x1F300), (0x2F800, 0x2FA20))
_AT_ONCE = 512
_PARTS = tuple([range(at, min(at + _AT_ONCE, end)) for begin, end in _BLOCKS for at in range(begin, end, _AT_ONCE)])


def _bytes(text: str) -> int:
    return len(text.encode())


class _Table:
    """Of some characters. grows: bytes by which one becomes longer by itself. apart: by which it does when it comes apart.
    marks: what may stand behind another character and change places with its marks."""

    def __init__(self, codes: range) -> None:
        self.grows: dict[str, int] = {}
        self.apart: dict[str, int] = {}
        self.marks: list[str] = []
        for character in map(chr, codes):
            if unicodedata.decomposition(character):
                self._add(character)
            elif unicodedata.combining(character):
                self.marks.append(character)

    def _add(self, character: str) -> None:
        parts = unicodedata.normalize("NFKD", character)
        size = _bytes(character)
        alone = max(_bytes(unicodedata.normalize(form, character)) for form in ("NFC", "NFKC"))
        if alone > size:
            self.grows[character] = alone - size
        if _bytes(parts) > max(size, alone) and any(map(unicodedata.combining, parts)):
            self.apart[character] = _bytes(parts) - size
        if unicodedata.combining(parts[0]):
            self.marks.append(character)


def _class(characters: Iterable[str], *, beyond: bool) -> str:
    """A class of characters, of the basic plane or `beyond`: `re` looks up the former in a bitmap, the latter one by one."""
    return "[" + "".join(re.escape(one) for one in sorted(characters) if (one > "\uffff") == beyond) + "]"


class _Known:
    """What there is to know of characters, once: it takes some 20 ms, and most texts of most processes are ASCII."""

    def __init__(self) -> None:
        self.grows: dict[str, int] = {}
        self.apart: dict[str, int] = {}
        self.marks: list[str] = []
        for table in map(_table, _PARTS):
            self.grows |= table.grows
            self.apart |= table.apart
            self.marks += table.marks
        _table.cache_clear()
        self.most = max(*self.grows.values(), *self.apart.values())
        # Bytes that begin or continue a character and are harmless.
        self.harmless = bytes({*range(128, 256)} - {one.encode()[0] for one in (*self.grows, *self.marks)})


_table, _known = cache(_Table), cache(_Known)


@cache
def _suspects() -> re.Pattern[str]:
    known = _known()
    return re.compile(_class({*known.grows, *known.marks}, beyond=False) + "+")


@cache
def _growing() -> re.Pattern[str]:
    return re.compile(_class(_known().grows, beyond=False) + "+")


@cache
def _coming_apart() -> re.Pattern[str]:
    known = _known()
    marks = f"{_class(known.marks, beyond=False)}|[\U00010000-\U0010ffff]"
    return re.compile(_class(known.apart, beyond=False) + f"(?={marks})")


_BEYOND = re.compile("[\U00010000-\U0010ffff]+")
_ASCII = bytes(range(128))


def getting_ready() -> Iterator[None]:
    """Make the tables now, not when the first text needs them: some of it, a millisecond or two, at each step."""
    for codes in _PARTS:
        yield
        _table(codes)
    for make in (_known, _suspects, _growing, _coming_apart):
        yield
        make()


def rendered_bytes(body: bytes, provider: str) -> int:
    """The bytes that a tokenizer of this provider may see of a text: more than were sent where it rewrites what it reads."""
    if provider in _AS_THEY_ARE or body.isascii():
        return len(body)
    return len(body) + growth_bytes(body)


def rendered_size(call: Call, body: bytes, provider: str) -> int:
    """The same of a call's encoded `body`. The files in a form are no text."""
    if call.form is None:
        return rendered_bytes(body, provider)
    texts = b"".join([part.data for part in call.form.parts if part.filename is None])
    return len(body) - len(texts) + rendered_bytes(texts, provider)


def growth_bytes(body: bytes) -> int:
    """By how many bytes a text in UTF-8 may become longer when it is normalised. O(bytes)."""
    table = _known()
    beyond_ascii = body.translate(None, _ASCII)
    if not beyond_ascii.translate(None, table.harmless):
        return 0
    text = beyond_ascii.decode("utf-8", "replace")
    total = 0
    if b"\xf0" in beyond_ascii:
        total = _sum(_BEYOND, text, table.grows) + _sum(_BEYOND, text, table.apart)
    elif _suspects().search(text) is None:
        return 0
    return total + _sum(_growing(), text, table.grows) + _sum(_coming_apart(), text, table.apart)


def _sum(pattern: re.Pattern[str], text: str, extra: dict[str, int]) -> int:
    """What the characters that the pattern finds become longer by."""
    total = seen = 0
    for match in pattern.finditer(text):
        run = match[0][: _EXACT_CHARACTERS - seen]
        total += sum([extra.get(character, 0) for character in run])
        seen += len(run)
        if seen == _EXACT_CHARACTERS:
            return total + _known().most * (len(text) - match.start() - len(run))
    return total
