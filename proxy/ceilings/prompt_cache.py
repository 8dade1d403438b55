"""How much a provider's prompt cache will surely read again, by its documentation and by what it did so far. Pure.

Anthropic: "The cache's default minimum lifetime (TTL) is 5 minutes. This lifetime is refreshed each time the cached content
is used", and before each mark it looks for what it knows "up to 20 blocks" back
(https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching). That is a promise of a kind, so it bounds a call only
where every budget says `ceiling: calibrated`, where no other bound fits, and while a model has never broken it (`learned`).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from proxy.dialects import turns
from proxy.types import Call

_PROVIDERS = frozenset({"anthropic"})
_LIFETIME_S = 240.0  # of the 300 that are documented: the provider's clock begins and ends elsewhere
_BLOCKS_BACK = 18  # of the 20 that are documented
_WRITES = ("cache_write_5m", "cache_write_1h")


class Cached(NamedTuple):
    """What a call left in the cache: `tokens` of its input, up to the block with its last mark. at_s: before it was sent."""

    tokens: int
    last_mark: int
    upstream: str
    at_s: float


def may_be_read(call: Call, provider: str) -> bool:
    """Whether a call is of the kind whose cache reads are promised: one pass over a marked conversation."""
    return provider in _PROVIDERS and call.dialect == "anthropic.messages" and call.passes == 1


def cached_by(
    call: Call, provider: str, upstream: str, usage: Mapping[str, int | Decimal], at_s: float
) -> Cached | None:
    """What is in the cache once this call was answered with that usage; None where nothing is known to be."""
    if not may_be_read(call, provider):
        return None
    tokens = int(usage.get("cache_read", 0)) + sum(int(usage.get(unit, 0)) for unit in _WRITES)
    marks = _marks(call) if tokens else []
    return Cached(tokens, marks[-1], upstream, at_s) if marks else None


def still_there(cached: Cached, call: Call, upstream: str, at_s: float) -> bool:
    """Whether a call at that time, which begins with the very same messages, reads what is cached."""
    if upstream != cached.upstream or not 0 <= at_s - cached.at_s <= _LIFETIME_S:
        return False
    return any(0 <= mark - cached.last_mark <= _BLOCKS_BACK for mark in _marks(call))


def _marks(call: Call) -> list[int]:
    """Which of the blocks of the messages, counted through, bear a cache mark."""
    marked, block = [], 0
    for message in turns.messages_of(call):
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else (None,):
            if isinstance(part, dict) and isinstance(part.get("cache_control"), dict):
                marked.append(block)
            block += 1
    return marked
