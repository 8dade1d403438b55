"""Conversations known by their beginnings: for clients that name no session, and for closer ceilings. No I/O, no text.

Two kinds of keyed hashes, both begun by who calls and with which client. A *chain* has the turns, as they read however a
client writes them down again: a call that carries an earlier call's messages and its answer on extends that call's chain,
and so is of its session. *Prefixes* have every byte that the model reads: what a provider counted for a whole input bounds
each later input that begins with exactly that. The first is a guess; the second bounds money, and may not be one.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from proxy.ceilings.ceiling import rendered_bytes
from proxy.ceilings.prompt_cache import Cached, still_there
from proxy.dialects import turns
from proxy.types import Call

T = TypeVar("T")
_MAX_LINKS = 100_000
_DIGEST_BYTES = 16
_TOKENS_PER_MESSAGE = 16


class Chain(NamedTuple):
    """`digests[n]`: the conversation up to and with its n-th message; `running`: the hash that they were read from."""

    digests: Sequence[bytes]
    running: hashlib.blake2b


class Prefixes(NamedTuple):
    """`digests[n]`: all that the model reads, up to and with the n-th of `messages`, which are kept no longer than the call."""

    digests: Sequence[bytes]
    messages: Sequence[bytes]


class Counted(NamedTuple):
    """What a provider counted for a whole prefix, how many media were in it, and what of it is in the prompt cache."""

    input_tokens: int
    media_items: int
    cached: Cached | None = None


class Conversations:
    """The latest conversations. `secret` keeps the hashes from saying anything about the text to who does not have it."""

    def __init__(self, secret: bytes, max_links: int = _MAX_LINKS) -> None:
        self._keyed = hashlib.blake2b(key=secret, digest_size=_DIGEST_BYTES)
        self._max = max_links
        self._sessions: OrderedDict[bytes, str] = OrderedDict()
        self._counted: OrderedDict[bytes, Counted] = OrderedDict()

    def _chain(self, begin: Sequence[bytes], parts: Sequence[bytes]) -> Chain:
        running = self._keyed.copy()
        _update(running, begin)
        digests = []
        for part in parts:
            _update(running, (part,))
            digests.append(running.digest())
        return Chain(digests, running)

    # Sessions

    def chain(self, call: Call, whose: str) -> Chain:
        """whose: the key and the kind of client, so that no two of them ever share a conversation."""
        begin = (b"turns", whose.encode(), call.dialect.encode(), turns.system_of(call))
        return self._chain(begin, [turns.turn_of(message) for message in turns.messages_of(call)])

    def session(self, chain: Chain) -> str | None:
        """The session of the latest call that this one extends, answer included."""
        if not self._sessions:
            return None
        for digest in reversed(chain.digests[:-1]):
            session_id = self._sessions.get(digest)
            if session_id is not None:
                return session_id
        return None

    def answered(self, chain: Chain, answer: Sequence[bytes], session_id: str) -> None:
        """Note a call that was answered: who extends it is of its session."""
        if not chain.digests or not answer:
            return
        running = chain.running.copy()
        for turn in answer:
            _update(running, (turn,))
        _note(self._sessions, running.digest(), session_id, self._max)

    # Counts

    def prefixes(self, call: Call, whose: str, model: str) -> Prefixes:
        """model: the provider's, with its name; another one may count the same text otherwise."""
        read = turns.read_by_model(call)
        if read is None:
            return Prefixes((), ())
        begin = (b"bytes", whose.encode(), call.dialect.encode(), model.encode(), read[0])
        return Prefixes(self._chain(begin, read[1]).digests, read[1])

    def count(self, prefixes: Prefixes, call: Call, input_tokens: int, cached: Cached | None = None) -> None:
        """Note what the provider counted for the whole input of a call, and keeps of it."""
        if prefixes.digests:
            _note(self._counted, prefixes.digests[-1], Counted(input_tokens, call.media_items, cached), self._max)

    def bound(self, prefixes: Prefixes, call: Call, provider: str) -> int | None:
        """Tokens that the input cannot exceed: those counted for the longest known prefix, and the bytes of what is new."""
        if not self._counted:
            return None
        for number in range(len(prefixes.digests), 0, -1):
            known = self._counted.get(prefixes.digests[number - 1])
            if known is not None:
                if known.media_items != call.media_items:
                    return None  # there are media in what is new, and bytes do not bound those
                new = prefixes.messages[number:]
                tokens = sum(rendered_bytes(message, provider) + _TOKENS_PER_MESSAGE for message in new)
                return known.input_tokens + tokens
        return None

    def cached(self, prefixes: Prefixes, call: Call, upstream: str, at_s: float) -> int:
        """Tokens of the input that the provider's cache still holds, if it keeps what it promises."""
        for digest in reversed(prefixes.digests):
            known = self._counted.get(digest)
            if known is not None and known.cached is not None and still_there(known.cached, call, upstream, at_s):
                return known.cached.tokens
        return 0


def _update(running: hashlib.blake2b, parts: Sequence[bytes]) -> None:
    """Each part with its length in front: no two rows of parts read alike."""
    for part in parts:
        running.update(b"%d:" % len(part))
        running.update(part)


def _note(table: OrderedDict[bytes, T], digest: bytes, value: T, most: int) -> None:
    table[digest] = value
    table.move_to_end(digest)
    if len(table) > most:
        table.popitem(last=False)
