"""`taximeter import`: the configuration of another gateway as one of ours."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from proxy.cli.options import config_of, new_app
from proxy.cli.output import fail
from proxy.config.file import ConfigError
from proxy.config.from_litellm import TABLES, moved

app = new_app(help="The configuration of another gateway, as one of ours.")

Tables = Mapping[str, Sequence[Mapping[str, Any]]]

_COPY = re.compile(r'COPY (?:\w+\.)?"?(\w+)"? \((.*)\) FROM stdin;$')
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\"}
_ESCAPED = re.compile(r"\\[tnr\\]")
_BOOLEANS = {"t": True, "f": False}


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
) -> None:
    """Models, upstreams, keys (by hash: clients keep theirs), teams, users and budgets of LiteLLM; what has no counterpart is
    listed, on stderr."""
    if database is not None and dump is not None:
        raise fail("--database or --dump, not both", 2)
    try:
        settings: Any = yaml.safe_load(config.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise fail(f"{config} cannot be read: {' '.join(str(error).split())}", 2) from None
    if not isinstance(settings, dict):
        raise fail(f"{config} is no configuration of LiteLLM: it has no model_list", 2)
    tables = _asked(database) if database else _dumped(dump) if dump else {}
    try:
        ours, left = moved(settings, tables)
    except (ValueError, TypeError, AttributeError) as error:
        raise fail(f"a row of LiteLLM's database cannot be read: {error}") from None
    _write(out, yaml.safe_dump(ours, sort_keys=False, allow_unicode=True))
    for line in left:
        typer.echo(f"not taken: {line}", err=True)
    counts = ", ".join(f"{len(ours.get(name, ()))} {name}" for name in ("upstreams", "models", "keys", "budgets"))
    typer.echo(f"{out}: {counts}; {len(left)} not taken")
    try:
        config_of(out)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(f"to be mended: {problem}", err=True)
        raise typer.Exit(1) from None


def _write(out: Path, text: str) -> None:
    """For its owner alone: keys of upstreams may be in it."""
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise fail(f"{out} is there already: name another file with --out", 2) from None
    except OSError as error:
        raise fail(f"{out} cannot be written: {error.strerror or error}") from None


def _asked(url: str) -> Tables:
    import sqlalchemy as sa
    from sqlalchemy.exc import SQLAlchemyError

    try:
        address = sa.make_url(url)
        if address.drivername in ("postgres", "postgresql"):
            query = {name: value for name, value in address.query.items() if name not in ("schema", "connection_limit")}
            address = address.set(drivername="postgresql+psycopg", query=query)
        engine = sa.create_engine(address)
        try:
            there = set(sa.inspect(engine).get_table_names())
            with engine.connect() as connection:
                return {
                    name: [dict(row) for row in connection.execute(sa.text(f'SELECT * FROM "{table}"')).mappings()]  # noqa: S608 - our own names
                    for name, table in TABLES.items()
                    if table in there
                }
        finally:
            engine.dispose()
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise fail(f"LiteLLM's database cannot be read: {type(error).__name__}") from None


def _dumped(dump: Path) -> Tables:
    try:
        text = dump.read_text("utf-8")
        if text.lstrip().startswith("{"):
            body = json.loads(text)
            return {name: body.get(table) or [] for name, table in TABLES.items()}
    except (OSError, ValueError) as error:
        raise fail(f"{dump} cannot be read: {error}", 2) from None
    names = {table: name for name, table in TABLES.items()}
    found: dict[str, list[dict[str, Any]]] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        match = _COPY.match(line)
        if match and match[1] in names:
            columns = [column.strip().strip('"') for column in match[2].split(",")]
            found[names[match[1]]] = list(_copied(lines, columns))
    if not found:
        raise fail(f"{dump} has no table of LiteLLM: make it with pg_dump, without --inserts", 2)
    return found


def _copied(lines: Iterator[str], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line == "\\.":
            return
        cells = (
            None if cell == "\\N" else _ESCAPED.sub(lambda part: _ESCAPES[part[0]], cell) for cell in line.split("\t")
        )
        row: dict[str, Any] = dict(zip(columns, cells, strict=False))
        yield row | {"blocked": _BOOLEANS.get(row.get("blocked") or "f")}
