"""What settings are made of: a section, amounts of money, names."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_LIMIT_USD = 9_000_000  # Redis scripts count in doubles: exact to 2^53 nano-USD


class Section(BaseModel):
    """A part of the configuration: frozen, and a setting that it does not have is a problem."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def money(value: Any) -> Decimal:
    """Decimal USD from an int, a string, or a YAML float (whose shortest form is what the person typed)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError('must be an amount in USD, such as "0.50"')
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f'{value!r} is not an amount in USD, such as "0.50"') from None
    if not amount.is_finite() or amount < 0:
        raise ValueError("must be a finite amount of at least 0")
    if amount > MAX_LIMIT_USD:
        raise ValueError(f"must be at most {MAX_LIMIT_USD:,} USD")
    if amount != amount.quantize(Decimal("1e-9")):
        raise ValueError("must not be finer than a nano-dollar (1e-9)")
    return amount


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Usd = Annotated[Decimal, BeforeValidator(money)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
