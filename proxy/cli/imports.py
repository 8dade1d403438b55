"""`taximeter import`: the configuration of another gateway as one of ours."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from proxy.access.keys import identity_of
from proxy.budgets.budget import compile_budgets
from proxy.cli.litellm_tables import LiteLLM, asked, dumped, nothing
from proxy.cli.options import config_of, new_app
from proxy.cli.output import fail, show
from proxy.config.from_litellm import convert
from proxy.config.model import Config
from proxy.config.problems import ConfigError
from proxy.money import usd_text
from proxy.reports.what_if.replay import Replayed, replay
from proxy.times import rfc3339

app = new_app(help="The configuration of another gateway, as one of ours.")


@app.callback()
def _group() -> None:
    pass


@app.command("litellm")
def litellm(
    *,
    config: Annotated[Path, typer.Option("--config", exists=True, dir_okay=False, help="LiteLLM's config.yaml.")],
    out: Annotated[
        Path, typer.Option("--out", dir_okay=False, help="Where ours goes; never over a file that is there.")
    ],
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="URL", show_default=False, help="LiteLLM's database; it is only read."),
    ] = None,
    dump: Annotated[
        Path | None,
        typer.Option(
            "--dump", exists=True, dir_okay=False, show_default=False, help="Its pg_dump (plain), or tables as JSON."
        ),
    ] = None,
    with_replay: Annotated[
        bool, typer.Option("--replay", help="Say what of its spend log the new budgets would have refused.")
    ] = False,
) -> None:
    """Models, upstreams, keys (by hash: clients keep theirs), teams, users and budgets of LiteLLM, with what was spent so far;
    what has no counterpart is listed, on stderr."""
    if database is not None and dump is not None:
        raise fail("name either --database or --dump, not both", 2)
    if with_replay and database is None and dump is None:
        raise fail("--replay needs the spend log: name it with --database or --dump", 2)
    try:
        settings: Any = yaml.safe_load(config.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise fail(f"{config} cannot be read: {' '.join(str(error).split())}", 2) from None
    if not isinstance(settings, dict):
        raise fail(f"{config} is not a LiteLLM configuration: it has no model_list", 2)
    theirs = asked(database) if database else dumped(dump) if dump else nothing()
    try:
        config_made, left = convert(settings, theirs.tables, datetime.now(UTC).replace(microsecond=0))
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise fail(f"a row of LiteLLM's database cannot be read: {error}") from None
    _write(out, yaml.safe_dump(config_made, sort_keys=False, allow_unicode=True))
    for line in left:
        typer.echo(f"not taken: {line}", err=True)
    counts = ", ".join(
        f"{len(config_made.get(name, ()))} {name}" for name in ("upstreams", "models", "keys", "budgets")
    )
    typer.echo(f"{out}: {counts}; {len(left)} not taken")
    try:
        made = config_of(out)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(f"to be mended: {problem}", err=True)
        raise typer.Exit(1) from None
    if with_replay:
        _say(_replayed(made, theirs))


def _write(out: Path, text: str) -> None:
    """For its owner alone: keys of upstreams may be in it."""
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise fail(f"{out} exists already: name another file with --out", 2) from None
    except OSError as error:
        raise fail(f"{out} cannot be written: {error.strerror or error}") from None


def _replayed(config: Config, theirs: LiteLLM) -> Replayed:
    identities = {key.key_id: identity_of(key) for key in config.keys}
    try:
        return replay(compile_budgets(config.budgets), identities, theirs.calls())
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise fail(f"a row of LiteLLM's spend log cannot be read: {error}") from None


def _say(made: Replayed) -> None:
    rows = [
        {
            "budget": one.budget.name,
            "would": "refuse" if one.budget.hard else "warn",
            "calls": one.calls,
            "usd": usd_text(one.nanousd),
            "first": rfc3339(int((one.first_at_s or 0) * 1e6)),
        }
        for one in sorted(made.exceeded, key=lambda one: -one.nanousd)
    ]
    if rows:
        show(rows, "table", ("budget", "would", "calls", "usd", "first"))
    sums = f"{usd_text(made.refused_nanousd)} of {usd_text(made.nanousd)} USD"
    typer.echo(
        f"{made.refused} of {made.calls} calls ({sums}) would have been refused, going by what they cost; ceilings are higher."
    )
    if made.unknown:
        typer.echo(f"Of keys that are not known here: {made.unknown} calls ({usd_text(made.unknown_nanousd)} USD).")
