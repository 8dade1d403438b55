"""What a file of Gemini requests comes to at any model: its lines by their shapes, a few numbers each. Pure.

Gemini's batch names its model when it is made, after its file was uploaded, and such a file cannot be read back. So the lines
are counted as they pass, in everything that their bound depends on but the model. Sizes are rounded up, so that a
hundred thousand lines are a few shapes; what they come to is then rather too much, by 1/16 where there are no more than 256.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pricing.media.bounds import most
from proxy.ceilings.ceiling import overhead
from proxy.types import Call

_MOST_SHAPES = 256
_FINEST = 4  # binary digits that a rounded size keeps below its first
# What a medium comes to differs between Gemini 2 and later ones (`pricing/media/bounds.py`): the larger of the two counts.
_MODELS = ("gemini-2.5-flash", "gemini-3-pro-preview")


class Shape(NamedTuple):
    """tokens: of its input at most, where no model's context is less. cap: of its output; None: the model's own. extra, heard:
    as a `Call` has them, in order. unknown: something in it only a model's context bounds."""

    tokens: int
    cap: int | None
    sequences: int
    passes: int
    extra: tuple[tuple[str, int], ...]
    heard: tuple[tuple[str, int], ...]
    unknown: bool

    def rounded(self, digits: int) -> Shape:
        """Text and media each for themselves: either may be the dearer."""
        heard = tuple((unit, rounded_up(tokens, digits)) for unit, tokens in self.heard)
        text = max(0, self.tokens - sum(tokens for _, tokens in self.heard))
        return self._replace(
            tokens=rounded_up(text, digits) + sum(tokens for _, tokens in heard),
            cap=None if self.cap is None else rounded_up(self.cap, digits),
            heard=heard,
        )

    def call(self, model: str) -> Call:
        """A call of this shape, in place of those that have it."""
        return Call(
            dialect="gemini", operation="generate", model=model, body={}, stream=False, size_bytes=0,
            output_caps=() if self.cap is None else (self.cap,), sequences=self.sequences, passes=self.passes,
            extra=dict(self.extra), heard=dict(self.heard), hidden_tokens=self.tokens, media_items=int(self.unknown),
        )  # fmt: skip


class Shapes:
    """The shapes of a file's lines, and how many lines have each. missing: why it can be no batch's; "" where it can."""

    def __init__(self) -> None:
        self.counts: dict[Shape, int] = {}
        self.lines = 0
        self.missing = ""
        self._digits = _FINEST

    def add(self, shape: Shape) -> None:
        self.lines += 1
        self._count(shape.rounded(self._digits), 1)
        while len(self.counts) > _MOST_SHAPES and self._digits > 0:
            self._digits -= 1
            counts, self.counts = self.counts, {}
            for known, count in counts.items():
                self._count(known.rounded(self._digits), count)
        if len(self.counts) > _MOST_SHAPES:
            self.missing = self.missing or "its lines are of too many kinds"
            self.counts.clear()

    def _count(self, shape: Shape, count: int) -> None:
        self.counts[shape] = self.counts.get(shape, 0) + count

    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        shapes = [] if self.missing else [[count, *shape] for shape, count in self.counts.items()]
        return {"shapes": shapes, "requests": self.lines, "missing": self.missing}


def rounded_up(number: int, digits: int) -> int:
    """The next number with no more than so many binary digits below its first.

    >>> [rounded_up(number, 2) for number in (7, 8, 9, 100)]
    [7, 8, 10, 112]
    """
    shift = max(0, number.bit_length() - 1 - digits)
    return -(-number >> shift) << shift


def shape_of(call: Call, size: int) -> Shape:
    """size: of what is forwarded, in bytes of rendered text."""
    tokens, unknown = size - call.opaque_bytes, call.media_items > len(call.media)
    heard: dict[str, int] = {}
    for medium in call.media:
        bounds = [most(medium, "google", model) for model in _MODELS]
        stated_bounds = [bound for bound in bounds if bound is not None]
        if len(stated_bounds) < len(bounds):
            unknown = True
            continue
        bound = max(stated_bounds, key=lambda one: one.tokens)
        tokens += bound.tokens - len(medium.data)
        heard[bound.unit] = heard.get(bound.unit, 0) + bound.tokens
    if unknown:
        heard = {}
    tokens += overhead(call)
    return Shape(
        max(tokens, 0), max(call.output_caps) if call.output_caps else None, call.sequences, call.passes,
        tuple(sorted(call.extra.items())), tuple(sorted(heard.items())), unknown,
    )  # fmt: skip


def shapes_of(record: Mapping[str, Any] | None) -> Sequence[tuple[int, Shape]] | None:
    """How many lines have which shape, out of a record; None where that is none of a file's lines."""
    if not record or "shapes" not in record:
        return None
    return [(count, _shape(values)) for count, *values in record["shapes"]]


def _shape(values: Iterable[Any]) -> Shape:
    shape = Shape(*values)
    return shape._replace(extra=_pairs(shape.extra), heard=_pairs(shape.heard))


def _pairs(value: Iterable[Any]) -> tuple[tuple[str, int], ...]:
    return tuple((unit, count) for unit, count in value)
