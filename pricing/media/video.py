"""How long a film lasts at most."""

from __future__ import annotations

from pricing.media import boxes
from pricing.media.source import Source, UnreadableError


def most_seconds(source: Source) -> int | None:
    """Whole seconds of an MP4 or MOV; None where its boxes do not say, and for every other container."""
    try:
        return boxes.most_seconds(source) if boxes.is_boxes(source.read(0, 16)) else None
    except UnreadableError:
        return None
