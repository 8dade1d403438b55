"""The packaged price book, from its files; nothing else in `pricing` reads them at run time."""

from __future__ import annotations

import hashlib
import re
import tomllib
import zlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import orjson

from pricing.book import Book
from pricing.catalog import Alias, Catalog, choices
from pricing.clock import schedule
from pricing.damaged import DamagedBookError
from pricing.price import ALWAYS_S, NEVER_S, Multiplier
from pricing.times import epoch_s

DATA = Path(__file__).parent / "data"
_OF_A_PROVIDER = re.compile(rb'^\{"provider":"([^"]*)".*\}\n?(?:\{"provider":"\1".*\}\n?)*', re.MULTILINE)
_QUICKLY = 1  # zlib's level: 6 takes twice as long, for a fifth less
_CHECKED = re.compile(rb'"checked":"(\d{4}-\d{2}-\d{2})')


@cache
def packaged_book() -> Book:
    """The packaged book, read once: processes that are forked afterwards share it."""
    return load_book()


def load_book(path: Path | None = None) -> Book:
    """The book in `path`, a folder with `prices.jsonl` and the TOML files beside it; by default the packaged one.

    Raises DamagedBookError where a file is missing or broken.
    """
    try:
        return _read(path or DATA)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise DamagedBookError(f"the price book is damaged, install Taximeter again: {error}") from error


def _read(folder: Path) -> Book:
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
            lines=_Lines(prices),
            names={other: name for name, others in aliases.get("providers", {}).items() for other in others},
            aliases=_aliases(aliases.get("alias", [])),
            fallbacks={name: tuple(others) for name, others in aliases.get("fallbacks", {}).items()},
            routers={name: tuple(models) for name, models in aliases.get("routers", {}).items()},
            schedules={name: schedule(raw) for name, raw in tables["schedules"].items()},
            multipliers=_multipliers(tables["multipliers"].get("multiplier", [])),
            parse=orjson.loads,
        )
    )


@lru_cache(maxsize=1)
def checked_at(book: Book) -> int:
    """When the newest of a book's prices was checked against its source, in epoch seconds (UTC midnight)."""
    days = [day for lines in book.catalog.lines.values() for line in lines for day in _CHECKED.findall(line)]
    return epoch_s(max(days).decode(), 0) if days else 0


class _Lines(Mapping[str, list[bytes]]):
    """Lines, unparsed, by the provider that each begins with: unpacked when they are asked for. Packed they are a tenth of the
    file's 1.7 MB, of which most processes ask for one or two providers."""

    def __init__(self, prices: bytes) -> None:
        self._packed: dict[str, list[bytes]] = {}
        read = 0
        for lines in _OF_A_PROVIDER.finditer(prices):
            if prices[read : lines.start()].strip():
                break
            self._packed.setdefault(lines[1].decode(), []).append(zlib.compress(lines[0], _QUICKLY))
            read = lines.end()
        if rest := prices[read:].lstrip():
            line = prices[: len(prices) - len(rest)].count(b"\n") + 1
            raise ValueError(f"prices.jsonl: line {line} is not a complete row of a provider")

    def __getitem__(self, provider: str) -> list[bytes]:
        return [line for packed in self._packed[provider] for line in zlib.decompress(packed).splitlines()]

    def __contains__(self, provider: object) -> bool:
        return provider in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


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
