"""Each filter by its URL, in the real Chromium: the rows are the ledger's, and the CSV and the API say the same, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sqlalchemy as sa

from proxy.ledger.schema import entries
from proxy.reports.calls import FILTERS
from proxy.times import rfc3339
from tests.e2e.pages.visiting import ADMIN, rows_of
from tests.support.browser import expect
from tests.support.day import Day

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.needs("chromium")

SUMMED = ("key", "team", "user", "customer", "model", "provider", "upstream", "session", "agent")
SHOWN = 50
IDS = "[...document.querySelectorAll('tr[data-row]:not(.total) th a')].map((a) => decodeURIComponent(a.pathname.split('/')[2]))"
NAMES = "[...document.querySelectorAll('tr[data-row]:not(.total) th')].map((e) => e.title || e.textContent.trim())"

Rows = list[dict[str, Any]]


@pytest.fixture
def before() -> str:
    """Until when all filters look: what begins later is not there."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@pytest.fixture
def ledger(day: Day, before: str) -> Iterator[Rows]:
    """All that began until then, the latest first."""
    engine = sa.create_engine(day.gateway.ledger)
    query = sa.select(entries).where(entries.c.started_at < int(datetime.fromisoformat(before).timestamp() * 1e6))
    with engine.connect() as connection:
        yield [dict(row) for row in connection.execute(query.order_by(entries.c.id.desc())).mappings()]
    engine.dispose()


def value_of(row: dict[str, Any], name: str) -> str | None:
    if name == "priced":
        is_counted = row["kind"] == "attempt" and row["status"] not in ("void", "running")
        return "yes" if row["cost_nanousd"] is not None else "no" if is_counted else None
    if name.partition(".")[0] in ("label", "claimed"):
        return None  # nobody sends any in this day
    value: str | None = row["root_session_id" if name == "session" else name]
    return value


def rarest(ledger: Rows, name: str) -> str | None:
    """The value that the fewest calls have, and several if there is one; None where none has any."""
    values = [value for row in ledger if (value := value_of(row, name)) is not None]
    return min(set(values), key=lambda value: (values.count(value) < 2, values.count(value), value), default=None)


def usd(nano: int) -> Decimal:
    return Decimal(nano) / 10**9


def api(day: Day, path: str, **asked: str) -> Rows:
    answer = httpx.get(day.url + path, params=asked, headers=ADMIN, timeout=60)
    assert answer.status_code == 200, answer.text
    items: Rows = answer.json()["items"]
    return items


def opened(day: Day, page: Page, path: str, **asked: str) -> Rows:
    """The page, opened by its URL; its table as CSV."""
    query = httpx.QueryParams(asked)
    page.goto(f"{day.url}{path}?{query}")
    name, value = next((name, value) for name, value in asked.items() if name.startswith("filter."))
    chip = f"{name.removeprefix('filter.')} = {value or '(none)'}"
    expect(page.get_by_label("Filters").get_by_text(chip[:100])).to_be_visible()
    return rows_of(day, f"{path}?{query}&csv={path}")


def test_each_filter_of_calls_keeps_to_its_calls(day: Day, page: Page, before: str, ledger: Rows) -> None:
    walked = 0
    for name in [*FILTERS, "label.tier", "claimed.tier"]:
        value = rarest(ledger, name)
        wanted = [row for row in ledger if value_of(row, name) == value][:SHOWN]
        asked = {f"filter.{name}": value or "", "until": before}
        shown = opened(day, page, "calls", since="all", **asked)
        assert page.evaluate(IDS) == [row["id"] for row in wanted], name
        items = api(day, "api/requests", limit=str(SHOWN), **asked)
        assert [item["id"] for item in items] == [row["id"] for row in wanted], name
        exactly = [(rfc3339(row["started_at"]), row["cost_nanousd"]) for row in wanted]
        for said in (shown, items):
            costs = [None if row["cost_usd"] in ("", None) else int(Decimal(row["cost_usd"]) * 10**9) for row in said]
            assert list(zip([row["started_at"] for row in said], costs, strict=True)) == exactly, name
        walked += len(wanted)
    assert walked > 300


def test_each_filter_of_sums_keeps_to_what_its_calls_come_to(day: Day, page: Page, before: str, ledger: Rows) -> None:
    for name in SUMMED:
        value = rarest(ledger, name)
        sums: dict[str, tuple[Decimal, int]] = {}
        for row in ledger:
            if value_of(row, name) == value and row["status"] not in ("void", "running"):
                cost, calls = sums.get(row["model"] or "(none)", (Decimal(0), 0))
                more = usd(row["cost_nanousd"] or 0), int(row["kind"] == "attempt")
                sums[row["model"] or "(none)"] = cost + more[0], calls + more[1]
        asked = {"by": "model", f"filter.{name}": value or "", "until": before}
        shown = opened(day, page, "spend", since="all", top="200", **asked)
        assert set(page.evaluate(NAMES)) == sums.keys(), name
        said = {row["model"]: (Decimal(row["cost_usd"] or 0), int(row["calls"])) for row in shown}
        assert said == sums, name
        items = api(day, "api/spend", **asked)
        assert {item["model"] or "(none)": (Decimal(item["cost_usd"]), item["requests"]) for item in items} == sums, (
            name
        )


def test_each_filter_of_sessions_keeps_to_those_with_such_a_call(
    day: Day, page: Page, before: str, ledger: Rows
) -> None:
    costs: dict[str, Decimal] = {}
    for row in ledger:
        costs[row["root_session_id"]] = costs.get(row["root_session_id"], Decimal(0)) + usd(row["cost_nanousd"] or 0)
    for name in SUMMED:
        if name == "session":
            continue
        value = rarest(ledger, name)
        having = {
            row["root_session_id"]
            for row in ledger
            if value_of(row, name) == value and row["status"] not in ("void", "running")
        }
        asked = {f"filter.{name}": value or "", "until": before}
        shown = opened(day, page, "sessions", since="all", **asked)
        names = page.evaluate(NAMES)
        assert set(names) <= having, name
        assert len(names) == min(len(having), SHOWN), name
        items = api(day, "api/sessions", limit=str(SHOWN), **asked)
        for said in (shown, items):
            assert [row["session"] for row in said] == names, name
            assert [Decimal(row["cost_usd"] or 0) for row in said] == [costs[one] for one in names], name
