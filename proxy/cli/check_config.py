"""`taximeter check-config`: everything that is wrong with a configuration, each with its key path."""

from __future__ import annotations

import os

import typer

from proxy.cli.options import ConfigOption, new_app
from proxy.config.checks import load_config
from proxy.config.file import ConfigError, Problem

app = new_app()


@app.command("check-config")
def check_config(config: ConfigOption = None) -> None:
    """Say everything that is wrong with a configuration, each with its key path; exit 2 if anything is."""
    if config is None:
        raise ConfigError([Problem("", "name a configuration file with --config or TAXIMETER_CONFIG")])
    loaded, warnings = load_config(config, os.environ)
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    counts = f"{len(loaded.upstreams)} upstreams, {len(loaded.models)} models, {len(loaded.budgets)} budgets"
    typer.echo(f"{config} is fine: {counts}")
