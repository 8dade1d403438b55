"""`taximeter report reprice`: entries whose price was wrong or missing, and their corrections."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from sqlalchemy.engine import Engine

from pricing.load import load_book
from proxy.cli.options import ConfigOption, config_of, new_app, opened
from proxy.cli.output import FormatOption, answer, fail
from proxy.cli.reports.asking import SinceOption, UntilOption, asked
from proxy.config.file import ConfigError
from proxy.config.model import Config
from proxy.config.own_prices import priced_by
from proxy.control.metrics.series import MetricState
from proxy.ledger.corrections import record_of
from proxy.ledger.entries import Batch, Entry
from proxy.ledger.instances import name_of
from proxy.ledger.schema import entries
from proxy.ledger.shipping import Positions, Shipper
from proxy.reports.reprice import reprice
from proxy.reports.reprice_answer import reprice_answer
from proxy.serve.data_dir import lock_data_dir
from proxy.spool.writer import SpoolUnavailable, SpoolWriter
from proxy.times import moment, now_s

app = new_app()

_AT_ONCE = 500
_WAIT_S = 60.0
_LOOK_AGAIN_S = 0.2


@app.command("reprice")
def reprice_entries(
    *,
    since: SinceOption = "31d",
    until: UntilOption = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the corrections.")] = False,
    config: ConfigOption = None,
    form: FormatOption = "table",
) -> None:
    """Price what the ledger has again, at the book's and the configuration's prices of its day; say what differs.

    --apply writes a correction for each: sums, budgets and metrics follow, in a server that runs too.
    """
    with asked(form):
        settings, now = config_of(config), now_s()
        period = moment(since or "31d", now), moment(until, now) if until else int(now * 1e6)
        with opened(settings) as engine:
            found = reprice(engine, priced_by(settings, load_book()), *period)
            corrections = [item.correction for item in found.items]
            if apply and corrections:
                _apply(settings, engine, corrections)
            answer(reprice_answer(found, *period, applied=apply), form)


def _apply(settings: Config, engine: Engine, corrections: Sequence[Entry]) -> None:
    """Through the spool of the server that runs here, else straight into the ledger, as its recorder would."""
    folder = Path(settings.data_dir)
    if not folder.is_dir():
        if settings.store != "memory":
            raise fail(
                f"budgets are counted in {settings.store.partition('@')[2] or 'Redis'}: run this where a server runs"
            )
        _ship(engine, "reprice", corrections)
        return
    try:
        lock = lock_data_dir(folder)
    except ConfigError:
        _hand_over(folder, engine, corrections)
        return
    try:
        _ship(engine, name_of(folder), corrections)
    finally:
        os.close(lock)


def _ship(engine: Engine, instance: str, corrections: Sequence[Entry]) -> None:
    shipper = Shipper(engine, instance, MetricState.load(engine, instance))
    for first in range(0, len(corrections), _AT_ONCE):
        shipper.ship(Batch(entries=list(corrections[first : first + _AT_ONCE])), Positions([], []))


def _hand_over(folder: Path, engine: Engine, corrections: Sequence[Entry]) -> None:
    """Into the spool, and until the last is in the ledger."""
    try:
        writer = SpoolWriter(folder / "spool", "reprice")
        try:
            for entry in corrections:
                writer.append(record_of(entry))
        finally:
            writer.close()
    except (SpoolUnavailable, OSError) as error:
        raise fail(f"the corrections cannot be handed to the server that runs here: {error}") from None
    ids = [entry.row.id for entry in corrections]
    last = sa.select(sa.func.count()).select_from(entries).where(entries.c.id == ids[-1])
    give_up_at = time.monotonic() + _WAIT_S
    while time.monotonic() < give_up_at:
        with engine.connect() as connection:
            if connection.execute(last).scalar_one():
                return
        time.sleep(_LOOK_AGAIN_S)
    raise fail("the corrections are in the server's spool, and not in the ledger yet; it goes on with them")
