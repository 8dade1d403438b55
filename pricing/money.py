"""Money: prices and cost lines are exact decimals; a total is rounded once, to integer nano-USD (1e-9 USD)."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

NANO = 1_000_000_000
_EXPONENT = -9

# Wide enough that no sum of real prices is ever rounded on its way; nothing depends on the thread's own context.
EXACT = Context(prec=50)


def to_nanousd(usd: Decimal) -> int:
    """A cost in nano-USD, rounded half to even."""
    return int(usd.scaleb(-_EXPONENT, EXACT).to_integral_value(ROUND_HALF_EVEN))


def to_nanousd_up(usd: Decimal) -> int:
    """A reservation in nano-USD: never less than `usd`."""
    return int(usd.scaleb(-_EXPONENT, EXACT).to_integral_value(ROUND_CEILING))


def plain(amount: Decimal) -> str:
    """A decimal without exponent and needless zeros: Decimal("1.50E-3") -> "0.0015", Decimal("0E-8") -> "0"."""
    if not amount:
        return "0"
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_amount(value: object) -> Decimal:
    """A price as it stands in a file: a decimal string or an int, finite and >= 0.

    Raises ValueError that says what is wrong; floats are refused, for they have lost digits already.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        hint = (
            f'put it in quotes ("{value}")' if isinstance(value, float) else 'write it as a string, for example "0.25"'
        )
        raise ValueError(f"{value!r} is not an exact amount: {hint}")
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError(f'{value!r} is not a number: write a plain decimal, for example "0.25"') from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{value!r} is not a price: it must be 0 or more, and finite")
    if amount > 10**9 or (amount and amount < Decimal("1e-18")):
        raise ValueError(f"{value!r} is no believable price: it must lie between 1e-18 and 1e9")
    return amount
