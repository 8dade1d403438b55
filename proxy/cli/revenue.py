"""`taximeter revenue`: what customers pay, brought in for the margin report. Straight on the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.options import ConfigOption, config_of, ledger_of, new_app
from proxy.cli.output import fail
from proxy.ledger.notes.revenue import BadRevenue, read_revenue, write_revenue
from proxy.money import usd_text
from proxy.times import now_us

app = new_app(help="What customers pay, for the margin report.")


@app.callback()
def _group() -> None:
    pass


@app.command("import")
def bring(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.csv", exists=True, dir_okay=False, help="customer,from,to,amount_usd,plan"),
    ],
    config: ConfigOption = None,
) -> None:
    """Bring in what customers paid: a row is what a customer paid for the time from `from` to before `to` (UTC).

    The same file again changes nothing; a row for the same customer, time and plan replaces the one that is there.
    """
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise fail(f"{file} cannot be read as UTF-8 text: {error}") from None
    try:
        rows = read_revenue(text.splitlines(keepends=True))
    except BadRevenue as bad:
        for problem in bad.problems[1:]:
            fail(f"{file}: {problem}")
        raise fail(f"{file}: {bad.problems[0]}; nothing was imported") from None
    engine = ledger_of(config_of(config), make=True)
    count = write_revenue(engine, rows, now_us())
    customers = len({row.customer for row in rows})
    total = usd_text(sum(row.amount_nanousd for row in rows))
    typer.echo(f"{count} rows of {customers} customers, {total} USD in all")
