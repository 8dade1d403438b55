"""What commands share: how they are made, the option that names the configuration, and that configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from proxy.config.model import Config

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", envvar="TAXIMETER_CONFIG", help="The configuration file (YAML).", show_default=False),
]


def new_app(**settings: Any) -> typer.Typer:
    """A command, or a group of them. Its help is plain text: to draw boxes costs more than all else that it does."""
    return typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True, **settings
    )


def config_of(path: Path | None) -> Config:
    """The configuration at `path`, or the one that `serve` has without a file (as far as the ledger is concerned)."""
    # Only here: the help of a command needs no schema.
    from proxy.config.checks import load_config
    from proxy.config.model import Config

    return load_config(path, os.environ)[0] if path else Config()
