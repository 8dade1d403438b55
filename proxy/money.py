"""Money as text and back: nano-USD integers outside arithmetic."""

from __future__ import annotations

NANO = 1_000_000_000


def usd_text(nanousd: int) -> str:
    """A nano-USD integer as an exact decimal, without needless zeros: 1500000000 -> "1.5", 0 -> "0"."""
    sign, amount = ("-", -nanousd) if nanousd < 0 else ("", nanousd)
    whole, rest = divmod(amount, NANO)
    return f"{sign}{whole}.{rest:09d}".rstrip("0") if rest else f"{sign}{whole}"
