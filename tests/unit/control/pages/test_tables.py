"""A table's cells on the page, and the same rows as CSV: exact there, comparable here, unknown never 0."""

from __future__ import annotations

import csv
import io
from math import inf

from proxy.control.pages.tables import Column, Row, Table, csv_of, drawn, lines

COLUMNS = [
    Column("who", "Who", "name"),
    Column("cost", "Cost", "usd"),
    Column("calls", "Calls", "count"),
    Column("took", "Took", "took"),
    Column("at", "At", "moment"),
    Column("mark", "", "mark"),
]


def table(*rows: Row, total: Row | None = None) -> Table:
    return Table("t", "T", COLUMNS, rows, total)


def read(made: Table) -> list[list[str]]:
    return list(csv.reader(io.StringIO(csv_of(made))))


def test_amounts_of_a_column_have_the_same_decimals_and_unknown_is_a_dash() -> None:
    made = lines(table(Row({"who": "a", "cost": 2_000_000_000}), Row({"who": "b", "cost": 1}), Row({"who": "c"})))
    assert [line.cells[1].text for line in made] == ["$2.00", "<$0.01", "–"]
    assert made[1].cells[1].full == "$0.000000001"


def test_the_total_is_the_last_line_of_the_page_and_none_of_the_csv() -> None:
    made = table(Row({"who": "a", "cost": 5}), total=Row({"who": "total", "cost": 5}))
    assert [line.cells[0].text for line in lines(made)] == ["a", "total"]
    assert [row[0] for row in read(made)] == ["who", "a"]


def test_the_csv_is_exact_and_unknown_is_empty() -> None:
    row = {
        "who": "a",
        "cost": 1,
        "calls": 1_234,
        "took": 5.25,
        "at": 1_795_916_000_000_000,
        "mark": ("bad", "HTTP 500"),
    }
    made = read(table(Row(row), Row({"who": "b"})))
    assert made[0] == ["who", "cost_usd", "calls", "took_ms", "at", "mark"]
    assert made[1] == ["a", "0.000000001", "1234", "5.25", "2026-11-29T01:33:20.000000Z", "HTTP 500"]
    assert made[2] == ["b", "", "", "", "", ""]


def test_no_spreadsheet_takes_a_name_for_a_formula() -> None:
    made = read(table(Row({"who": "=1+1"}), Row({"who": "\uff1dA1"}), Row({"who": "-5"})))
    assert [row[0] for row in made[1:]] == ["'=1+1", "'\uff1dA1", "-5"]


def test_a_change_has_its_sign_and_is_a_number_in_the_csv() -> None:
    columns = [Column("who", "Who", "name"), Column("change", "Change", "percent", signed=True)]
    columns.append(Column("more", "More", "usd", signed=True, sparse=True))
    rows = [Row({"who": "a", "change": 12.34}), Row({"who": "b", "change": inf, "more": 0}), Row({"who": "c"})]
    made = Table("t", "T", columns, rows)
    assert [line.cells[1].text for line in lines(made)] == ["+12.3 %", "new", "–"]
    assert [row[1] for row in read(made)] == ["change_percent", "12.34", "", ""]
    assert [column.name for column in drawn(made).columns] == ["who", "change"]
    assert drawn(made._replace(total=Row({"more": 5}, absolute=True))).columns == columns
    assert lines(made._replace(total=Row({"more": 5 * 10**9}, absolute=True)))[-1].cells[2].text == "$5.00"


def test_whole_cents_are_written_as_cents() -> None:
    columns = [Column("cost", "Cost", "usd"), Column("charge", "Charged", "usd", cents=True)]
    (line,) = lines(Table("t", "T", columns, [Row({"cost": 7_778_000, "charge": 10_000_000})]))
    assert [cell.text for cell in line.cells] == ["$0.007778", "$0.01"]
