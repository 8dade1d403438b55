"""The price book, read before any process needs it: they share it."""

from __future__ import annotations

from pricing.load import packaged_book
from proxy.config.file import ConfigError, Problem


def read_prices() -> None:
    """A megabyte and a half, once. Raises ConfigError where the installation's book is damaged."""
    try:
        packaged_book()
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError([Problem("", f"the price book is damaged, install Taximeter again: {error}")]) from None
