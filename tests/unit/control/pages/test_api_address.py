"""What a page says as curl is answered by the API with the page's numbers; every number leads to a page that answers; filters
keep what they say, on every page that groups."""

from __future__ import annotations

import html
import re
from decimal import Decimal

import pytest

from proxy.control.pages.site import PAGES
from tests.unit.control.conftest import Control
from tests.unit.control.pages.test_site import rows_of

RANGE = "since=2026-11-23&until=2026-11-26"
ZONED = f"{RANGE}&tz=America/New_York"
PATHS = [
    f"/spend?{RANGE}",
    f"/spend?{ZONED}&by=team,model&compare=1",
    f"/spend?{RANGE}&by=customer&filter.team=a%26b&filter.label.tier=",
    f"/calls?{RANGE}&filter.team=",
    f"/calls?{ZONED}&filter.model=m1&filter.status=settled",
    f"/calls?{RANGE}&filter.label.tier=gold",
    f"/sessions?{RANGE}&sort=cost",
    f"/sessions?{RANGE}&filter.team=research",
    f"/sessions?{RANGE}&filter.customer=c1&filter.model=m1",
    "/calls?since=all&filter.team=",
    "/spend?since=all&by=team",
    f"/models?{ZONED}&filter.team=research",
    f"/customers?{RANGE}&by=team",
    f"/customers?{ZONED}&by=customer,model&filter.team=research&filter.plan=",
    f"/capacity?{RANGE}&by=key",
    f"/explain?{RANGE}&by=team",
    f"/what-if?{RANGE}&tier=batch",
    "/month?month=2026-11&by=customer&mark_up=0.10&filter.team=research",
    "/month?month=2026-11&tz=Asia/Tokyo",
    "/jobs?state=settled&filter.team=research&filter.model=",
    "/budgets",
    "/budgets/teams",
    "/keys",
    "/health",
]


def curl_of(page: str) -> str:
    found = re.search(r"\$TAXIMETER_URL(/[^\"]*)\"", html.unescape(page))
    assert found, "no curl"
    return found[1]


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS)
def test_the_api_answers_what_a_page_says_as_curl(control: Control, path: str) -> None:
    page = control.client.get(path)
    assert page.status_code == 200, page.text
    answer = control.client.get(curl_of(page.text))
    assert answer.status_code in ((200, 503) if path == "/health" else (200,)), answer.text


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith("/spend")])
def test_and_with_the_same_sums(control: Control, path: str) -> None:
    items = control.client.get(curl_of(control.client.get(path).text)).json()["items"]
    shown = rows_of(control, f"{path}&top=200&csv=spend")
    assert shown or not items
    assert sum(Decimal(row["cost_usd"] or 0) for row in shown) == sum(Decimal(item["cost_usd"]) for item in items)
    assert sum(int(row["calls"]) for row in shown) == sum(item["requests"] for item in items)


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith("/calls")])
def test_and_with_the_same_calls(control: Control, path: str) -> None:
    items = control.client.get(curl_of(control.client.get(path).text)).json()["items"]
    assert [Decimal(row["cost_usd"] or 0) for row in rows_of(control, f"{path}&csv=calls")][: len(items)] == [
        Decimal(item["cost_usd"] or 0) for item in items
    ][:50]


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS)
def test_every_number_leads_to_a_page(control: Control, path: str) -> None:
    page = control.client.get(path).text
    cells = re.findall(r'<t[dh][^>]*class="num[^"]*"[^>]*>(.*?)</t[dh]>', page.partition("<tbody>")[2], re.DOTALL)
    values = [cell for cell in cells if re.search(r"\d", re.sub(r"<[^>]*>", "", cell))]
    bare = [cell for cell in values if "<a href=" not in cell]
    assert not bare, bare[:5]
    links = dict.fromkeys(html.unescape(link) for cell in values for link in re.findall(r'href="([^"]*)"', cell))
    for link in list(links)[:6]:
        answer = control.client.get(link) if link.startswith("/") else None
        assert answer is None or answer.status_code == 200, (link, answer.text[-400:] if answer else "")
        assert answer is not None or f'id="{link[1:]}"' in page, link


# Filters


def amounts(control: Control, path: str, table: str, column: str) -> Decimal:
    return sum((Decimal(row[column] or 0) for row in rows_of(control, f"{path}&csv={table}")), Decimal())


@pytest.mark.parametrize(
    ("page", "table", "columns"),
    [
        (f"/customers?{RANGE}", "customers", ("cost_usd", "calls")),
        ("/month?month=2026-11&mark_up=0.25", "month", ("cost_usd", "charge_usd")),
        (f"/models?{RANGE}", "models", ("cost_usd", "calls", "unpriced")),
    ],
)
def test_filters_part_a_table_into_what_adds_up(
    control: Control, page: str, table: str, columns: tuple[str, ...]
) -> None:
    items = control.get("/api/spend", by="team", since="2026-11-01T00:00:00Z", until="2026-12-01T00:00:00Z")["items"]
    teams = {item["team"] or "" for item in items}
    assert len(teams) > 2
    by = "" if table == "models" else "&by=customer,model"
    for column in columns:
        if column == "charge_usd":  # cents are dealt out by the groups of the whole
            whole = amounts(control, f"{page}&by=customer,model,team", table, column)
        else:
            whole = amounts(control, f"{page}{by}", table, column)
        parts = sum(
            (amounts(control, f"{page}{by}&filter.team={team.replace('&', '%26')}", table, column) for team in teams),
            Decimal(),
        )
        assert parts == whole, column


@pytest.mark.parametrize("page", ["/customers", "/month", "/models", "/jobs", "/sessions", "/spend", "/calls"])
def test_a_filter_that_nothing_has_says_which_there_are(control: Control, page: str) -> None:
    answer = control.client.get(f"{page}?filter.colour=red")
    assert answer.status_code == 400
    assert "colour" in answer.text


@pytest.mark.parametrize("page", ["/spend", "/calls", "/sessions", "/customers", "/models", "/explain", "/capacity"])
def test_a_time_that_ends_before_it_begins_is_told(control: Control, page: str) -> None:
    answer = control.client.get(f"{page}?since=2026-12-01&until=2026-11-01")
    assert (answer.status_code, "the end must be after the start" in answer.text) == (400, True)


def test_revenue_is_dealt_out_before_it_is_filtered(control: Control) -> None:
    span = {
        "since": "2026-11-01T00:00:00Z",
        "until": "2026-11-27T00:00:00Z",
    }  # no projection, which changes with the clock
    every = control.get("/api/reports/margin", by="team", **span)
    for item in (item for item in every["items"] if item["team"]):
        one = control.get("/api/reports/margin", by="team", **span, **{"filter.team": item["team"]})
        assert item in one["items"]
        assert {shown["team"] for shown in one["items"]} == {item["team"]}


# One customer


def test_a_customers_page_has_what_his_numbers_are_made_of(control: Control) -> None:
    item = next(
        item for item in control.get("/api/spend", by="customer")["items"] if item["customer"] and item["requests"] > 1
    )
    here = f"/customers/{item['customer']}?since=2026-11-01"
    page = control.client.get(here)
    assert page.status_code == 200, page.text
    costs = rows_of(control, f"{here}&csv=costs")
    assert sum(Decimal(row["cost_usd"] or 0) for row in costs) == Decimal(item["cost_usd"])
    assert sum(int(row["calls"]) for row in costs) == item["requests"]
    assert "nobody says what they pay" in page.text
    assert control.client.get("/customers/nobody?since=2026-11-01").status_code == 404
    before = control.client.get("/customers/acme?since=2026-01-01&until=2026-02-01")
    assert (before.status_code, "Nobody called for this customer in this time" in before.text) == (200, True)


@pytest.mark.parametrize("path", [page.path for page in PAGES if "{" not in page.path and page.ranged])
def test_every_page_of_a_time_answers_for_all_of_it(control: Control, path: str) -> None:
    page = control.client.get(f"{path}?since=all")
    assert page.status_code == 200, page.text
    whole = next(page for page in PAGES if page.path == path).whole
    assert ("since=all" in page.text) == (whole == "all")
    until, all_until = (control.client.get(f"{path}?{since}until=2026-11-10") for since in ("", "since=all&"))
    assert all_until.status_code == until.status_code, all_until.text
