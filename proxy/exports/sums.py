"""The sums behind OpenTelemetry's metrics: kept with a sink's position, counted since it began, bounded in number. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, ClassVar

import orjson

from pricing.values import slotted
from proxy.exports.usage import tokens_in, tokens_out, units_of
from proxy.ledger.beside.export_log import CAPACITY, Item

_MOST_SERIES = 1000  # clients name models: what is beyond is one
_OTHER = "other"

Key = tuple[str, str, str, str]
"""operation, provider, model, and of tokens `input` or `output`, of cost the team."""

_PROVIDERS = {
    "aws": "aws.bedrock", "bedrock": "aws.bedrock", "azure": "azure.ai.openai", "google": "gcp.gemini", "gemini": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai", "vertex": "gcp.vertex_ai", "vertex_ai": "gcp.vertex_ai", "mistral": "mistral_ai",
    "moonshot": "moonshot_ai", "xai": "x_ai", "watsonx": "ibm.watsonx.ai",
}  # fmt: skip
_OPERATIONS = {
    "messages": "chat", "responses": "chat", "generate": "generate_content", "converse": "chat",
    "invoke": "generate_content", "completions": "text_completion",
}  # fmt: skip


def provider_of(row: Mapping[str, Any]) -> str:
    """In the words of the GenAI conventions, where they have one; "" where it is not known."""
    name = row["provider"] or ""
    return _PROVIDERS.get(name, name)


def operation_of(row: Mapping[str, Any]) -> str:
    """As `provider_of`."""
    name = row["operation"] or ""
    return _OPERATIONS.get(name, name)


@slotted
class Counts:
    """A histogram: how many values lie up to each edge, and beyond the last; and their sum."""

    buckets: list[int]
    total: int = 0


@slotted
class Sums:
    """cost: nano-USD."""

    EDGES: ClassVar[tuple[int, ...]] = tuple(4**power for power in range(14))

    tokens: dict[Key, Counts] = field(default_factory=dict)
    cost: dict[Key, int] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> Sums:
        if text is None:
            return cls()
        saved = orjson.loads(text)
        tokens = {_key(row[:4]): Counts(row[4], row[5]) for row in saved["tokens"]}
        return cls(tokens, {_key(row[:4]): row[4] for row in saved["cost"]})

    def written(self) -> str:
        tokens = [[*key, counts.buckets, counts.total] for key, counts in self.tokens.items()]
        return orjson.dumps({"tokens": tokens, "cost": [[*key, amount] for key, amount in self.cost.items()]}).decode()

    def add(self, item: Item) -> None:
        row = item.row
        about = (operation_of(row), provider_of(row), row["model"] or row["model_requested"] or "")
        cost = row["capacity_nanousd" if item.part == CAPACITY else "cost_nanousd"]
        if cost:
            key = (*about, row["team"] or "")
            if key not in self.cost and len(self.cost) >= _MOST_SERIES:
                key = (_OTHER, _OTHER, _OTHER, _OTHER)
            self.cost[key] = self.cost.get(key, 0) + cost
        if item.part != CAPACITY:
            units = units_of(row)
            for kind, amount in (("input", tokens_in(units)), ("output", tokens_out(units))):
                if amount:
                    self._count((*about, kind), amount)

    def _count(self, key: Key, amount: int) -> None:
        if key not in self.tokens and len(self.tokens) >= _MOST_SERIES:
            key = (_OTHER, _OTHER, _OTHER, key[3])
        counts = self.tokens.setdefault(key, Counts([0] * (len(self.EDGES) + 1)))
        counts.buckets[bisect.bisect_left(self.EDGES, amount)] += 1
        counts.total += amount


def _key(parts: list[str]) -> Key:
    operation, provider, model, last = parts
    return operation, provider, model, last


def attributes_of(key: Key, last: str) -> Iterator[tuple[str, str]]:
    """A series' attributes; `last` names what stands in the key's last place. What is not known is left out."""
    names = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", last)
    yield from ((name, value) for name, value in zip(names, key, strict=True) if value)
