"""Identifiers that are ours: UUIDv7, ordered by time, made without a system call. Never a secret, never a client's."""

from __future__ import annotations

import hashlib
import random
import re

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


_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


def began_at(made: str) -> int | None:
    """When an id of `Ids` was made, epoch microseconds to the millisecond; None for what is none."""
    return int(made[:8] + made[9:13], 16) * 1000 if _UUID7.match(made) else None
