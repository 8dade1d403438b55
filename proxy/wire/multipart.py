"""multipart/form-data without I/O, read strictly: what was understood is what is written again.

Only what HTTP clients send is taken (RFC 7578): no preamble, no nesting, no transfer encodings, plain names. A body that
another parser might read otherwise is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

MAX_PARTS = 64

FIRST_LINE = re.compile(rb"--([A-Za-z0-9_.'-]{1,70})\r\n")
_DISPOSITION = re.compile(rb'form-data; ?name="([^"\r\n\\]{1,100})"(?:; ?filename="([^"\r\n\\]{0,300})")?\Z')
_CONTENT_TYPE = re.compile(
    rb"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}(?:; ?charset=[A-Za-z0-9_-]{1,30})?\Z"
)


class FormError(ValueError):
    """What is wrong with a form, in words for its sender."""


class Part(NamedTuple):
    """One field. `filename` and `content_type` are None where they are not given."""

    name: str
    data: bytes
    filename: bytes | None = None
    content_type: bytes | None = None


class Form(NamedTuple):
    """A form as it came. `boundary` occurs in no part, as the form was cut at it."""

    boundary: bytes
    parts: tuple[Part, ...]

    @property
    def content_type(self) -> bytes:
        return b"multipart/form-data; boundary=" + self.boundary


def parse(raw: bytes) -> Form:
    """Raises `FormError`."""
    first = FIRST_LINE.match(raw)
    if first is None:
        raise FormError("the body is not multipart/form-data")
    boundary = first[1]
    pieces = (b"\r\n" + raw).split(b"\r\n--" + boundary, MAX_PARTS + 2)
    if len(pieces) > MAX_PARTS + 2:
        raise FormError(f"the form has more than {MAX_PARTS} fields")
    if len(pieces) < 3 or pieces[-1] not in (b"--", b"--\r\n"):
        raise FormError("the form has no end, or something stands after it")
    return Form(boundary, tuple([part_of(piece) for piece in pieces[1:-1]]))


def part_of(piece: bytes) -> Part:
    head, blank, data = piece.partition(b"\r\n\r\n")
    if not head.startswith(b"\r\n") or not blank:
        raise FormError("a field of the form has no head")
    name: re.Match[bytes] | None = None
    content_type = None
    for line in head[2:].split(b"\r\n"):
        header, _, value = line.partition(b":")
        value = value.strip(b" \t")
        match header.lower():
            case b"content-disposition" if name is None:
                name = _DISPOSITION.match(value)
            case b"content-type" if content_type is None and _CONTENT_TYPE.match(value):
                content_type = value
            case b"content-length":
                continue
            case _:
                raise FormError("a field of the form has a header that is not accepted here")
    if name is None:
        raise FormError("a field of the form has no plain name")
    try:
        return Part(name[1].decode(), data, name[2], content_type)
    except UnicodeDecodeError:
        raise FormError("the name of a field is not UTF-8") from None


def encode(boundary: bytes, parts: Iterable[Part]) -> bytes:
    """A form's body. `boundary` must not occur in the parts."""
    pieces = []
    for part in parts:
        head = b'--%s\r\ncontent-disposition: form-data; name="%s"' % (boundary, part.name.encode())
        if part.filename is not None:
            head += b'; filename="%s"' % part.filename
        if part.content_type is not None:
            head += b"\r\ncontent-type: " + part.content_type
        pieces += [head, b"\r\n\r\n", part.data, b"\r\n"]
    return b"".join([*pieces, b"--", boundary, b"--\r\n"])
