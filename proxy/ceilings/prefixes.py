"""The provider's count of an input, as a bound on later inputs that begin with exactly that input. No I/O, no text.

*Prefixes* have every byte that the model reads. They bound money, so nothing in them is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from proxy.bounded_table import BoundedTable
from proxy.ceilings.prompt_cache import Cached, still_there
from proxy.ceilings.rendered import rendered_bytes
from proxy.dialects.inputs import read_by_model
from proxy.sessions.keyed_hash import KeyedHash
from proxy.types import Call

_MAX_PREFIXES = 100_000
_TOKENS_PER_MESSAGE = 16


class Prefixes(NamedTuple):
    """`digests[n]`: all that the model reads, up to and with the n-th of `messages`, which are kept no longer than the call."""

    digests: Sequence[bytes]
    messages: Sequence[bytes]


class Counted(NamedTuple):
    """What a provider counted for a whole prefix, how many media were in it, and what of it is in the prompt cache."""

    input_tokens: int
    media_items: int
    cached: Cached | None = None


class CountedPrefixes:
    """The latest inputs that providers counted."""

    def __init__(self, keyed: KeyedHash, most: int = _MAX_PREFIXES) -> None:
        self._keyed = keyed.of(b"bytes")
        self._counted: BoundedTable[bytes, Counted] = BoundedTable(most)

    def __len__(self) -> int:
        return len(self._counted)

    def prefixes(self, call: Call, whose: str, model: str) -> Prefixes:
        """model: the provider's, with its name; another one may count the same text otherwise."""
        read = read_by_model(call)
        if read is None:
            return Prefixes((), ())
        begun = self._keyed.row((whose.encode(), call.dialect.encode(), model.encode(), read[0]))
        return Prefixes(self._keyed.chain(begun, read[1]), read[1])

    def count(self, prefixes: Prefixes, call: Call, input_tokens: int, cached: Cached | None = None) -> None:
        """Note what the provider counted for the whole input of a call, and keeps of it."""
        if prefixes.digests:
            self._counted[prefixes.digests[-1]] = Counted(input_tokens, call.media_items, cached)

    def bound(self, prefixes: Prefixes, call: Call, provider: str, media: Sequence[tuple[int, int]] = ()) -> int | None:
        """Tokens that the input cannot exceed: those counted for the longest known prefix, and the bytes of what is new.

        media: of each medium of the call in turn, its tokens and the bytes that it takes; empty where they are not known.
        """
        if not len(self._counted):
            return None
        for number in range(len(prefixes.digests), 0, -1):
            counted = self._counted.get(prefixes.digests[number - 1])
            if counted is not None:
                if counted.media_items != call.media_items and len(media) != call.media_items:
                    return None  # there are media in what is new, and nothing bounds those
                new = prefixes.messages[number:]
                tokens = sum(rendered_bytes(message, provider) + _TOKENS_PER_MESSAGE for message in new)
                return counted.input_tokens + tokens + sum(one - size for one, size in media[counted.media_items :])
        return None

    def cached(self, prefixes: Prefixes, call: Call, upstream: str, at_s: float) -> int:
        """Tokens of the input that the provider's cache still holds, if it keeps what it promises."""
        for digest in reversed(prefixes.digests):
            counted = self._counted.get(digest)
            if counted is not None and counted.cached is not None and still_there(counted.cached, call, upstream, at_s):
                return counted.cached.tokens
        return 0
