"""Keyed hashes of rows that grow: those that begin alike have digests that begin alike, which say nothing without the key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_DIGEST_BYTES = 16


class KeyedHash:
    """Digests of 16 bytes. `secret` keeps them from saying anything about the text to who does not have it.

    Its key stands in front of what is hashed: as BLAKE2's own key it would be a block by itself, and a short text is one.
    """

    def __init__(self, secret: bytes, kind: bytes = b"") -> None:
        """kind: what is hashed; no two kinds have a digest in common."""
        self._secret = secret
        key = hashlib.blake2b(kind, key=secret, digest_size=_DIGEST_BYTES).digest()
        self._begun = hashlib.blake2b(key, digest_size=_DIGEST_BYTES)

    def of(self, kind: bytes) -> KeyedHash:
        """The same secret's for another kind."""
        return KeyedHash(self._secret, kind)

    def digest(self, text: bytes) -> bytes:
        running = self._begun.copy()
        running.update(text)
        return running.digest()

    def row(self, parts: Iterable[bytes]) -> bytes:
        """The digest of a row, which `chain` can go on with."""
        return self.digest(b"".join(map(framed, parts)))

    def chain(self, digest: bytes, parts: Iterable[bytes]) -> list[bytes]:
        """The digests of a row with one of `parts` more, with two, with all of them. digest: the row's, before."""
        digests = []
        for part in parts:
            digest = self.digest(digest + part)
            digests.append(digest)
        return digests


def framed(part: bytes) -> bytes:
    """A part with its length in front: no two rows of parts read alike."""
    return b"%d:%b" % (len(part), part)
