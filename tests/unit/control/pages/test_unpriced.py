"""What nobody knows the cost of is no $0.00 on any page: a dash, and a count of the calls without a price."""

from __future__ import annotations

import html
import re

import pytest

from tests.support.bought import bought
from tests.support.made_up import HOUR_US, START, fill
from tests.unit.control.conftest import Control

from .test_site import SINCE, rows_of

ONLY = f"{SINCE}&filter.team=dark"


@pytest.fixture
def dark(control: Control) -> Control:
    """With a team of whose calls none has a price."""
    named = {"team": "dark", "customer": "dark", "model": "dark", "session_id": "s-dark", "root_session_id": "s-dark"}
    fill(control.engine, [bought(START + hour * HOUR_US, None, **named, session_source="header") for hour in range(3)])
    return control


def words(page: str) -> str:
    """What is read on a page, without its forms and scripts."""
    body = re.sub(r"<(script|style|form|svg)\b.*?</\1>", "", page.partition("<main")[2], flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.mark.parametrize(
    "path",
    [
        f"/spend?by=team&{ONLY}", f"/spend?by=model&{ONLY}", f"/spend?by=session&{ONLY}", f"/models?{ONLY}", f"/sessions?{ONLY}",
        f"/customers?{ONLY}", f"/customers?by=customer,model&{ONLY}", f"/calls?{ONLY}", "/sessions/s-dark",
        "/customers/dark?since=2026-11-01&until=2026-12-01",
    ],
)  # fmt: skip
def test_no_page_says_that_calls_without_a_price_cost_nothing(dark: Control, path: str) -> None:
    said = words(dark.client.get(path).text)
    assert "$0.00" not in said, said[max(0, said.find("$0.00") - 200) :][:400]
    assert "–" in said or path.startswith("/calls")


@pytest.mark.parametrize(
    ("page", "table"),
    [
        ("/spend?by=team", "spend"),
        ("/models?", "models"),
        ("/customers?by=customer,model", "customers"),
        ("/sessions?", "sessions"),
    ],
)
def test_a_cost_that_nobody_knows_is_empty_in_csv_with_the_count_beside_it(
    dark: Control, page: str, table: str
) -> None:
    rows = rows_of(dark, f"{page}&{ONLY}&csv={table}")
    assert rows
    calls = {row["calls"] for row in rows}
    assert {row["cost_usd"] for row in rows} == {""}
    assert {row["unpriced"] for row in rows} == calls


def test_a_months_costs_are_written_alike(dark: Control) -> None:
    """The total and what it cost stand side by side: `$0.00` and `$0`, `$7.09` and `$7.087453875` were two ways of one page."""

    def of(query: str) -> list[str]:
        said = words(dark.client.get(f"/month?{query}").text)
        amounts = re.search(r"(\S+) (?:so far|over, and not closed); cost (\S+) ?[.,]", said)
        assert amounts, said[:400]
        return list(amounts.groups())

    assert all(re.fullmatch(r"\$[\d,]+\.\d\d", amount) for amount in of("month=2026-11&by=team"))
    assert of("month=2026-09&by=team") == ["$0.00", "$0.00"]
    assert of("month=2026-11&by=team&filter.team=dark") == ["$0.00", "–"]
    (row,) = rows_of(dark, "/month?month=2026-11&by=team&filter.team=dark&csv=month")
    assert (row["cost_usd"], row["charge_usd"], row["change_usd"]) == ("", "0", "")
