"""How many pages a PDF has at most, and how much text its pages can show. Format: ISO 32000-1.

A document is bounded only where all of it is understood: what is encrypted, packed in another way than Flate, drawn by forms
that show text, or larger than the work that it may cost, is unknown (None).
"""

from __future__ import annotations

import base64
import re
import zlib
from collections import Counter
from typing import NamedTuple

MOST_BYTES = 8 * 1024 * 1024
_MOST_UNPACKED = 4 * 1024 * 1024
_MOST_ARMOURED = 128 * 1024  # of ASCII85, which is read slowly

# None of these goes over the same bytes twice, however often what it looks for begins and does not end.
_OBJECT = re.compile(rb"(?<![0-9])(\d{1,10})\s++\d{1,5}\s++obj\b")
_STREAM = re.compile(rb"stream\r?\n")
_REFERENCE = re.compile(rb"(?<![0-9])(\d{1,10})\s++\d{1,5}\s++R\b")
_KIDS = re.compile(rb"/Kids\s*+\[([^\]\[]*+)\]")
_COUNT = re.compile(rb"/Count\s++(\d{1,9})")
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_IMAGE = re.compile(rb"/Subtype\s*/Image\b")
_FORM = re.compile(rb"/Subtype\s*/Form\b")
_OBJECTS = re.compile(rb"/Type\s*/ObjStm\b")
_UNSHOWN = re.compile(
    rb"/Type\s*/(?:XRef|Metadata|EmbeddedFile)\b|/Subtype\s*/(?:Type1C|CIDFontType0C|OpenType|XML)\b|/Length1\b"
)
_FILTER = re.compile(rb"/Filter\s*+(\[[^\]\[]*+\]|/[A-Za-z0-9]++)")
_NAME = re.compile(rb"/([A-Za-z0-9]++)")
_SHOWN = re.compile(rb"\((?:[^()\\]++|\\.)*+[()]?|<[0-9A-Fa-f\s]*+>", re.DOTALL)
_HEX = re.compile(rb"<([0-9A-Fa-f\s]++)>")
_SHOWS = re.compile(rb"\bT[jJ]\b|'|\"")
_ENCODED = re.compile(rb"/Differences\b|/Type0\b|/ToUnicode\b|/ActualText\b|/Type3\b")
# Names that are spelt with escapes, or stand behind a comment; what a name says by way of a reference; kids that are no list
# here. A viewer reads all of these (ISO 32000-1, 7.2.3, 7.3.5, 7.3.10), and this reader does not.
_ODD = re.compile(rb"/(?:Type|Subtype|Filter|Kids|Count)\s*+(?:%|\d++\s++\d++\s++R\b)|/Contents\s*+%")
_ESCAPED = re.compile(rb"/([^\s/<>\[\](){}%#]*+#[^\s/<>\[\](){}%]*+)")
_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")
_READ_HERE = frozenset({
    b"Type", b"Subtype", b"Filter", b"Kids", b"Count", b"Contents", b"Page", b"Pages", b"Form", b"ObjStm", b"Encrypt",
    b"Predictor", b"Differences", b"Type0", b"ToUnicode", b"ActualText", b"Type3",
})  # fmt: skip
_LISTS = re.compile(rb"/Kids\b")
_BEYOND_ASCII = bytes(range(128, 256))
_BYTES_A_GLYPH = 3  # of UTF-8: what one byte of a shown string becomes at most, unless a font maps it to more


class Pages(NamedTuple):
    """`text_tokens`: what all that the pages show comes to at most; tokens are never more than bytes."""

    pages: int
    text_tokens: int


def most_pages(data: bytes) -> Pages | None:
    """The bound of a document, or None."""
    if len(data) > MOST_BYTES or b"%PDF-" not in data[:1024] or b"/Encrypt" in data:
        return None
    reader = _Reader()
    return reader.read(data)


class _Reader:
    def __init__(self) -> None:
        self._unpacked = self._armoured = self._seen = 0
        self._plain: list[bytes] = []
        self._streams: list[tuple[int, bytes]] = []  # the number of the object, and what it draws or maps
        self._strange = False

    def read(self, data: bytes) -> Pages | None:
        self._objects(data)
        if self._strange or data.count(b"endstream") != self._seen:  # the end of one may only look like that
            return None
        plain = b"\n".join(self._plain)
        if _ODD.search(plain) or _hides_a_name(plain) or len(_LISTS.findall(plain)) != len(_KIDS.findall(plain)):
            return None
        pages = max(self._pages(plain), len(_PAGE.findall(data)))  # also those between what look like objects
        text = self._text(Counter(_REFERENCE.findall(plain)), plain_fonts=_ENCODED.search(plain) is None)
        return Pages(pages, text) if pages and not self._strange else None

    def _objects(self, data: bytes) -> None:
        at = 0
        while (head := _OBJECT.search(data, at)) is not None and not self._strange:
            ends = data.find(b"endobj", head.end())
            stream = _STREAM.search(data, head.end(), ends if ends >= 0 else len(data))
            if stream is not None:
                close = data.find(b"endstream", stream.end())
                self._seen += close >= 0
                close = len(data) if close < 0 else close
                self._stream(int(head[1]), data[head.end() : stream.start()], data[stream.end() : close])
                at = close
            else:
                at = len(data) if ends < 0 else ends
                self._plain.append(data[head.end() : at])

    def _stream(self, number: int, head: bytes, body: bytes) -> None:
        self._plain.append(head)
        if _IMAGE.search(head) or _UNSHOWN.search(head):
            return
        filters = _FILTER.search(head)
        for name in _NAME.findall(filters[1]) if filters is not None else ():
            body = self._unfiltered(name, body)
        if b"/Predictor" in head:
            self._strange = True
        if _OBJECTS.search(head):
            self._plain.append(body)
        elif _FORM.search(head):
            self._strange = self._strange or _SHOWS.search(body) is not None
        else:
            self._streams.append((number, body))

    def _unfiltered(self, name: bytes, body: bytes) -> bytes:
        if name in (b"FlateDecode", b"Fl"):
            return self._inflated(body)
        self._armoured += len(body)
        if name not in (b"ASCII85Decode", b"A85") or self._armoured > _MOST_ARMOURED:
            self._strange = True
            return b""
        try:
            return base64.a85decode(body.strip().removesuffix(b"~>"))
        except ValueError:
            self._strange = True
            return b""

    def _inflated(self, body: bytes) -> bytes:
        unpacker = zlib.decompressobj()
        try:
            unpacked = unpacker.decompress(body, _MOST_UNPACKED - self._unpacked + 1)
        except zlib.error:
            self._strange = True
            return b""
        self._unpacked += len(unpacked)
        self._strange = self._strange or self._unpacked > _MOST_UNPACKED
        return unpacked

    def _pages(self, plain: bytes) -> int:
        """By the pages' own objects, by their parents' lists, and by what these say: the most of them."""
        kids = [number for one in _KIDS.findall(plain) for number in _REFERENCE.findall(one)]
        if len(kids) != len(set(kids)) and len(kids) > 1:
            self._strange = True  # a part of the tree that stands in it twice
        counts = [int(one) for one in _COUNT.findall(plain)]
        return max(len(_PAGE.findall(plain)), len(kids), max(counts, default=0))

    def _text(self, references: Counter[bytes], *, plain_fonts: bool) -> int:
        """plain_fonts: what is shown is what is written, so that a byte of ASCII is a byte of text."""
        widest = _BYTES_A_GLYPH
        for _, body in self._streams:
            if b"beginbf" in body:
                plain_fonts = False
                widest = max(widest, max(map(_utf8_bytes, _HEX.findall(body)), default=0))
        return sum(
            max(references[b"%d" % number], 1) * _shown(body, 1 if plain_fonts else widest)
            for number, body in self._streams
        )


def _hides_a_name(plain: bytes) -> bool:
    """Whether a name that is looked for here is spelt with escapes (fonts' names often are)."""
    for name in _ESCAPED.findall(plain):
        if _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), name) in _READ_HERE:
            return True
    return False


def _shown(body: bytes, widest: int) -> int:
    """Bytes of text in the strings that a stream shows, and one between them, where extractors put a space."""
    shown = _SHOWN.findall(body)
    if any(one[-1:] == b"(" for one in shown):  # strings within strings: all of it may be shown
        shown = [body]
    written = b"".join(one for one in shown if one[:1] != b"<")
    codes = sum(len(one) // 2 for one in shown if one[:1] == b"<")
    ascii_bytes = len(written.translate(None, _BEYOND_ASCII))
    beyond = len(written) - ascii_bytes + codes
    return ascii_bytes * widest + beyond * max(widest, _BYTES_A_GLYPH) + len(shown)


def _utf8_bytes(written: bytes) -> int:
    """How long a mapped text is (its hex digits are UTF-16)."""
    digits = b"".join(written.split())
    try:
        return len(bytes.fromhex(digits.decode()).decode("utf-16-be").encode())
    except ValueError:
        return len(digits)
