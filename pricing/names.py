"""Whose model is meant: from the many names that one model goes by to the one that its prices stand under.

A model record's `match` lists names (`gpt-5.4`), globs (`gpt-5.4-2*`) and regular expressions (`~^gpt-5\\.4-\\d{4}`).
Its own name and exact names win over patterns, patterns are tried in the book's order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pricing.rows import matches

_PREFIXES = re.compile(r"^(?:models/|(?:projects/[^/]+/locations/[^/]+/)?publishers/[^/]+/models/|arn:aws[^/]*/)")
_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])([0-2]\d|3[01])\b")


class ModelIndex:
    """The models of one provider, findable by any of their names."""

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._exact: dict[str, str] = {}
        self._patterns: list[tuple[str, str]] = []
        for record in records:
            for name in record.get("match", ()):
                if "*" in name or name.startswith("~"):
                    self._patterns.append((name, record["model"]))
                else:
                    self._exact.setdefault(name.lower(), record["model"])
        for record in records:
            self._exact[record["model"].lower()] = record["model"]

    def find(self, name: str) -> str | None:
        """The name under which `name`'s prices stand; None where the provider has no such model."""
        for form in forms(name):
            if found := self._exact.get(form):
                return found
        for form in forms(name):
            for pattern, model in self._patterns:
                if _fits(pattern, form):
                    return model
        return None


def forms(name: str) -> Iterator[str]:
    """A name as it stands, without resource prefixes, and with a date written the other way, in lower case."""
    name = name.lower().strip()
    yield name
    bare = _PREFIXES.sub("", name)
    if bare != name:
        yield bare
    dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", bare)
    if dashed != bare:
        yield dashed


def _fits(pattern: str, name: str) -> bool:
    if pattern.startswith("~"):
        return re.search(pattern[1:], name, re.IGNORECASE) is not None
    return matches(pattern, name)
