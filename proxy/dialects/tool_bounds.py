"""What the tools of a request may add to its bill, for those that run at the provider."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

NOTHING: Mapping[str, int] = MappingProxyType({})


class ToolBounds(NamedTuple):
    """Fields of a `Call`: hidden prompts, how often the model may read its context, calls that we allowed where the client
    did not say, what is billed beside tokens, and why nothing bounds the cost, or ""."""

    hidden_tokens: int = 0
    passes: int = 1
    tool_calls: int = 0
    extra: Mapping[str, int] = NOTHING
    unbounded: str = ""
