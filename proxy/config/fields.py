"""What settings are made of: amounts, names, times, addresses, each with what is wrong where it is not one."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from proxy.config.addresses import wrong_with_url
from proxy.config.rules import after, before, within

_DIGITS = re.compile(r"(0|[1-9][0-9]{0,17})\Z")

KEY_BUDGETS = "key:"
"""How budgets are called that come with keys which were made with a limit (`proxy.budgets.key_limits`)."""

Window = Literal["minute", "hour", "day", "week", "month", "total"]

MAX_LIMIT_USD = 9_000_000  # Redis scripts count in doubles: exact to 2^53 nano-USD


def money(value: Any) -> Decimal:
    """Decimal USD from an int, a string, or a YAML float (whose shortest form is what the person typed)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError('must be an amount in USD, such as "0.50"')
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(
            f'{value!r} is not an amount in USD, such as "0.50": digits and a point, nothing else'
        ) from None
    if not amount.is_finite() or amount < 0:
        raise ValueError("must be a finite amount of at least 0")
    if amount > MAX_LIMIT_USD:
        raise ValueError(f"must be at most {MAX_LIMIT_USD:,} USD")
    if amount != amount.quantize(Decimal("1e-9")):
        raise ValueError("must not be finer than a nano-dollar (1e-9)")
    return amount


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        import difflib  # noqa: PLC0415 - only where something is wrong
        from zoneinfo import available_timezones  # noqa: PLC0415 - as above

        known = {zone.lower(): zone for zone in available_timezones()}
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.8)
        advice = f"did you mean {known[near[0]]}?" if near else "use a name such as Europe/Berlin"
        raise ValueError(f"{name!r} is not a time zone; {advice}") from None
    return name


def _as_list(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'must be text: put it in quotes, as "{value}"')
    return [value] if isinstance(value, str) else value


def _number_of_digits(value: Any) -> Any:
    """What comes from the environment is text."""
    return int(value) if isinstance(value, str) and _DIGITS.match(value) else value


Text = Annotated[str, within(min_length=1)]
Name = Annotated[str, within(min_length=1, max_length=200)]
Usd = Annotated[Decimal, before(money)]


def _webhook(url: str) -> str:
    if what := wrong_with_url(url, with_query=True):
        raise ValueError(what)
    return url


Webhook = Annotated[str, after(_webhook)]
TimeZone = Annotated[str, after(_time_zone)]
Names = Annotated[tuple[str, ...], before(_as_list, written=str | tuple[str, ...])]
# Of a whole number: in JSON Schema it stays one.
OrText = before(_number_of_digits)
PositiveInt = Annotated[int, within(gt=0, strict=True), OrText]
Seconds = Annotated[float, within(ge=0, le=86_400)]
TimeOut = Annotated[float, within(gt=0, le=86_400)]
"""In seconds. 0 is none: elsewhere it means that there is no bound, and here everything would end before it began."""
Port = Annotated[int, within(ge=0, le=65_535, strict=True), OrText]

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")  # RFC 9110, 5.6.2


def fits_a_header(value: str) -> bool:
    """Visible characters and blanks within: what is sent as it stands, and read as one line."""
    return value.isprintable() and value == value.strip() and all(ord(character) < 256 for character in value)


def wrong_with_secret(secret: str) -> str | None:
    """Why no client can send `secret` to us in a header; None where it can."""
    if secret != secret.strip():
        return "has blanks or a line break around it, which arrive without them: nobody could use it"
    return None if fits_a_header(secret) else "has characters that no header takes: nobody could send it"
