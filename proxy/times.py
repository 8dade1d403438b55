"""Instants as epoch microseconds, and how people write them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

_SPAN = re.compile(r"(\d{1,6})([smhdw])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class BadQuestion(ValueError):  # noqa: N818 - told to whoever asked
    """A parameter that makes no sense; the message says which and what would."""


def now_us() -> int:
    return time.time_ns() // 1000


def moment(text: str, now_s: float) -> int:
    """`7d` (before now), or RFC 3339, as epoch microseconds. Raises `BadQuestion`."""
    span = _SPAN.match(text)
    if span:
        return int((now_s - int(span[1]) * _SECONDS[span[2]]) * 1_000_000)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuestion(f"{text!r} is no time: write 7d, 12h, or 2026-11-23T12:00:00Z") from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def rfc3339(microseconds: int | None) -> str | None:
    """`2026-11-23T12:00:00.000000Z`; None for what has no time."""
    if microseconds is None:
        return None
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
