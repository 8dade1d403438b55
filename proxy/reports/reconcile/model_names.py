"""One name for a model, whatever a ledger, a list of prices or a provider's bill calls it. Pure.

Clouds sell one model under many names (by region, by version) and bill it under a description: AWS says `Claude Sonnet 4.5
(Amazon Bedrock Edition)` or `USE1-NovaPro-input-tokens`, Google `Gemini 2.5 Flash Lite Text Output - Predictions`. There it
is told by the words that its description and a name of the price book have in common; of several names the longest. A version
in the description is in the name, too: a model that the book does not have yet is none of its elder sisters.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from pricing.book import Book
from proxy.reports.reconcile.stated import HUMP

_CLOUDS = frozenset({"aws", "azure", "google", "google-vertex"})
_PLACES = re.compile(r"^(?:(?:us|eu|apac|jp|au|ca|sa|amer|global|regional|us-gov)\.)?(?:[a-z0-9]+\.)?(?=[a-z])")
_EDITIONS = re.compile(r"(?:@.*|:\d+|-v\d+|-20\d{6}|-latest|-instruct)$")
_WORD = re.compile(r"[a-z]+|\d+")
# A medium of a description, not a part of the model's name: `Gemini 2.5 Flash Image Input` is said of gemini-2.5-flash.
_MEDIUM = re.compile(r"\b(?:text|image|audio|video)[ _-]+(?=(?:cached[ _-]+)?(?:input|output)\b)")
# What AWS's usage types begin with, `USE1-` or `APN1-`: its number is no part of a model's name.
_REGION = re.compile(r"\b(?:US|EU|AP|CA|SA|ME|AF|IL|UG|MX)[A-Z]{1,2}\d(?=[-_:])")
# `4.5`, and the 2 of `Nova2Pro`; not the 1 of `Write1h` or `TextG1`.
_VERSION = re.compile(r"\d+(?:\.\d+)+|(?<=[a-z]{3})\d+(?![\dhkm])")


def namer(book: Book, provider: str, at_us: int) -> Callable[[str], str]:
    """provider: as the book has it. The names of two models are equal where both are the same one for a bill."""
    names: dict[str, str] = {}
    catalog, at_s = book.catalog, at_us // 1_000_000
    listed_as: dict[str, list[str]] = defaultdict(list)
    for name in catalog.provider(provider).models if provider in _CLOUDS else ():
        listed_as[_base(name)].append(_without_place(name))
    words = {base: _words(base) for base in listed_as if base != "*"}

    def named(model: str) -> str:
        if model not in names:
            listed = catalog.find(provider, model.lower(), at_s)
            if provider not in _CLOUDS:
                names[model] = listed.name if listed else model.lower()
            else:
                names[model] = _base(listed.name) if listed else _described(model, words, listed_as)
        return names[model]

    return named


def _base(name: str) -> str:
    """`eu.anthropic.claude-sonnet-4-5-20250929-v1:0` -> `claude-sonnet-4-5`."""
    name = _without_place(name)
    while (shorter := _EDITIONS.sub("", name)) != name:
        name = shorter
    return name


def _without_place(name: str) -> str:
    return _PLACES.sub("", name.lower().rpartition("/")[2])


def _described(text: str, words: Mapping[str, Counter[str]], listed_as: Mapping[str, Sequence[str]]) -> str:
    """The model that a description names; the description itself (a resource's last part) where none is."""
    base = _base(text)
    if base in words:
        return base
    text = _REGION.sub("", text)
    words_said, versions = Counter(_WORD.findall(_MEDIUM.sub("", HUMP.sub(" ", text).lower()))), _VERSION.findall(text)
    meant = [
        name
        for name, its in words.items()
        if its <= words_said and all(any(_has(whole, version) for whole in listed_as[name]) for version in versions)
    ]
    return max(meant, key=lambda name: (words[name].total(), len(name), name)) if meant else base


def _words(name: str) -> Counter[str]:
    """Without the `v` of a version, which bills do not say: `rerank-v3-5` is "Rerank 3.5" there."""
    first, *others = _WORD.findall(name) or [""]
    return Counter([first, *(word for word in others if word != "v")])


def _has(name: str, version: str) -> bool:
    """Whether a version is in a name, which writes 4.5 as `4-5`, 2.1 as `v2:1` and 2.0 as `2`."""
    digits = version.removesuffix(".0").replace(".", "[-.:]")
    return re.search(rf"(?<!\d){digits}(?!\d)", name) is not None
