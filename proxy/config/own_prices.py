"""The price book with the operator's settings: own prices, and the price assumed for models without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pricing.book import Book
from pricing.operator import OperatorPrice
from proxy.config.model import AssumedPrice, Config
from proxy.config.typed_price import before_others


def priced_by(config: Config, book: Book, typed: OperatorPrice | None = None) -> Book:
    """`book` (without anything of the operator's) with the configuration's prices before it, and one that was typed first."""
    own = config.operator_prices()
    rows = [*own, *_by_hardware(config, book, own)]
    book = book.with_operator(rows if typed is None else before_others(typed, rows))
    assumed = config.on_unpriced
    return book.with_assumed(assumed.input, assumed.output) if isinstance(assumed, AssumedPrice) else book


def _by_hardware(config: Config, book: Book, own: tuple[OperatorPrice, ...]) -> Iterator[OperatorPrice]:
    """For models whose hardware the operator names, the book's dated prices of that; none where `prices` names the model."""
    priced = {(row.provider, row.model) for one in own if (row := one.row) is not None}
    for name, model in config.models.items():
        upstream = config.upstreams.get(model.upstream)
        if model.hardware is None or upstream is None:
            continue
        provider = upstream.provider_name(model.upstream).lower()
        real = (model.model or name).lower()
        if (provider, real) in priced:
            continue
        for row in book.catalog.common_rows(book.catalog.canonical(provider)):
            if model.hardware.lower() in row.when.get("hardware", ()):
                yield OperatorPrice(replace(row, provider=provider, model=real, when={}), None)
