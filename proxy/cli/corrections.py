"""Corrections that a command makes, into the ledger: sums, budgets and metrics follow, in a server that runs too."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.cli.output import fail
from proxy.config.model import Config
from proxy.config.problems import ConfigError
from proxy.control.metrics.series import MetricState
from proxy.ledger.entries.corrections import record_of
from proxy.ledger.entries.entry import Entry
from proxy.ledger.planes.instances import name_of
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.shipping import Positions, Shipper
from proxy.ledger.schema import entries
from proxy.serve.data_dir import lock_data_dir
from proxy.spool.writer import SpoolUnavailable, SpoolWriter

_AT_ONCE = 500
_WAIT_S = 60.0
_LOOK_AGAIN_S = 0.2


def write_corrections(settings: Config, engine: Engine, corrections: Sequence[Entry], by: str) -> None:
    """Through the spool of the server that runs here, else straight into the ledger, as its recorder would. by: the command.

    Where budgets are counted in Redis, that a server is stopped changes nothing for them: then what it is to tell them waits in
    its spool for its next start."""
    folder = Path(settings.data_dir)
    if not folder.is_dir():
        if settings.store != "memory":
            raise fail(
                f"budgets are counted in {settings.store.partition('@')[2] or 'Redis'}: run this on a server's machine"
            )
        _ship(engine, by, corrections)
        return
    try:
        lock = lock_data_dir(folder, patience_s=0)
    except ConfigError:
        _spool(folder, corrections, by)
        _wait_for(engine, corrections[-1])
        return
    try:
        if settings.store == "memory":
            _ship(engine, name_of(folder), corrections)
        else:
            _spool(folder, corrections, by)
            print(
                f"{len(corrections)} corrections wait in {folder / 'spool'}: no server runs here, and the next one that does "
                "writes them into the ledger and tells the budgets in Redis", file=sys.stderr,
            )  # fmt: skip
    finally:
        os.close(lock)


def _ship(engine: Engine, instance: str, corrections: Sequence[Entry]) -> None:
    shipper = Shipper(engine, instance, MetricState.load(engine, instance))
    for first in range(0, len(corrections), _AT_ONCE):
        shipper.ship(Batch(entries=list(corrections[first : first + _AT_ONCE])), Positions([], []))
    if engine.dialect.name == "postgresql":  # which a server on another machine may have, too
        print(
            "a server elsewhere whose budgets are in memory counts these corrections from its next start on; for it to count "
            "them at once, run this on its machine, with its data_dir", file=sys.stderr,
        )  # fmt: skip


def _spool(folder: Path, corrections: Sequence[Entry], by: str) -> None:
    """For the server of this folder."""
    try:
        writer = SpoolWriter(folder / "spool", by)
        try:
            for entry in corrections:
                writer.append(record_of(entry))
        finally:
            writer.close()
    except (SpoolUnavailable, OSError) as error:
        raise fail(f"the corrections cannot be handed to the server of {folder}: {error}") from None


def _wait_for(engine: Engine, last: Entry) -> None:
    """Until it is in the ledger, and so all before it."""
    there = sa.select(sa.func.count()).select_from(entries).where(entries.c.id == last.row.id)
    give_up_at = time.monotonic() + _WAIT_S
    while time.monotonic() < give_up_at:
        with engine.connect() as connection:
            if connection.execute(there).scalar_one():
                return
        time.sleep(_LOOK_AGAIN_S)
    raise fail("the corrections are in the server's spool but not in the ledger yet; the server goes on writing them")
