"""CSV is opened in spreadsheets, and names in it come from clients."""

from __future__ import annotations

import csv
import io

import pytest

from proxy.cli.output import show


@pytest.mark.parametrize(
    "name",
    ['=HYPERLINK("http://evil","x")', "@SUM(1)", "+1+1", "-2+3", "\t=1", "\r=1", "\n=1", "\uff1d1", "--1", "+A1", "-"],
)
def test_no_cell_is_a_formula(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    show([{"session": name, "cost_usd": "-0.5"}], "csv", ("session", "cost_usd"))
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert row == {"session": f"'{name}", "cost_usd": "-0.5"}


@pytest.mark.parametrize("name", ["a=b", "s-1", "", "user@example.org", "-1", "+1e3", "1"])
def test_what_is_no_formula_stays_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    show([{"session": name, "cost_usd": 3}], "csv", ("session", "cost_usd"))
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert row == {"session": name, "cost_usd": "3"}
