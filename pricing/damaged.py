"""What is wrong with the files of a price book."""

from __future__ import annotations


class DamagedBookError(ValueError):
    """A file of the book is missing or broken: one sentence, which says what to do."""
