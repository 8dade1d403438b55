"""Values of LiteLLM's rows, as a driver gives them or as the text of a dump has them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

from pricing.values import slotted

Row = Mapping[str, Any]
Rows = Sequence[Row]

_DURATION = re.compile(r"(\d+)(s|mo|m|h|d|w)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 2_592_000}
_WORDS = {"hourly": "1h", "daily": "1d", "weekly": "7d", "monthly": "30d"}
_WINDOWS = {60: "minute", 3600: "hour", 86_400: "day", 604_800: "week"}
_MONTHS_S = range(28 * 86_400, 31 * 86_400 + 1)
_ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,]+)')


@slotted
class Conversion:
    """What becomes of it so far. at: when it is read. timezone: of its budgets' windows; None: UTC."""

    at: datetime
    config: dict[str, Any] = field(
        default_factory=lambda: {"server": {}, "upstreams": {}, "models": {}, "keys": [], "budgets": []}
    )
    left: list[str] = field(default_factory=list)
    key_names: set[str] = field(default_factory=set)
    budget_names: set[str] = field(default_factory=set)
    timezone: str | None = None


def window(duration: Any) -> tuple[str | None, bool]:
    """The calendar window of a budget's duration (`total` without one, None where there is none so long), and whether
    LiteLLM's ends with it.

    As litellm 1.110's `duration_parser` has it: `1d` ends at midnight, `7d` on Monday, `30d` and `1mo` with the month.
    """
    if not duration:
        return "total", True
    text = str(duration).strip().lower()
    match = _DURATION.match(_WORDS.get(text, text))
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if seconds in _MONTHS_S:
        return "month", seconds == 30 * 86_400
    return _WINDOWS.get(seconds), True


def amount(value: Any) -> str:
    """A float as it was typed."""
    text = f"{float(value):.9f}"
    return text.rstrip("0").rstrip(".")


def moment(value: Any) -> datetime | None:
    """A timestamp without a zone is UTC, as Prisma writes it."""
    if not value:
        return None
    parsed = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def opened(value: Any) -> Any:
    """A column of JSON, which a dump has as text; None for what is empty."""
    if isinstance(value, str):
        value = json.loads(value) if value.strip() else None
    return value or None


def strings(value: Any) -> list[str]:
    """A list, or one as a database's text has it."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            value = json.loads(text)
        else:
            parts = _ITEM.findall(text.removeprefix("{").removesuffix("}"))
            value = [re.sub(r"\\(.)", r"\1", quoted) or plain for quoted, plain in parts]
    return [str(item) for item in value or () if str(item)]


def as_dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
