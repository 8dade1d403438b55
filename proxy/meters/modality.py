"""One total on the input side, dealt out to text, media, cache reads and cache writes.

Providers state it the same way: a total; how much of it is audio, image, video (each *including* what of it was
cached); how much was read from a cache, sometimes by modality; how much was written to one. The rest is text.
"""

from __future__ import annotations

from collections.abc import Mapping

from pricing.usage import Quantity
from proxy.meters.reading_builder import ReadingBuilder

MEDIA = ("audio", "image", "video")


def split_input(
    builder: ReadingBuilder,
    total: Quantity,
    *,
    media: Mapping[str, Quantity],
    cached: Quantity,
    cached_media: Mapping[str, Quantity],
    writes: Mapping[str, Quantity],
) -> None:
    """Add the disjoint units of an input of `total` tokens to `builder`.

    `media` and `cached_media` are keyed by `MEDIA`; `cached` counts all cache reads, `writes` goes by unit name.
    Invariant: what is added sums to `total`, always. Parts that exceed it are cut and flagged.
    """
    if not (cached or any(media.values()) or any(cached_media.values()) or any(writes.values())):
        builder.add("input", total)  # nothing is broken out: what most calls are
        return
    left: dict[str, Quantity] = {}
    remaining = total
    for kind in MEDIA:
        left[kind] = _take(builder, media.get(kind, 0), remaining)
        remaining -= left[kind]
    left["text"] = remaining
    read = _take(builder, cached, total)
    for kind in MEDIA:  # cached audio is part of the audio, and of the cached
        part = _take(builder, cached_media.get(kind, 0), min(left[kind], read))
        _move(builder, left, kind, f"cache_read_{kind}", part)
        read -= part
    # A cache read of unknown kind is text as far as text reaches; beyond that it can only be media.
    for kind, unit in (("text", "cache_read"), *((kind, f"cache_read_{kind}") for kind in MEDIA)):
        part = min(read, left[kind])
        _move(builder, left, kind, unit, part)
        read -= part
    for unit, quantity in writes.items():
        written = _take(builder, quantity, sum(left.values()))
        for kind in ("text", *MEDIA):
            part = min(written, left[kind])
            _move(builder, left, kind, unit, part)
            written -= part
    builder.add("input", left["text"])
    for kind in MEDIA:
        builder.add(f"{kind}_in", left[kind])


def _take(builder: ReadingBuilder, wanted: Quantity, available: Quantity) -> Quantity:
    if wanted > available:
        builder.inconsistent()
        return available
    return wanted


def _move(builder: ReadingBuilder, left: dict[str, Quantity], kind: str, unit: str, quantity: Quantity) -> None:
    left[kind] -= quantity
    builder.add(unit, quantity)
