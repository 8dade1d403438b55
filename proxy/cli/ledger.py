"""`taximeter ledger`: how the ledger's database is laid out. Straight on the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from proxy.cli.options import ConfigOption, config_of, ledger_of, new_app
from proxy.cli.output import fail
from proxy.times import now_us

if TYPE_CHECKING:
    from sqlalchemy.exc import SQLAlchemyError

app = new_app(help="How the ledger's database is laid out.")


@app.callback()
def _group() -> None:
    pass


@app.command("partition")
def partition(config: ConfigOption = None) -> None:
    """Give a PostgreSQL ledger that an earlier version made a table for each month, so that old months go with their tables.

    No row moves. The table is read once while recorders and reports wait; calls go on, and the spool keeps what they cost.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from proxy.ledger.partitions import NotDivided, divide

    engine = ledger_of(config_of(config))
    try:
        made = divide(engine, now_us())
    except NotDivided as why:
        raise fail(f"the ledger is unchanged: {why}") from None
    except SQLAlchemyError as error:
        raise fail(f"the ledger is unchanged: {_reason(error)}") from None
    typer.echo(f"The ledger's entries are by months now: {', '.join(made)}.")


def _reason(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
