"""How the translator hands back a reading beside its answer: it has metered the provider's own bytes.

Whole answers have it in a header, streams in an event of its own, which goes no further than the data plane. What the
translated answer itself says of usage is not asked: it is LiteLLM's word, and less exact. Both are of our own making, between
two processes of one installation: neither a provider nor a client can write them, for a stream's events are JSON that the
translator encodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from pricing.usage import Part, Quantity, Reading
from proxy.meters.reader import Context, Reader
from proxy.meters.reading_builder import ReadingBuilder, items, mapping

HEADER = "x-translated-reading"
MOST_OUTPUT = b"x-translate-most-output"  # the other way: how much a call may write at most by its ceiling
FIELD = "taximeter_reading"
_MARKS = re.compile(rb'"usage|"' + FIELD.encode())


def encode(reading: Reading) -> bytes:
    """A reading as one line of JSON, in ASCII."""
    value: dict[str, Any] = {
        "usage": _units(reading.usage),
        "source": reading.source,
        "model": reading.model,
        "conditions": dict(reading.conditions),
        "asked": dict(reading.requested),
        "parts": [{"model": part.model, "usage": _units(part.usage)} for part in reading.parts],
        "cost": None if reading.provider_cost_usd is None else str(reading.provider_cost_usd),
        "fee": str(reading.provider_fee_usd),
        "flags": list(reading.flags),
    }
    return json.dumps(value, separators=(",", ":")).encode()


def event(reading: Reading) -> bytes:
    """The same as an event of a stream."""
    return b'data: {"%b": %b}\n\n' % (FIELD.encode(), encode(reading))


def _units(usage: Mapping[str, Quantity]) -> dict[str, int | str]:
    return {unit: quantity if isinstance(quantity, int) else str(quantity) for unit, quantity in usage.items()}


def _read(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    value = mapping(response.get(FIELD))
    if not value and (header := context.response_headers.get(HEADER)):
        value = mapping(orjson.loads(header))
    if not value:
        return
    _add(value.get("usage"), builder.usage)
    builder.model = value.get("model")
    builder.conditions.update(mapping(value.get("conditions")))
    builder.requested.update(mapping(value.get("asked")))
    for part in items(value.get("parts")):
        usage: dict[str, Quantity] = {}
        _add(part["usage"], usage)
        builder.parts.append(Part(part["model"], usage))
    builder.cost_usd = None if value["cost"] is None else Decimal(value["cost"])
    builder.fee_usd = Decimal(value["fee"])
    builder.flags.extend(items(value.get("flags")))
    builder.has_usage = value["source"] != "none"
    builder.partial = value["source"] == "partial"


def _add(stated: object, usage: dict[str, Quantity]) -> None:
    for unit, quantity in mapping(stated).items():
        usage[unit] = quantity if isinstance(quantity, int) else Decimal(quantity)


def _fold(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    if FIELD in event:
        state[FIELD] = event[FIELD]


translated = Reader("translated", _read, _fold, marks=_MARKS)
NOTHING = Reading()
