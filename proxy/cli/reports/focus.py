"""`taximeter report focus`: cost and usage rows in the FinOps format, into a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.options import ConfigOption, ServerOption, config_of, new_app, opened, server_of
from proxy.cli.output import FormatOption, answer, fail
from proxy.cli.reports.options import SinceOption, UntilOption, answer_of, exit_on_problem, names_of
from proxy.reports.focus.columns import COLUMNS, Version
from proxy.reports.focus.parquet import NoParquet, write_parquet
from proxy.reports.focus.rows import FocusExport, FocusQuestion, focus_answer, version_named
from proxy.reports.sheets import write_csv
from proxy.times import moment, now_s, now_us

if TYPE_CHECKING:
    from proxy.cli.remote import Server

app = new_app()


@app.command("focus")
def focus(
    *,
    version: Annotated[str, typer.Option(help="Of FOCUS: 1.4 or 1.2.")] = "1.4",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, show_default=False, help="FILE.csv or FILE.parquet."),
    ] = None,
    tags: Annotated[str, typer.Option(help="Labels that become tags; several with commas between.")] = "",
    ahead: Annotated[
        str | None, typer.Option(metavar="1.5", show_default=False, help="Token classes under the draft's own names.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "csv",
) -> None:
    """Cost and usage rows in the FinOps format FOCUS: a row a day (UTC), owner, model and unit; the running month by default.

    They add up to the ledger to the nano-dollar. Corrections, unpriced calls and own machines are rows of their own.
    """
    with exit_on_problem(form):
        if out is not None and out.suffix not in (".csv", ".parquet"):
            raise fail("--out must end in .csv or .parquet", 2)
        if ahead not in (None, "1.5"):
            raise fail("--ahead must be 1.5", 2)
        if (remote := server_of(server)) is not None:
            _from_there(
                remote, out, form, version=version_named(version), tags=tags, ahead=ahead, since=since, until=until
            )
            return
        settings, now = config_of(config), now_s()
        question = FocusQuestion(
            version_named(version),
            moment(since, now) if since else None,
            moment(until, now) if until else None,
            names_of(tags),
            ahead=ahead is not None,
        )
        with opened(settings) as engine:
            if out is None:
                answer(focus_answer(engine, question, now_us()), form)
                return
            export = FocusExport(engine, question, now_us())
            _write(out, export.days(), export.columns)
            for sentence in export.said():
                typer.echo(sentence)


def _from_there(server: Server, out: Path | None, form: str, *, version: Version, **question: str | None) -> None:
    """As a server has it, which reads at most 31 days at once."""
    if out is None:
        answer_of(server, "focus", form, {}, version=version, **question)
        return
    rows = server.get("/api/reports/focus", version=version, **question, format="json")["rows"]
    _write(out, [rows], COLUMNS[version])
    typer.echo(f"{len(rows):,} rows")


def _write(out: Path, some: Iterable[Sequence[Mapping[str, Any]]], columns: Sequence[str]) -> None:
    """Beside its place until it is whole."""
    beside = out.with_name(f"{out.name}.partial")
    try:
        if out.suffix == ".parquet":
            write_parquet(beside, some, columns)
        else:
            with beside.open("w", encoding="utf-8", newline="") as file:
                write_csv(file, some, columns)
        beside.replace(out)
    except NoParquet as missing:
        raise fail(str(missing)) from None
    except OSError as error:
        raise fail(f"{out} cannot be written: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)
