"""Rows as text: CSV for spreadsheets, a plain table for a terminal. Names come from clients, so no cell is a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TextIO

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: full-width

_NOTHING = "–"
_NUMBER = re.compile(r"-?\$?[\d,]+(\.\d+)?( ?%)?\Z")

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
    """Columns side by side, numbers to the right; what is not known, or is not there, is a dash."""
    cells = [list(columns), *[[_cell(row.get(name)) for name in columns] for row in rows]]
    sides = [_aligned(cells, place) for place in range(len(columns))]
    lines = ["  ".join(align(cell) for align, cell in zip(sides, line, strict=True)).rstrip() for line in cells]
    return "\n".join(lines) + "\n"


def _aligned(cells: Sequence[Sequence[str]], place: int) -> Callable[[str], str]:
    """How a column's cells are filled up to its width."""
    values = [line[place] for line in cells[1:] if line[place] != _NOTHING]
    side = ">" if values and all(map(_NUMBER.match, values)) else "<"
    width = max(len(line[place]) for line in cells)
    return lambda cell: f"{cell:{side}{width}}"


def _cell(value: Any) -> str:
    """In a line, and without what a terminal would obey."""
    if value is None or value == "":
        return _NOTHING
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
