"""The command line: which module each command is in. Only the module of the command that is called is imported."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.cli.lazy import LazyGroup
from proxy.cli.options import new_app
from proxy.cli.problems import report_errors

COMMANDS = {
    "serve": ("serve", "Run the proxy, its ledger and its API."),
    "check-config": ("check_config", "Say everything that is wrong with a configuration."),
    "keys": ("keys", "Virtual keys: make, list, rotate and revoke them."),
    "budgets": ("budgets", "Where each budget stands, and raising one for a while."),
    "spend": ("spend", "What was spent, by whatever you ask for."),
    "capacity": ("capacity", "What your own machines cost, and which calls, teams and sessions used them."),
    "jobs": ("jobs", "Batches, videos and predictions: which are running, and what the others cost."),
    "exports": ("exports", "Exports of the ledger's entries: how far each has got."),
    "report": ("report", "Margins, why the bill changed, what it would cost elsewhere, a month's charge-back."),
    "import": ("imports", "Move here from LiteLLM: its configuration and its keys."),
    "revenue": ("revenue", "What customers pay, for the margin report."),
    "sessions": ("sessions", "Agent sessions: the dearest, and the call tree of one."),
    "price": ("price", "Price recorded provider responses, offline."),
    "prices": ("prices", "The price book: what it says, what it lacks, and refreshing it."),
    "ledger": ("ledger", "The ledger's tables in PostgreSQL: a table for each month."),
    "verify": ("verify", "Audit the ledger: entries, totals, counters, spool, budgets."),
}
"""Name on the command line -> the module of proxy.cli whose `app` it is, and its line in the help."""


class _Commands(LazyGroup):
    modules = COMMANDS
    package = "proxy.cli"


app = new_app(
    cls=_Commands,
    help="A proxy that knows what every call to a language model costs, and stops the spending where you drew the line.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from proxy.processes.code import python_build, running_code

        typer.echo(f"taximeter {version('taximeter')} ({running_code()}, {python_build()})")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and what runs it, and exit."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line, with all its commands and options; `start.py` runs the plainest ones without it."""
    report_errors(app)


if __name__ == "__main__":
    main()
