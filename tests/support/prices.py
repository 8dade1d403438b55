"""What the price tests share: small books made of rows, and readings priced by them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pricing.book import Book
from pricing.catalog import Catalog
from pricing.clock import Schedule
from pricing.cost import Cost
from pricing.operator import parse_rows
from pricing.price import Multiplier
from pricing.usage import Part, Reading


def at(moment: str) -> int:
    """Epoch seconds; UTC where no zone is given."""
    time = datetime.fromisoformat(moment)
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def book(
    *lines: dict[str, Any], multipliers: tuple[Multiplier, ...] = (), schedules: dict[str, Schedule] | None = None
) -> Book:
    """A book of rows of the provider `acme`."""
    rows = [
        json.dumps({"provider": "acme", "model": "m", "source": "test", "checked": "2026-11-23"} | line).encode()
        for line in lines
    ]
    catalog = Catalog("test", {"acme": rows}, schedules=schedules or {}, multipliers={"acme": multipliers})
    return Book(catalog)


def with_rows(base: Book, *rows: dict[str, Any]) -> Book:
    parsed, problems = parse_rows(rows)
    assert problems == ()
    return base.with_operator(parsed)


def price(
    prices: Book,
    usage: dict[str, Any],
    *,
    provider: str = "acme",
    model: str = "m",
    served: str | None = None,
    moment: str = "2026-11-23T12:00:00Z",
    reported: str | None = None,
    parts: tuple[Part, ...] = (),
    endpoint: str | None = None,
    attributes: dict[str, str | None] | None = None,
    **conditions: str,
) -> Cost:
    reading = Reading(
        usage=usage,
        source="provider",
        model=served,
        conditions=conditions,
        parts=parts,
        provider_cost_usd=None if reported is None else Decimal(reported),
    )
    return prices.cost(
        reading, provider=provider, model=model, at_s=at(moment), endpoint=endpoint, attributes=attributes
    )
