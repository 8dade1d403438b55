"""`taximeter price`: recorded provider responses in, what each cost out, one JSON line each. No network, no proxy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pricing.load import load_book
from proxy.cli.options import config_of, new_app
from proxy.cli.price_lines import dump, price_lines

app = new_app()


@app.command("price")
def price_command(
    file: Annotated[str, typer.Argument(help="A file of JSON lines, or - for standard input.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Price by this configuration's own `prices` first.", show_default=False),
    ] = None,
) -> None:
    """Price recorded provider responses, offline: one JSON line in, one out."""
    if file != "-" and not Path(file).is_file():
        typer.echo(f"{file}: no such file", err=True)
        raise typer.Exit(2)
    book = load_book().with_operator(config_of(config).operator_prices())
    failed = False
    out = sys.stdout.buffer
    with sys.stdin.buffer if file == "-" else Path(file).open("rb") as lines:
        for result in price_lines(lines, book):
            failed = failed or "error" in result
            out.write(dump(result) + b"\n")
    out.flush()
    raise typer.Exit(1 if failed else 0)
