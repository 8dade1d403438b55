"""Where the price book comes from: one importer a file, used only when the book is rebuilt.

An importer turns what a source says into the book's own records (`pricing/rows.py` has their shape); it judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]

# What a source calls a provider, where the book has another name.
_PROVIDERS: Mapping[str, str] = {
    "x-ai": "xai",
    "moonshotai": "moonshot",
    "voyageai": "voyage",
    "amazon-bedrock": "aws",
    "alibaba": "dashscope",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All records of one source. `checked` is the day on which the source says that it last looked."""

    name: str
    version: str
    checked: str
    records: list[Record]


def provider_name(name: str) -> str:
    """The book's name for a provider."""
    return _PROVIDERS.get(name, name)
