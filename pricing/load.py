"""Reading the price book from its files: the only place in `pricing` that does I/O."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from pathlib import Path

import orjson

from pricing.book import Book
from pricing.catalog import Catalog

DATA = Path(__file__).parent / "data"
PRICES, MULTIPLIERS, SCHEDULES, ALIASES = "prices.jsonl", "multipliers.toml", "schedules.toml", "aliases.toml"


def load_book(path: Path | None = None) -> Book:
    """The book in the folder `path`, by default the one that is shipped.

    Raises OSError where a file is missing, ValueError where one is not well formed.
    """
    return _shipped() if path is None else read_book(path)


@functools.cache
def _shipped() -> Book:
    return read_book(DATA)


def read_book(folder: Path) -> Book:
    """The book in `folder`. Its version is a hash of what was read."""
    content = {name: (folder / name).read_bytes() for name in (PRICES, MULTIPLIERS, SCHEDULES, ALIASES)}
    digest = hashlib.sha256()
    for name, data in sorted(content.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    tables = {name: tomllib.loads(data.decode()) for name, data in content.items() if name != PRICES}
    catalog = Catalog(
        [orjson.loads(line) for line in content[PRICES].splitlines() if line],
        multipliers=tables[MULTIPLIERS],
        schedules=tables[SCHEDULES],
        aliases=tables[ALIASES],
    )
    return Book(catalog, digest.hexdigest()[:12])
