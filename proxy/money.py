"""Money as text and back: nano-USD integers outside arithmetic."""

from __future__ import annotations

from decimal import Decimal

NANO = 1_000_000_000
_MOST_PLACES = 30


def is_short(value: Decimal) -> bool:
    """Whether exact sums can be worked out with a number that somebody wrote: 1e-999999999 is short only as it is written."""
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and abs(exponent) <= _MOST_PLACES


def usd_text(nanousd: int) -> str:
    """A nano-USD integer as an exact decimal, without needless zeros: 1500000000 -> "1.5", 0 -> "0"."""
    if nanousd < 0:
        return f"-{usd_text(-nanousd)}"
    if nanousd < NANO:
        whole, rest = "0", str(nanousd + NANO)[1:]  # a format with `09d` takes seven times as long
    else:
        digits = str(nanousd)
        whole, rest = digits[:-9], digits[-9:]
    rest = rest.rstrip("0")
    return f"{whole}.{rest}" if rest else whole
