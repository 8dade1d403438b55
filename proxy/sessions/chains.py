"""Sessions guessed from conversations, for clients that name none. No I/O, no text.

A *chain* has the turns of a conversation, as they read however a client writes them down again: a call that carries an
earlier call's messages and its answer on extends that call's chain, and so is of its session. It is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.dialects import turns
from proxy.keyed_hash import Chain, KeyedHash
from proxy.latest import Latest
from proxy.types import Call

_MAX_CONVERSATIONS = 100_000


class Chains:
    """The latest conversations, and the session of each."""

    def __init__(self, keyed: KeyedHash, most: int = _MAX_CONVERSATIONS) -> None:
        self._keyed = keyed
        self._sessions: Latest[bytes, str] = Latest(most)

    def chain(self, call: Call, whose: str) -> Chain:
        """whose: the key and the kind of client, so that no two of them ever share a conversation."""
        begin = (b"turns", whose.encode(), call.dialect.encode(), turns.system_of(call))
        return self._keyed.chain(begin, turns.turns_of(call))

    def session(self, chain: Chain) -> str | None:
        """The session of the latest call that this one extends, answer included."""
        if not len(self._sessions):
            return None
        for digest in reversed(chain.digests[:-1]):
            session_id = self._sessions.get(digest)
            if session_id is not None:
                return session_id
        return None

    def answered(self, chain: Chain, answer: Sequence[bytes], session_id: str) -> None:
        """Note a call that was answered: who extends it is of its session."""
        if chain.digests and answer:
            self._sessions[chain.extended(answer)] = session_id
