"""The spool's runs that are being shipped: how far each is, by the database, and which segments may be deleted.

The database says where to read on, when a run is seen for the first time and whenever the database turns out to be an older
copy; then segments that were kept are read again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from proxy.ledger.recording.pairing import Pairing
from proxy.ledger.recording.shipping import Positions, Shipper
from proxy.spool.frames import Position
from proxy.spool.kept import Kept
from proxy.spool.reader import SpoolReader, runs
from proxy.times import now_s

log = logging.getLogger("taximeter.recorder")


class Run:
    """One spool run being shipped. marker: the epoch before whose marker it is read; held_at: the one before whose marker
    everything is committed."""

    def __init__(self, reader: SpoolReader, pairing: Pairing) -> None:
        self.reader = reader
        self.pairing = pairing
        self.turn = 0  # the batch that it was read for last
        self.over = False
        self.at_end = False
        self.marker: str | None = None
        self.held_at: str | None = None

    @property
    def done(self) -> bool:
        return self.over and self.at_end


class Runs:
    """The runs in `folder`. Whatever asks the database raises SQLAlchemyError where that is away, and LedgerMovedError where it
    is another copy than the one that is shipped to."""

    def __init__(self, shipper: Shipper, folder: Path, instance: str, kept: Kept, *, lately: int) -> None:
        self._shipper = shipper
        self._folder = folder
        self._instance = instance
        self._kept = kept
        self._lately = lately
        self._runs: dict[str, Run] = {}
        self._gone: set[str] = set()  # nothing is left of them but their positions

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self._runs.values()))

    @property
    def in_folder(self) -> list[str]:
        """Every run that may have something which is not in the ledger."""
        return runs(self._folder)

    def find(self) -> None:
        """Take up the runs that are new, where the database says."""
        for name in self.in_folder:
            if name not in self._runs:
                self._runs[name] = self._resume(name)

    def begin_again(self) -> None:
        """Forget where each run stands, and bring back the kept segments that the database has not heard of."""
        self._runs.clear()
        self._gone.clear()
        for name, sizes in self._kept.segments().items():
            row = self._shipper.position_of(name)
            last = max(sizes)
            # Not by what is done: an attempt that was open then began before.
            if row is not None and (row["resume_segment"], row["resume_offset"]) >= (last, sizes[last]):
                continue
            needed = [number for number in sizes if row is None or number >= row["resume_segment"]]
            for number in needed:
                self._kept.bring_back(name, number)
            log.warning("%d kept segments of the spool %s are read again: the ledger lacks them", len(needed), name)

    def held_at(self, epoch: str) -> list[str] | None:
        names = self.in_folder
        held = [name for name in names if name in self._runs and self._runs[name].held_at == epoch]
        return names if len(held) == len(names) else None

    def _resume(self, name: str) -> Run:
        row = self._shipper.position_of(name)
        resume = Position(row["resume_segment"], row["resume_offset"]) if row else Position(0, 0)
        done = Position(row["done_segment"], row["done_offset"]) if row else Position(0, 0)
        reader = SpoolReader(self._folder, name, resume)
        for first, last in reader.pass_over_gaps():
            log.error(
                "the ledger lacks records from segments %d to %d of the spool %s, which are no longer kept: "
                "those records are lost (spool.keep_shipped_s keeps segments longer)", first, last, name,
            )  # fmt: skip
        return Run(reader, Pairing(self._instance, done, lately=self._lately))

    @property
    def due(self) -> bool:
        """Whether there is something to write down without any record."""
        return self.are_gone or any(run.over for run in self._runs.values())

    @property
    def are_gone(self) -> bool:
        """Whether the database has positions of runs of which nothing is left."""
        return bool(self._gone)

    def positions(self) -> Positions:
        rows = []
        for name, run in self._runs.items():
            behind = run.reader.position
            resume = run.pairing.resume_at(behind)
            rows.append(
                {
                    "run": name,
                    "resume_segment": resume.segment,
                    "resume_offset": resume.offset,
                    "done_segment": behind.segment,
                    "done_offset": behind.offset,
                }
            )
        return Positions(rows, [*self._gone])

    def committed(self, positions: Positions) -> None:
        """These are in the database: what stands before them may go."""
        self._gone.difference_update(positions.finished)
        at_s = now_s()
        for name, run in list(self._runs.items()):
            if run.done:
                for path in run.reader.segments():
                    self._kept.put(path, at_s)
                run.reader.unlock()
                del self._runs[name]
                if not self._kept.keeps:
                    self._gone.add(name)  # not before: who dies in between would read it again from its beginning
            else:
                for path in run.reader.segments(before=run.pairing.resume_at(run.reader.position).segment):
                    self._kept.put(path, at_s)

    def drop_kept(self) -> None:
        """Delete what was kept for long enough."""
        dropped = self._kept.drop_old(now_s())
        left = {*self._kept.segments(), *self.in_folder}
        self._gone |= dropped - left
