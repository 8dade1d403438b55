"""Cohere: what is billed stands in `billed_units` and is smaller than `tokens`; `cached_tokens` is informational.

v2 chat: `usage.billed_units`; v1, embed and rerank: `meta.billed_units`; streams: in `message-end` or `stream-end`.
Shapes: cohere-python `Usage`, `ApiMetaBilledUnits` (its numbers are floats).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from proxy.meters.openai_usage import read_usage
from proxy.meters.reader import Context, Reader, first_mapping
from proxy.meters.reading_builder import ReadingBuilder, mapping, text

MARKS = re.compile(rb'"(?:billed_units|usage)"')

_UNITS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "image_tokens": "image_in",
    "images": "image",
    "search_units": "search_unit",
    "classifications": "classification",
}


def read(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Any Cohere response."""
    builder.model = text(response.get("model"))
    usage = first_mapping(response, "usage", "meta")
    if "total_tokens" in usage:  # the OpenAI-compatible endpoint, and rerankers that bill by token
        read_usage(usage, context, builder)
        return
    billed = mapping(usage.get("billed_units")) or mapping(usage.get("tokens")) or usage  # 0 billed is 0
    for name, unit in _UNITS.items():
        quantity = builder.maybe(billed, name)
        if quantity is not None:
            builder.has_usage = True
            builder.add(unit, quantity)


def fold(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A stream event, v2 (`delta.usage`) or v1 (`response.meta`)."""
    for source in (event, mapping(event.get("delta")), mapping(event.get("response")), mapping(event.get("message"))):
        for name in ("usage", "meta"):
            if isinstance(value := source.get(name), dict):
                state[name] = value


chat = Reader("cohere.chat", read, fold, marks=MARKS)
embed = Reader("cohere.embed", read, fold, marks=MARKS)
rerank = Reader("cohere.rerank", read, fold, marks=MARKS)
