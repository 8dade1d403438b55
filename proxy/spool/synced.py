"""How far a run is on disk, where each record is synced before anybody is told of it (`spool.mode: fsync`): what the run's
lock says. While the run's writer lives nobody reads further: what could not be synced is taken back, and may be written again.

It is one number of eight bytes, so that it is read as it was written.
"""

from __future__ import annotations

import os
import struct

from proxy.spool.frames import Position

_NUMBER = struct.Struct("<Q")
_OFFSET_BITS = 40


def note(lock: int, synced: Position) -> None:
    os.pwrite(lock, _NUMBER.pack(synced.segment << _OFFSET_BITS | synced.offset), 0)


def noted(lock: int) -> Position | None:
    """None where the run does not sync each record."""
    data = os.pread(lock, _NUMBER.size, 0)
    if len(data) < _NUMBER.size:
        return None
    (number,) = _NUMBER.unpack(data)
    return Position(number >> _OFFSET_BITS, number & ((1 << _OFFSET_BITS) - 1))
