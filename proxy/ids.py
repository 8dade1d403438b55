"""Identifiers that are ours: UUIDv7, ordered by time, made without a system call. Never a secret, never a client's."""

from __future__ import annotations

import hashlib
import random

_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


class Ids:
    """UUIDv7 as text (RFC 9562): 48 bits of milliseconds, 74 random bits."""

    def __init__(self) -> None:
        self._bits = random.Random().getrandbits  # noqa: S311 - uniqueness, not secrecy

    def new(self, now_us: int) -> str:
        """An id for an event at `now_us` (epoch microseconds)."""
        time = (now_us // 1000).to_bytes(6, "big").hex()
        rest = self._bits(76).to_bytes(10, "big").hex()  # a nibble is 0, and of another one two bits are used
        return f"{time[:8]}-{time[8:]}-7{rest[1:4]}-{_VARIANT[rest[4]]}{rest[5:8]}-{rest[8:]}"


def correction_id(attempt_id: str, number: int = 0) -> str:
    """A UUIDv7 with the attempt's time, the same for the same attempt. number: of a job's change after its settlement."""
    text = b"correction " + attempt_id.encode() + (b" %d" % number if number else b"")
    digest = hashlib.sha256(text).hexdigest()
    return f"{attempt_id[:15]}{digest[:3]}-8{digest[3:6]}-{digest[6:18]}"
