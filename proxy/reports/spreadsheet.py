"""Cells for spreadsheets: names come from clients, and no program that opens the file is to take one for a formula. Pure."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: full-width


def harmless(value: Any) -> Any:
    """The cell, with an apostrophe before it where it would begin a formula; numbers stay as they are."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        Decimal(value)
    except InvalidOperation:
        return f"'{value}"
    return value
