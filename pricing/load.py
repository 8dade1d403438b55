"""The packaged price book, from its files: the only place in `pricing` that reads any."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from pricing.book import Book
from pricing.catalog import Alias, Catalog, choices
from pricing.clock import schedule
from pricing.price import ALWAYS_S, NEVER_S, Multiplier
from pricing.times import epoch_s

DATA = Path(__file__).parent / "data"
_PREFIX = b'{"provider":"'


def load_book(path: Path | None = None) -> Book:
    """The book in `path`, a folder with `prices.jsonl` and the TOML files beside it; by default the packaged one.

    Raises OSError where a file is missing and ValueError where one is broken.
    """
    folder = path or DATA
    prices = (folder / "prices.jsonl").read_bytes()
    parts = {name: (folder / f"{name}.toml").read_bytes() for name in ("schedules", "multipliers", "aliases")}
    digest = hashlib.sha256(prices)
    for part in parts.values():
        digest.update(part)
    tables = {name: tomllib.loads(part.decode()) for name, part in parts.items()}
    aliases = tables["aliases"]
    return Book(
        Catalog(
            version=digest.hexdigest()[:12],
            lines=_by_provider(prices),
            names={other: name for name, others in aliases.get("providers", {}).items() for other in others},
            aliases=_aliases(aliases.get("alias", [])),
            fallbacks={name: tuple(others) for name, others in aliases.get("fallbacks", {}).items()},
            routers={name: tuple(models) for name, models in aliases.get("routers", {}).items()},
            schedules={name: schedule(raw) for name, raw in tables["schedules"].items()},
            multipliers=_multipliers(tables["multipliers"].get("multiplier", [])),
            parse=orjson.loads,
        )
    )


def checked_at(path: Path | None = None) -> int:
    """When the newest of the book's prices was checked against its source, in epoch seconds (UTC midnight)."""
    days = re.findall(rb'"checked":"(\d{4}-\d{2}-\d{2})', ((path or DATA) / "prices.jsonl").read_bytes())
    return epoch_s(max(days).decode(), 0) if days else 0


def _by_provider(prices: bytes) -> dict[str, list[bytes]]:
    """Lines, unparsed, by the provider that each begins with."""
    lines: dict[str, list[bytes]] = {}
    for line in prices.splitlines():
        if line:
            end = line.index(b'"', len(_PREFIX))
            lines.setdefault(line[len(_PREFIX) : end].decode(), []).append(line)
    return lines


def _aliases(raw: list[dict[str, Any]]) -> dict[str, tuple[Alias, ...]]:
    by_provider: dict[str, list[Alias]] = {}
    for entry in raw:
        names = entry["name"] if isinstance(entry["name"], list) else [entry["name"]]
        for name in names:
            alias = Alias(name, entry["model"], epoch_s(entry.get("from"), ALWAYS_S), epoch_s(entry.get("to"), NEVER_S))
            by_provider.setdefault(entry["provider"], []).append(alias)
    return {provider: tuple(entries) for provider, entries in by_provider.items()}


def _multipliers(raw: list[dict[str, Any]]) -> dict[str, tuple[Multiplier, ...]]:
    by_provider: dict[str, list[Multiplier]] = {}
    for entry in raw:
        for model in entry["models"]:
            by_provider.setdefault(entry["provider"], []).append(_multiplier(entry, model))
    return {provider: tuple(entries) for provider, entries in by_provider.items()}


def _multiplier(entry: Mapping[str, Any], model: str) -> Multiplier:
    return Multiplier(
        provider=entry["provider"],
        model=model,
        factor=Decimal(entry["factor"]),
        from_s=epoch_s(entry.get("from"), ALWAYS_S),
        to_s=epoch_s(entry.get("to"), NEVER_S),
        when=choices(entry.get("when", {})),
        units=frozenset(entry.get("units", ())),
        everything=entry.get("everything", False),
        gap=entry.get("gap", False),
        source=entry["source"],
        group=entry["group"],
    )
