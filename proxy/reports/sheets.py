"""Rows as text: CSV for spreadsheets, a plain table for a terminal. Names come from clients, so no cell is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TextIO

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: full-width

Rows = Sequence[Mapping[str, Any]]


def csv_text(rows: Rows, columns: Sequence[str]) -> str:
    """A header and a line a row; what a row lacks is empty."""
    text = io.StringIO(newline="")
    write_csv(text, [rows], columns)
    return text.getvalue()


def write_csv(file: TextIO, some: Iterable[Rows], columns: Sequence[str]) -> None:
    """The same into a file, some rows at a time."""
    writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
    writer.writeheader()
    for rows in some:
        writer.writerows({name: harmless(value) for name, value in row.items()} for row in rows)


def table_text(rows: Rows, columns: Sequence[str]) -> str:
    """Columns side by side; what is not known is a dash."""
    cells = [list(columns), *[[_cell(row.get(name)) for name in columns] for row in rows]]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    """In a line, and without what a terminal would obey."""
    if value is None:
        return "–"
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(str(value).split()))


def harmless(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: names come from clients."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        Decimal(value)
    except InvalidOperation:
        return f"'{value}"
    return value
