"""`taximeter check-config`: everything that is wrong with a configuration, each with its key path and line."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.options import ConfigOption, new_app
from proxy.config.checks import load_config
from proxy.config.file import read_lines
from proxy.config.model import Config
from proxy.config.problems import ConfigError, Problem
from proxy.times import now_s

app = new_app()


@app.command("check-config")
def check_config(
    file: Annotated[Path | None, typer.Argument(help="In place of --config.", show_default=False)] = None,
    config: ConfigOption = None,
) -> None:
    """Say everything that is wrong with a configuration, each with its key path and line; exit 2 if anything is. What is
    legal and hardly meant is a warning."""
    config = file or config
    if config is None:
        raise ConfigError([Problem("", "name a configuration file with --config or TAXIMETER_CONFIG")])
    loaded, warnings, _ = load_config(config, os.environ)
    lines = read_lines(config)
    for warning in (*warnings, *_unpriced(loaded)):
        path, colon, text = warning.partition(": ")
        line = lines.of(path) if colon and " " not in path else None
        typer.echo(f"warning: {warning if line is None else f'{path} (line {line}): {text}'}", err=True)
    counts = {"upstream": len(loaded.upstreams), "model": len(loaded.models), "budget": len(loaded.budgets)}
    said = ", ".join(f"{count} {what if count == 1 else f'{what}s'}" for what, count in counts.items())
    typer.echo(f"{config} is fine: {said}")


def _unpriced(config: Config) -> Iterator[str]:
    """Models that every call would be refused of, for want of a price."""
    if config.on_unpriced != "refuse":
        return
    from pricing.load import load_book

    catalog, at_s = load_book().catalog, int(now_s())
    for name, row in config.models.items():
        upstream = config.upstreams.get(row.upstream)
        served = (row.model or name).lower()
        if upstream is None or served.endswith("*"):
            continue
        provider = upstream.provider_name(row.upstream)
        own = [price for price in config.prices if isinstance(price, dict)]
        if any(_fits(price, provider, served) for price in own):
            continue
        if catalog.find(catalog.canonical(provider), served, at_s) is None:
            yield f"models.{name}: {served} of {provider} has no price, so its calls are refused; give it one under `prices`"


def _fits(price: dict[str, object], provider: str, model: str) -> bool:
    wanted = (("provider", provider.lower()), ("model", model))
    return all(fnmatch.fnmatchcase(value, str(price.get(field, "*")).lower()) for field, value in wanted)
