"""What could not be recorded is kept for a person, in files beside the spool that only the owner can read."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

import orjson

from proxy.ledger.entries.entry import Entry
from proxy.spool.frames import Record

log = logging.getLogger("taximeter.recorder")


def keep_unreadable(folder: Path, records: Iterable[Record]) -> int:
    """How many they are."""
    count = 0
    for count, record in enumerate(records, 1):  # noqa: B007 - of none it is 0
        # Of two runs the records may stand at the same place.
        which = hashlib.sha256(record.payload).hexdigest()[:8]
        name = f"{record.segment:06d}.{record.start}.{which}.unreadable"
        log.error("a record of %d bytes in the spool cannot be read; it is kept there as %s", len(record.payload), name)
        _keep(folder / name, record.payload)
    return count


def keep_rejected(folder: Path, entries: Iterable[Entry]) -> int:
    """How many they are."""
    count = 0
    for count, entry in enumerate(entries, 1):  # noqa: B007 - as above
        _keep(folder / f"{entry.row.id}.rejected", orjson.dumps(entry.row._asdict(), default=str))
    return count


def _keep(path: Path, data: bytes) -> None:
    with contextlib.suppress(OSError):
        path.touch(mode=0o600)
        path.write_bytes(data)
