"""The option that every command shares, and the configuration that it names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from proxy.config.checks import load_config
from proxy.config.model import Config

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", envvar="TAXIMETER_CONFIG", help="The configuration file (YAML).", show_default=False),
]


def config_of(path: Path | None) -> Config:
    """The configuration at `path`, or the one that `serve` has without a file (as far as the ledger is concerned)."""
    return load_config(path, os.environ)[0] if path else Config()
