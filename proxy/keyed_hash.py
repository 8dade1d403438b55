"""Keyed hashes of growing rows of bytes: equal beginnings have equal digests, and without the key they say nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

_DIGEST_BYTES = 16


class Chain(NamedTuple):
    """`digests[n]`: the row up to and with its n-th part; `running`: the hash that they were read from."""

    digests: Sequence[bytes]
    running: hashlib.blake2b

    def extended(self, parts: Sequence[bytes]) -> bytes:
        """The digest of this row with `parts` behind it."""
        running = self.running.copy()
        _update(running, parts)
        return running.digest()


class KeyedHash:
    """`secret` keeps the digests from saying anything about the text to who does not have it."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = hashlib.blake2b(key=secret, digest_size=_DIGEST_BYTES)

    def begun(self, begin: Sequence[bytes]) -> hashlib.blake2b:
        """The hash of a row that begins so: to be copied."""
        running = self._keyed.copy()
        _update(running, begin)
        return running

    def chain(self, begin: Sequence[bytes] | hashlib.blake2b, parts: Sequence[bytes]) -> Chain:
        """The digests of `parts`, one after another, behind `begin`."""
        running = self.begun(begin) if isinstance(begin, Sequence) else begin.copy()
        digests = []
        update, digest = running.update, running.digest
        for part in parts:
            update(b"%d:%b" % (len(part), part))
            digests.append(digest())
        return Chain(digests, running)


def name_behind(begun: hashlib.blake2b, *parts: bytes) -> str:
    """The digest of the row that begins so, with `parts` behind it, as hex."""
    running = begun.copy()
    _update(running, parts)
    return running.hexdigest()


def _update(running: hashlib.blake2b, parts: Sequence[bytes]) -> None:
    """Each part with its length in front: no two rows of parts read alike."""
    for part in parts:
        running.update(b"%d:%b" % (len(part), part))
