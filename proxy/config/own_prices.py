"""The price book with what the operator says: his own prices, and what an unpriced model is taken to cost."""

from __future__ import annotations

from pricing.book import Book
from proxy.config.model import AssumedPrice, Config


def priced_by(config: Config, book: Book) -> Book:
    """`book` (without anything of the operator's) with the configuration's prices before it."""
    book = book.with_operator(config.operator_prices())
    assumed = config.on_unpriced
    return book.with_assumed(assumed.input, assumed.output) if isinstance(assumed, AssumedPrice) else book
