"""Compile the price book: `python -m pricing.build`. Sources in order of trust, then the corrections.

python -m pricing.build [--litellm FILE] [--out FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import orjson

from pricing.sources import genai_prices
from pricing.sources.offer import Offer, lines

DATA = Path(__file__).parent / "data"


def merge(sources: Iterable[list[Offer]]) -> list[Offer]:
    """One offer for each model: the first source's, completed by the others."""
    merged: dict[tuple[str, str], Offer] = {}
    for source in sources:
        for offer in source:
            merged.setdefault(offer.key, offer)
    return list(merged.values())


def text(offers: Iterable[Offer]) -> bytes:
    """The content of `prices.jsonl`."""
    return b"".join(orjson.dumps(line) + b"\n" for line in lines(offers))


def main() -> int:
    """Write the book."""
    offers = merge([genai_prices.offers("2026-11-09")])
    (DATA / "prices.jsonl").write_bytes(text(offers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
