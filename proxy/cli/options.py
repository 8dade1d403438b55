"""What commands share: how they are made, the option that names the configuration, and that configuration."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.output import fail

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from proxy.cli.remote import Server
    from proxy.config.model import Config

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", envvar="TAXIMETER_CONFIG", help="The configuration file (YAML).", show_default=False),
]

UnreadConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="TAXIMETER_CONFIG",
        help="Taken as by every command; the price book is the same under every configuration.",
        show_default=False,
    ),
]

ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="TAXIMETER_SERVER",
        show_default=False,
        metavar="URL",
        help="Ask this server (the address of its page), with the admin key in TAXIMETER_ADMIN_KEY, or in the file that "
        "TAXIMETER_ADMIN_KEY_FILE names.",
    ),
]


def new_app(**settings: Any) -> typer.Typer:
    """A command, or a group of them. Its help is plain text: to draw boxes costs more than all else that it does."""
    return typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True, **settings
    )


def config_of(path: Path | None) -> Config:
    """The configuration at `path`, or the one that `serve` has without a file, as far as ledger and prices are concerned."""
    # Only here: the help of a command needs no schema.
    from proxy.config.checks import load_config
    from proxy.config.without_file import local_prices
    from proxy.serve.local_model import MODEL_NAME

    config, _, names_none = load_config(path, os.environ)
    return replace(config, prices=(*config.prices, *local_prices(MODEL_NAME))) if names_none else config


def server_of(url: str | None) -> Server | None:
    """The server that was named; None where the command looks into the ledger itself."""
    from proxy.cli.remote import Server

    return None if url is None else Server(url, os.environ)


def ledger_of(settings: Config, *, make: bool = False) -> Engine:
    """The ledger of a configuration. Exits 1 where it does not answer, and, unless `make`, where there is none: a command in
    another folder must not leave an empty one there and report nothing spent."""
    from sqlalchemy.exc import SQLAlchemyError

    from proxy.ledger.database import open_ledger, why_not_opened

    url = settings.ledger
    if url.startswith("sqlite:///") and not make:
        path = Path(url.removeprefix("sqlite:///").partition("?")[0])
        if not path.exists():
            advice = "go where `taximeter serve` was started, name its configuration with --config, or ask it with --server URL"
            raise fail(f"there is no ledger at {path.absolute()}: {advice}")
    try:
        return open_ledger(url)
    except (SQLAlchemyError, OSError) as error:
        raise fail(f"the ledger cannot be opened: {why_not_opened(error, url)}") from None


@contextlib.contextmanager
def opened(settings: Config, *, make: bool = False) -> Iterator[Engine]:
    """As `ledger_of`, until the end of the block."""
    engine = ledger_of(settings, make=make)
    try:
        yield engine
    finally:
        engine.dispose()
