"""The command line. Each command imports what it needs when it runs, so that `serve` starts fast and stays small."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from proxy.cli.options import ConfigOption
from proxy.config.file import ConfigError, Problem

app = typer.Typer(
    name="taximeter", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="A proxy that knows what every call to a language model costs, and stops the spending where you drew the line.",
)  # fmt: skip


@app.command()
def serve(
    config: ConfigOption = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=64, help="Data-plane processes; more than one needs `store: redis://…`."),
    ] = 1,
) -> None:
    """Run the proxy, its ledger and its API. Without a configuration: the providers whose keys are set, or a local model."""
    from proxy.processes import log
    from proxy.serve.supervisor import serve as run

    log.set_up()
    raise typer.Exit(run(config, workers))


@app.command("check-config")
def check_config(config: ConfigOption = None) -> None:
    """Say everything that is wrong with a configuration, each with its key path; exit 2 if anything is."""
    from proxy.config.checks import load_config

    if config is None:
        raise ConfigError([Problem("", "name a configuration file with --config or TAXIMETER_CONFIG")])
    loaded, warnings = load_config(config, os.environ)
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    counts = f"{len(loaded.upstreams)} upstreams, {len(loaded.models)} models, {len(loaded.budgets)} budgets"
    typer.echo(f"{config} is fine: {counts}")


def _register_the_others() -> None:
    from proxy.cli import price as cli_price
    from proxy.cli import prices as cli_prices
    from proxy.cli import sessions as cli_sessions
    from proxy.cli import spend as cli_ledger
    from proxy.cli import verify as cli_verify

    cli_ledger.register(app)
    cli_sessions.register(app)
    app.add_typer(cli_prices.app, name="prices")
    app.command("price")(cli_price.price_command)
    app.command("verify")(cli_verify.verify)


def main() -> None:
    """The entry point: configuration problems are told one a line, never as a traceback; exit 2."""
    try:
        if sys.argv[1:2] != [
            "serve"
        ]:  # which has no use for the database and the price sources, and starts faster without
            _register_the_others()
        app()
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
