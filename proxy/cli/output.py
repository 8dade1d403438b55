"""How a command answers: a table for people, CSV for spreadsheets, JSON for programs; and how it says what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.reports.sheets import csv_text, table_text

if TYPE_CHECKING:
    from proxy.reports.answers import Answer

FormatOption = Annotated[str, typer.Option("--format", help="table, csv or json.")]


def fail(message: str, code: int = 1) -> typer.Exit:
    print(f"error: {message}", file=sys.stderr)
    return typer.Exit(code)


def show(rows: Sequence[Mapping[str, Any]], form: str, columns: Sequence[str], empty: str = "") -> None:
    """Rows as a table for people (`empty` in its place where there are none), CSV for spreadsheets, or JSON for programs."""
    if form == "json":
        print(json.dumps(list(rows), indent=2))
    elif form == "csv":
        sys.stdout.write(csv_text(rows, columns))
    elif form == "table":
        sys.stdout.write(table_text(rows, columns) if rows or not empty else f"{empty}\n")
    else:
        raise fail("--format must be table, csv or json", 2)


def answer(result: Answer, form: str) -> None:
    """A named report: its JSON as the API has it, or its rows, with what there is to say of them below (beside a CSV: on
    stderr, so that the file stays one)."""
    if form == "json":
        print(result.shown.model_dump_json(indent=2))
        return
    if form == "table":
        print(table_text(result.rows, result.columns), end="")
    else:
        show(result.rows, form, result.columns)
    for sentence in result.said:
        print(sentence, file=sys.stderr if form == "csv" else sys.stdout)
