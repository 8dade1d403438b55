"""Conversations known by their beginnings: for clients that name no session, and for closer ceilings. No I/O, no text.

A conversation is a chain of keyed hashes, one for each turn, begun by who calls, with which client and under which system
prompt. A call that carries an earlier call's messages and its answer on extends that call's chain, and so is of its
session. And what a provider counted for a prefix bounds the prefix of every later call that begins with it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from proxy import turns
from proxy.types import Call

_MAX_LINKS = 100_000
_DIGEST_BYTES = 16
_TOKENS_PER_MESSAGE = 16


class Chain(NamedTuple):
    """`digests[n]`: the conversation up to and with its n-th message; `frame` has everything else that the model reads."""

    digests: Sequence[bytes]
    frame: bytes


class Counted(NamedTuple):
    """What a provider counted for a whole prefix, and how many media were in it."""

    input_tokens: int
    media_items: int


class Conversations:
    """The latest conversations. `secret` keeps the hashes from saying anything about the text to who does not have it."""

    def __init__(self, secret: bytes, max_links: int = _MAX_LINKS) -> None:
        self._secret = secret
        self._max = max_links
        self._sessions: OrderedDict[bytes, str] = OrderedDict()
        self._counted: OrderedDict[bytes, Counted] = OrderedDict()

    def _digest(self, *parts: bytes) -> bytes:
        digest = hashlib.blake2b(key=self._secret, digest_size=_DIGEST_BYTES)
        for part in parts:
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.digest()

    def chain(self, call: Call, whose: str) -> Chain:
        """whose: the key and the kind of client, so that no two of them ever share a conversation."""
        digest = self._digest(whose.encode(), call.dialect.encode(), turns.system_of(call))
        digests = []
        for message in turns.messages_of(call):
            digest = self._digest(digest, turns.turn_of(message))
            digests.append(digest)
        return Chain(digests, self._digest(turns.frame_of(call), call.model.encode()))

    # Sessions

    def session(self, chain: Chain) -> str | None:
        """The session of the latest call that this one extends, answer included."""
        for digest in reversed(chain.digests[:-1]):
            session_id = self._sessions.get(digest)
            if session_id is not None:
                return session_id
        return None

    def answered(self, chain: Chain, answer: Sequence[bytes], session_id: str) -> None:
        """Note a call that was answered: who extends it is of its session."""
        if not chain.digests or not answer:
            return
        digest = chain.digests[-1]
        for turn in answer:
            digest = self._digest(digest, turn)
        self._sessions[digest] = session_id
        self._sessions.move_to_end(digest)
        if len(self._sessions) > self._max:
            self._sessions.popitem(last=False)

    # Counts

    def count(self, chain: Chain, call: Call, input_tokens: int) -> None:
        """Note what the provider counted for the whole input of a call."""
        if chain.digests:
            digest = self._digest(chain.digests[-1], chain.frame)
            self._counted[digest] = Counted(input_tokens, call.media_items)
            self._counted.move_to_end(digest)
            if len(self._counted) > self._max:
                self._counted.popitem(last=False)

    def bound(self, chain: Chain, call: Call) -> int | None:
        """Tokens that the input cannot exceed: those counted for the longest known prefix, and the bytes of what is new."""
        messages = turns.messages_of(call)
        for number in range(len(messages), 0, -1):
            known = self._counted.get(self._digest(chain.digests[number - 1], chain.frame))
            if known is not None:
                if known.media_items != call.media_items:
                    return None  # there are media in what is new, and bytes do not bound those
                new = sum(len(orjson.dumps(message)) + _TOKENS_PER_MESSAGE for message in messages[number:])
                return known.input_tokens + new
        return None
