"""Records that have to be on disk before something is sent, and are written together with others of their kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.spool.writer import SpoolUnavailable, SpoolWriter


@dataclass(slots=True, eq=False)
class Pending:
    """An INTENT whose request waits to be written. kept: it is on disk, or owed to it. lost: the disk refused it, and what
    waits for it must not be sent."""

    spool: SpoolWriter
    payload: bytes
    kept: bool = False
    lost: bool = False

    def owe(self) -> None:
        """There is an end to append behind it, sent or not: it cannot be refused any more."""
        if not (self.kept or self.lost):
            self.kept = True
            self.spool.owe(self.payload)


def keep(records: Iterable[Pending]) -> None:
    """Append those that are not on disk yet, together; where that fails, as many as there is room for."""
    by_spool: dict[SpoolWriter, list[Pending]] = {}
    for record in records:
        if not (record.kept or record.lost):
            by_spool.setdefault(record.spool, []).append(record)
    for spool, waiting in by_spool.items():
        if not _kept(spool, waiting):
            for record in waiting:
                record.lost = not _kept(spool, [record])


def _kept(spool: SpoolWriter, records: list[Pending]) -> bool:
    try:
        spool.append_all([record.payload for record in records])
    except SpoolUnavailable:
        return False
    for record in records:
        record.kept = True
    return True
