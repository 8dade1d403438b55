"""Identifiers that are ours: UUIDv7, ordered by time, made without a system call. Never a secret, never a client's."""

from __future__ import annotations

import hashlib
import random


class Ids:
    """UUIDv7 as text (RFC 9562): 48 bits of milliseconds, 74 random bits."""

    def __init__(self) -> None:
        self._bits = random.Random().getrandbits  # noqa: S311 - uniqueness, not secrecy

    def new(self, now_us: int) -> str:
        """An id for an event at `now_us` (epoch microseconds)."""
        ms, bits = now_us // 1000, self._bits(74)
        return (
            f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7{bits >> 62:03x}-"
            f"{0x8000 | bits >> 48 & 0x3FFF:04x}-{bits & 0xFFFF_FFFF_FFFF:012x}"
        )


def correction_id(attempt_id: str, number: int = 0) -> str:
    """A UUIDv7 with the attempt's time, the same for the same attempt. number: of a job's change after its settlement."""
    text = b"correction " + attempt_id.encode() + (b" %d" % number if number else b"")
    digest = hashlib.sha256(text).hexdigest()
    return f"{attempt_id[:15]}{digest[:3]}-8{digest[3:6]}-{digest[6:18]}"
