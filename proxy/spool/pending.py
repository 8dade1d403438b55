"""Records that must be on disk before something is sent, written together with others of their kind."""

from __future__ import annotations

from collections.abc import Sequence

from pricing.values import Value, slotted
from proxy.spool.writer import SpoolUnavailable, SpoolWriter


@slotted
class Pending(Value):
    """An INTENT whose request waits to be written. kept: it is on disk. lost: the disk refused it, and what waits for it must
    not be sent."""

    spool: SpoolWriter
    payload: bytes
    kept: bool = False
    lost: bool = False

    def keep(self) -> bool:
        """Append it by itself, unless it is there; whether it is."""
        keep((self,))
        return self.kept

    def append_behind(self, payload: bytes) -> bool:
        """Append what comes behind it, and it before, in one write, unless it is there; False where the disk refuses it."""
        if self.kept:
            self.spool.append_end(payload)
        elif not self.lost:
            count = _append(self.spool, (self.payload, payload))
            self.kept, self.lost = count > 0, not count
            if count == 1:
                self.spool.append_end(payload)
        return self.kept


def keep(records: Sequence[Pending]) -> None:
    """Append those that are not on disk yet, together; where that fails, as many as there is room for."""
    if len(records) == 1:
        record = records[0]
        if record.kept or record.lost:
            return
        record.kept = _append(record.spool, (record.payload,)) > 0
        record.lost = not record.kept
        return
    by_spool: dict[SpoolWriter, list[Pending]] = {}
    for record in records:
        if not (record.kept or record.lost):
            by_spool.setdefault(record.spool, []).append(record)
    for spool, waiting in by_spool.items():
        count = _append(spool, [record.payload for record in waiting])
        for record in waiting[:count]:
            record.kept = True
        for record in waiting[count:]:  # there may be room for a smaller one
            record.keep()


def _append(spool: SpoolWriter, payloads: Sequence[bytes]) -> int:
    """How many of them, from the first, are on disk."""
    try:
        return spool.append_all(payloads)
    except SpoolUnavailable:
        return 0
