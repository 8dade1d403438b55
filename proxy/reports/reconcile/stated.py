"""A line of a provider's export, and how its words and numbers are read. Pure."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from proxy.times import BadQuestion

_LEAST, _MOST = -400, 40  # powers of ten: an exponent of a billion would be worked with for hours
_MOST_CHARS = 400  # of a number
_FIRST_YEAR, _LAST_YEAR = 2000, 2999
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?\Z")

HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
"""Where a name like `NovaPro` or `UsageType` has its next word."""

TAX = "tax"
"""A line that no call of ours has."""


class Stated(NamedTuple):
    """A line of a provider's export. day: 2026-11-23. line: one of `line_named`, the provider's own words, or
    None where it does not say. usd: None where it says a quantity alone. kind: charge, credit or correction. tier: one of
    `tier_named`. listed: what it would have cost at the list's price, where the file says so."""

    day: str
    model: str | None
    line: str | None
    usd: Decimal | None
    quantity: Decimal | None = None
    kind: str = "charge"
    tier: str | None = None
    listed: Decimal | None = None


def tier_named(text: Any) -> str | None:
    """batch, flex or priority, where a provider's words say so: the tiers that have prices of their own."""
    words = re.split(r"[^a-z]+", HUMP.sub(" ", str(text or "")).lower())
    return next((tier for tier in ("batch", "flex", "priority") if tier in words), None)


def kind_of(usd: Decimal | None) -> str:
    """Where a file does not say: less than nothing is a credit, and no call that cost less."""
    return "credit" if usd is not None and usd < 0 else "charge"


def line_named(text: str | None) -> str | None:
    """Our name of what a provider calls a line: "cached input" and "cache_read_input_tokens" are `cache_read`."""
    if not text:
        return None
    words = text.lower().replace("_", " ").replace(".", " ")
    if "search" in words:
        return "file_search" if "file" in words else "web_search"
    if "cache" in words and ("write" in words or "creation" in words):
        return "cache_write"
    if "cache" in words and "uncached" not in words and "no cache" not in words and "input" in words:
        return "cache_read"
    if any(word in words for word in ("audio", "image", "video", "storage", "session")):
        return text
    if "output" in words or "completion" in words or "reasoning" in words:
        return "output"
    return "input" if "input" in words or "prompt" in words else text


def number(value: Any) -> Decimal | None:
    """A decimal of a size that sums are worked out with; None for null and empty. A comma parts thousands: 0,25 is not 25.

    Raises ValueError.
    """
    if value is None or value == "":
        return None
    text = str(value)
    if len(text) > _MOST_CHARS:
        raise ValueError(f"{text[:40]!r}… is not a number")
    text = text.strip().removeprefix("$")
    if "," in text and _THOUSANDS.match(text) is None:
        raise ValueError(f"{value!r} has a comma that does not separate thousands; write decimals with a point")
    try:
        read = Decimal(text.replace(",", ""))
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None
    if not read.is_finite():
        raise ValueError(f"{value!r} is not a number")
    if read and not _LEAST <= read.adjusted() <= _MOST:
        raise ValueError(f"{text[:40]!r} is not an amount that anybody was charged")
    return read


def day_of(value: Any, zone: tzinfo) -> str:
    """The day of a moment in `zone`: epoch seconds, a time, or a date (a day whatever the zone). Raises ValueError."""
    text = str(value).replace(" UTC", "+00:00")
    if isinstance(value, int | Decimal) or (text.isdecimal() and len(text) > len("20261123")):
        at = datetime.fromtimestamp(int(number(value) or 0), zone)
    else:
        at = datetime.fromisoformat(text)
        at = at.astimezone(zone) if at.tzinfo and len(text) != len("2026-11-23") else at
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise ValueError(f"{text[:40]!r} is not a day of a bill")
    return f"{at:%Y-%m-%d}"


def dollars(currency: Any) -> None:
    """Raises `BadQuestion` for any other currency."""
    if currency is not None and str(currency).upper() != "USD":
        raise BadQuestion(f"the file's amounts are in {currency!r}; only USD can be compared")
