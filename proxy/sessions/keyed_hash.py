"""Keyed hashes of growing byte sequences: equal beginnings have equal digests, which say nothing without the key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_DIGEST_BYTES = 16
# Sizes as they are written in front of parts: to write one takes longer than to hash it.
_MANY = 2048
_WRITTEN = tuple([b"%d:" % size for size in range(_MANY)])


class Chain:
    """`digests[n]`: the row up to and with its n-th part; `running`: the hash that they were read from."""

    __slots__ = ("digests", "running")

    def __init__(self, digests: Sequence[bytes], running: hashlib.blake2b) -> None:
        self.digests = digests
        self.running = running

    def extended(self, parts: Sequence[bytes]) -> str:
        """The digest of this row with `parts` behind it, as hex."""
        return name_behind(self.running, *parts)


class KeyedHash:
    """`secret` keeps the digests from saying anything about the text to who does not have it."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = hashlib.blake2b(key=secret, digest_size=_DIGEST_BYTES)

    def begun(self, begin: Sequence[bytes]) -> hashlib.blake2b:
        """The hash of a row that begins so: to be copied."""
        running = self._keyed.copy()
        for part in begin:
            running.update(framed(part))
        return running

    def chain(
        self, begin: Sequence[bytes] | hashlib.blake2b, parts: Sequence[bytes], known: Chain | None = None
    ) -> Chain:
        """The digests of `parts`, one after another, behind `begin`. known: a row behind the same, which they go on with."""
        if known is not None:
            running, digests = known.running.copy(), [*known.digests]
        else:
            running = begin.copy() if isinstance(begin, hashlib.blake2b) else self.begun(begin)
            digests = []
        for part in parts:
            size = len(part)
            running.update((_WRITTEN[size] if size < _MANY else b"%d:" % size) + part)
            digests.append(running.digest())
        return Chain(digests, running)


def name_behind(begun: hashlib.blake2b, *parts: bytes) -> str:
    """The digest of the row that begins so, with `parts` behind it, as hex."""
    running = begun.copy()
    for part in parts:
        size = len(part)
        running.update((_WRITTEN[size] if size < _MANY else b"%d:" % size) + part)
    return running.hexdigest()


def framed(part: bytes) -> bytes:
    """A part with its length in front: no two rows of parts read alike."""
    return b"%d:%b" % (len(part), part)
