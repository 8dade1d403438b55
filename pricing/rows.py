"""Price rows: one sheet of prices for one model under one set of conditions, from one instant to another.

The shape of a row, in `data/prices.jsonl` and in the hand-written files alike (instants: ISO 8601, UTC):

    {"provider": "openai", "model": "gpt-5.4", "when": {"service_tier": "flex"}, "over_input_tokens": 272000,
     "from": "2026-08-21", "to": "2027-01-01", "usd": {"input": "2.5", "audio_second": {"usd": "0.006", "per": 60}},
     "source": "genai-prices 0.2.3", "checked": "2026-11-09"}

`model` may be a glob; `when` maps a condition to a value, a list of values or globs, or `!value` (known, and different).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from pricing.money import parse_amount
from pricing.units import unit

BEGINNING_S = -(1 << 62)
END_S = 1 << 62

_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?Z?)?")


class Price(NamedTuple):
    """`usd` for `per` of a unit; less than `min_quantity` is billed as that much."""

    usd: Decimal
    per: int
    min_quantity: Decimal | int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One price row. Times are epoch seconds, `from_s` inclusive, `to_s` exclusive. `over`: applies above so many tokens."""

    provider: str
    model: str
    prices: Mapping[str, Price]
    source: str
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    match: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    over: int | None = None
    from_s: int = BEGINNING_S
    to_s: int = END_S
    clock: str | None = None
    checked: str = ""


@dataclass(frozen=True, slots=True)
class Multiplier:
    """A factor on prices, applied last. `units`: names or kinds (`token`, `tool`, `thing`) that it applies to, or all."""

    provider: str
    models: tuple[str, ...]
    factor: Decimal
    source: str
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    match: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: tuple[str, ...] = ()
    from_s: int = BEGINNING_S
    to_s: int = END_S
    clock: str | None = None

    def touches(self, name: str) -> bool:
        """Whether the price of the unit called `name` is multiplied."""
        return not self.units or name in self.units or unit(name).kind in self.units


def parse_instant(value: object) -> int:
    """A date or an instant in UTC, as epoch seconds: "2026-12-01", "2026-08-16T16:00Z", a YAML date.

    Raises ValueError that says what is expected.
    """
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp())
    raise ValueError(f"{value!r} is not a date: write 2026-12-01 or 2026-12-01T16:00Z (UTC)")


def instant_text(at_s: int) -> str:
    """An instant as it is written in price files: the shortest of the accepted forms."""
    instant = datetime.fromtimestamp(at_s, UTC)
    if at_s % 86400 == 0:
        return instant.date().isoformat()
    return instant.strftime("%Y-%m-%dT%H:%MZ" if at_s % 60 == 0 else "%Y-%m-%dT%H:%M:%SZ")


def parse_price(name: str, value: object) -> Price:
    """A unit's price: `"2.5"` or `{"usd": "0.006", "per": 60, "min_quantity": 10}`. Raises ValueError."""
    if not isinstance(value, Mapping):
        return Price(parse_amount(value), unit(name).per)
    unknown = set(value) - {"usd", "per", "min_quantity"}
    if unknown or "usd" not in value:
        raise ValueError(f"a price is a string or {{usd, per, min_quantity}}, not {dict(value)!r}")
    per = value.get("per", unit(name).per)
    if isinstance(per, bool) or not isinstance(per, int) or per <= 0:
        raise ValueError(f"per: {per!r} is not a positive whole number")
    return Price(parse_amount(value["usd"]), per, parse_amount(value.get("min_quantity", 0)))


def parse_conditions(value: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """`when` or `match` as it stands in a file: each condition with the patterns of which one must hold."""
    return {
        name: tuple(str(one) for one in wanted) if isinstance(wanted, (list, tuple)) else (str(wanted),)
        for name, wanted in value.items()
    }


def parse_row(raw: Mapping[str, Any]) -> Row:
    """A row of the price book. The book is our own, so it is trusted to be well formed; ValueError or KeyError if not."""
    return Row(
        provider=raw["provider"],
        model=raw["model"],
        prices={name: parse_price(name, value) for name, value in raw["usd"].items()},
        source=raw["source"],
        when=parse_conditions(raw.get("when", {})),
        over=threshold(raw),
        from_s=parse_instant(raw["from"]) if "from" in raw else BEGINNING_S,
        to_s=parse_instant(raw["to"]) if "to" in raw else END_S,
        clock=raw.get("clock"),
        checked=raw.get("checked", ""),
    )


def threshold(raw: Mapping[str, Any]) -> int | None:
    """More input tokens than this must be there for the row to apply (`from_input_tokens` counts itself)."""
    if "from_input_tokens" in raw:
        return int(raw["from_input_tokens"]) - 1
    return int(raw["over_input_tokens"]) if "over_input_tokens" in raw else None


def parse_multiplier(raw: Mapping[str, Any]) -> Multiplier:
    """A row of `multipliers.toml`; as trusted as a price row."""
    models = raw.get("models", ["*"])
    return Multiplier(
        provider=raw["provider"],
        models=tuple(models),
        factor=parse_amount(raw["factor"]),
        source=raw["source"],
        when=parse_conditions(raw.get("when", {})),
        units=tuple(raw.get("units", ["token"])),
        from_s=parse_instant(raw["from"]) if "from" in raw else BEGINNING_S,
        to_s=parse_instant(raw["to"]) if "to" in raw else END_S,
        clock=raw.get("clock"),
    )


def holds(wanted: Mapping[str, tuple[str, ...]], facts: Mapping[str, str | None]) -> bool:
    """Whether every condition is met by what is known. What is not known meets none."""
    return all(_one_holds(patterns, facts.get(name)) for name, patterns in wanted.items())


def _one_holds(patterns: tuple[str, ...], value: str | None) -> bool:
    if value is None:
        return False
    if patterns[0].startswith("!"):
        return all(not matches(pattern.removeprefix("!"), value) for pattern in patterns)
    return any(matches(pattern, value) for pattern in patterns)


def matches(pattern: str, value: str) -> bool:
    """Whether `value` fits a glob of which only `*` is special; upper and lower case are the same."""
    pattern, value = pattern.lower(), value.lower()
    if "*" not in pattern:
        return pattern == value
    return fnmatchcase(value, pattern.replace("[", "[[]").replace("?", "[?]"))
