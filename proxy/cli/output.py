"""How a command answers: a table for people, CSV for spreadsheets, JSON for programs; and how it says what is wrong."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from proxy.reports.spreadsheet import harmless

FormatOption = Annotated[str, typer.Option("--format", help="table, csv or json.")]


def fail(message: str, code: int = 1) -> typer.Exit:
    print(f"error: {message}", file=sys.stderr)
    return typer.Exit(code)


def show(rows: Sequence[Mapping[str, Any]], form: str, columns: Sequence[str]) -> None:
    """Rows as a table for people, CSV for spreadsheets, or JSON for programs."""
    if form == "json":
        print(json.dumps(list(rows), indent=2))
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, columns, restval="")
        writer.writeheader()
        writer.writerows({name: harmless(value) for name, value in row.items()} for row in rows)
    elif form == "table":
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*["" if row.get(name) is None else str(row[name]) for name in columns])
        Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False).print(table)
    else:
        raise fail("--format must be table, csv or json", 2)
