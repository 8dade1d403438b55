"""A table, on the page and as CSV, from the same rows. Pure.

Cells are values as the reports have them: nano-USD, epoch microseconds, counts, milliseconds; None is unknown and drawn "–",
never 0. On the page amounts of a column have the same decimals; in the CSV they are exact.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import Any, Literal, NamedTuple

from proxy.control.pages import view
from proxy.control.pages.address import Address
from proxy.control.pages.clock import Clock
from proxy.money import NANO, usd_text
from proxy.reports.sheets import harmless
from proxy.times import BadQuestion, rfc3339

Kind = Literal[
    "name", "mono", "text", "prose", "figure", "usd", "rate", "count", "tokens", "percent", "took", "moment", "mark"
]
_LONG = 24  # of a name: what is longer may not fit, and is said when it is pointed at
_MOST_PROSE = 400
_NUMBERS = ("figure", "usd", "rate", "count", "tokens", "percent", "took")


class Column(NamedTuple):
    """kind: `usd` and `rate` are nano-USD, `percent` is 0 to 100, `took` is milliseconds, `moment` epoch microseconds;
    `figure` is a number as it is shown; `name`, `mono` and `prose`, which has several lines, may be a client's words; `mark`
    is (how it looks, what it says).

    sort: it may be sorted by. note: what it is, where the title leaves that open. signed: a difference (`usd`) or a change
    (`percent`, of `view.change_of`), which has its sign. sparse: the page leaves it out where all of it is 0 or unknown.
    screen_only: paper has no room for it. cents: its amounts are whole cents, whatever their size.
    """

    name: str
    title: str
    kind: Kind = "text"
    sort: bool = False
    note: str = ""
    signed: bool = False
    sparse: bool = False
    screen_only: bool = False
    cents: bool = False


class Row(NamedTuple):
    """cells: column -> value. links: column -> where it leads. to: where numbers without a link of their own lead: to the rows
    that make them. depth: how far it is set in. muted: no row like the others. bad: columns whose values are a loss.
    absolute: its amounts are no differences, whatever their columns are of."""

    cells: Mapping[str, Any]
    links: Mapping[str, str] = {}
    depth: int = 0
    muted: bool = False
    bar: float | None = None
    bad: Sequence[str] = ()
    to: str = ""
    absolute: bool = False


class Rest(NamedTuple):
    """What a page leaves out of a long table: one row that stands for it, and the rows themselves, for the CSV."""

    row: Row
    rows: Callable[[], Iterable[Row]]


class Table(NamedTuple):
    """total: the last row. rest: what the page has no room for. more: where the next page is. empty: what stands there instead
    of rows. edge: the column that a phone keeps in sight, at the right edge, whatever stands between."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    total: Row | None = None
    rest: Rest | None = None
    more: str = ""
    empty: str = "Nothing here in this time."
    edge: str = "cost"


class Cell(NamedTuple):
    """text, as it is shown; full: all of it, or more exactly; at: for `<time datetime>`."""

    text: str
    css: str
    link: str = ""
    full: str = ""
    at: str = ""


def nano(usd: str | None) -> int | None:
    """USD as the reports write them, as nano-USD; below a nano-dollar it is rounded."""
    return None if usd is None else round(Decimal(usd) * NANO)


TOPS = (50, 100, 500, 2000)
"""How many rows of a long table a page shows."""


def top_of(address: Address) -> int:
    """`?top=`. Raises `BadQuestion`."""
    top = address.get("top", str(TOPS[0]))
    if top not in map(str, TOPS):
        raise BadQuestion(f"top: {top[:40]!r} is not one of {', '.join(map(str, TOPS))}")
    return int(top)


def more_of(address: Address, top: int) -> str:
    """Where more rows are shown; "" where that is in the CSV only."""
    return next((str(address.having(top=str(more))) for more in TOPS if more > top), "")


def drawn(table: Table) -> Table:
    """Without the columns that say nothing; the CSV has them all."""
    rows = [*table.rows, *([table.rest.row] if table.rest else []), *([table.total] if table.total else [])]
    columns = [one for one in table.columns if not one.sparse or any(row.cells.get(one.name) for row in rows)]
    return table._replace(columns=columns)


class Line(NamedTuple):
    cells: Sequence[Cell]
    depth: int
    muted: bool
    bar: float | None


_UTC = Clock("UTC", now_us=0)


def lines(table: Table, may_open: Collection[str] | None = None, clock: Clock = _UTC) -> list[Line]:
    """The rows as the template draws them, the total last. may_open: the first parts of the paths that links may lead to, if
    not all. clock: whose zone moments stand in."""
    rows = [*table.rows, *([table.rest.row] if table.rest else []), *([table.total] if table.total else [])]
    decimals = {
        column.name: 2 if column.cents else view.decimals_for(row.cells.get(column.name) for row in rows)
        for column in table.columns
        if column.kind in ("usd", "rate")
    }
    return [
        Line(
            [
                _opened(_at_edge(column.name == table.edge, _cell(column, row, decimals, clock)), may_open)
                for column in table.columns
            ],
            row.depth,
            row.muted,
            row.bar,
        )
        for row in rows
    ]


def _at_edge(is_there: bool, cell: Cell) -> Cell:
    return cell._replace(css=f"{cell.css} at-edge") if is_there else cell


def _opened(cell: Cell, may_open: Collection[str] | None) -> Cell:
    """Without a link that its viewer may not follow."""
    if may_open is None or not cell.link.startswith("/"):
        return cell
    return cell if cell.link[1:].partition("?")[0].partition("/")[0] in may_open else cell._replace(link="")


def _cell(column: Column, row: Row, decimals: Mapping[str, int], clock: Clock) -> Cell:
    value, link = row.cells.get(column.name), row.links.get(column.name, row.to if column.kind in _NUMBERS else "")
    css: str = ("num" if column.kind in _NUMBERS else column.kind) + " on-screen" * column.screen_only
    if value == "":
        return Cell("", css)  # nothing to click
    if value is None:
        return Cell("–", f"{css} muted", row.links.get(column.name, ""))
    if column.name in row.bad:
        css += " bad"
    elif value == 0 and column.kind in ("usd", "count"):
        css += " zero"
    match column.kind:
        case "usd" | "rate":
            is_signed = column.signed and not row.absolute
            text = (view.difference if is_signed else view.usd)(value, decimals[column.name])
            return Cell(text, css, link, f"${usd_text(value)}")
        case "count":
            return Cell(view.count(value), css, link)
        case "tokens":
            return Cell(view.short(value), css, link, view.count(value))
        case "percent":
            return Cell((view.change if column.signed else view.percent)(value), css, link)
        case "took":
            return Cell(view.took(value), css, link)
        case "moment":
            return Cell(clock.shown(value), css, link, at=clock.utc(value))
        case "mark":
            return Cell(value[1], f"pill {value[0]}", link)
        case "prose":
            return Cell(view.clip(str(value), _MOST_PROSE), css, link)
        case _:
            return Cell(view.clip(str(value)), css, link, str(value) if len(str(value)) > _LONG else "")


def csv_of(table: Table) -> str:
    """Every row with a header of column names, amounts in USD; without the total, which a sheet can make itself."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_header(column) for column in table.columns])
    for row in [*table.rows, *(table.rest.rows() if table.rest else ())]:
        writer.writerow([_plain(column, row.cells.get(column.name)) for column in table.columns])
    return text.getvalue()


def _header(column: Column) -> str:
    suffix = {"usd": "_usd", "rate": "_usd", "took": "_ms", "percent": "_percent"}.get(column.kind, "")
    return column.name + ("" if column.name.endswith(suffix) else suffix)


def _plain(column: Column, value: Any) -> Any:
    if value is None or value == inf:
        return ""
    if column.kind in ("usd", "rate"):
        return usd_text(value)
    if column.kind == "moment":
        return rfc3339(value)
    return harmless(value[1] if column.kind == "mark" else value)
