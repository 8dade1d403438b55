"""The pages in use: filters, back and reload, shared links, CSV against the API, what a number leads to, forms, keys, paper."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.e2e.pages.visiting import ADMIN, rows_of, signed_in
from tests.support.browser import expect
from tests.support.day import Day, running
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.needs("chromium")


def test_back_reload_and_a_shared_link_show_the_same(day: Day, page: Page, browser: Browser) -> None:
    page.goto(day.url + "spend?since=24h")
    page.get_by_label("by", exact=True).fill("team")
    page.get_by_role("button", name="Show", exact=True).first.click()
    page.get_by_role("rowheader", name="research").get_by_role("link").click()
    expect(page.get_by_text("team = research")).to_be_visible()
    shown = page.locator("tbody").inner_text()
    link = page.url
    page.reload()
    assert page.locator("tbody").inner_text() == shown
    page.get_by_role("link", name="30 days").click()
    expect(page).to_have_url(re.compile("since=30d"))
    page.go_back()
    assert page.locator("tbody").inner_text() == shown
    other = signed_in(day, browser)
    other.goto(link)
    assert other.locator("tbody").inner_text() == shown
    other.context.close()
    page.get_by_label("End the filter team").click()
    expect(page.get_by_text("team = research")).to_have_count(0)


def test_the_tables_csv_is_the_apis_and_the_ledgers(day: Day, page: Page) -> None:
    page.goto(day.url + "spend?since=24h&by=key")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    with download.value.path().open(newline="") as file:
        shown = {row["key"]: Decimal(row["cost_usd"] or 0) for row in csv.DictReader(file)}
    items = httpx.get(day.url + "api/spend", params={"by": "key", "since": "24h"}, headers=ADMIN).json()["items"]
    wanted = {item["key"]: Decimal(item["cost_usd"]) for item in items}
    assert shown.keys() == wanted.keys()
    # The day moves on between the two.
    assert sum(shown.values()) == pytest.approx(sum(wanted.values()), abs=Decimal("0.2"))


LED = """
[...document.querySelectorAll('main table.data')].flatMap((table, number) => {
  const titles = [...table.querySelectorAll('thead th')].map((e) => e.textContent.trim().replace(' ↓', ''));
  return [...table.querySelectorAll('tbody tr')].flatMap((row) => [...row.cells].flatMap((cell, at) =>
    ['Calls', 'Own calls', 'Cost', 'Unpriced', 'Spent', 'Reserved'].includes(titles[at]) && cell.querySelector('a')
      ? [[`${number} ${at}`, titles[at], cell.textContent.trim(), cell.querySelector('a').getAttribute('href')]] : []));
})
"""
LEADING = [
    "spend?by=team&since=2d&top=5", "spend?by=customer,model&since=2d&compare=1&top=5", "models", "customers?by=team", "budgets",
    "month?by=model&filter.team=research", "month?by=team", "health", "sessions?sort=cost&filter.agent=codex", "customers/acme",
]  # fmt: skip


def test_what_a_number_leads_to_comes_to_that_number(day: Day, page: Page) -> None:
    """Of each column the first two and the last, which may be a sum."""
    with httpx.Client(base_url=day.url, headers=ADMIN, timeout=60) as client:
        for path in LEADING:
            page.goto(day.url + path)
            columns: dict[str, list[list[str]]] = {}
            for column, *cell in page.evaluate(LED):
                if cell[2].startswith("/") and "–" not in cell[1]:
                    columns.setdefault(column, []).append(cell)
            assert columns, path
            for cells in columns.values():
                for kind, text, link in cells[:2] + cells[2:][-1:]:
                    wanted = Decimal(re.sub(r"[^0-9.]", "", text) or "0")
                    shown = comes_to(client, kind, link.removeprefix("/"))
                    fine = Decimal(1).scaleb(int(wanted.as_tuple().exponent))
                    assert not shown or any(abs(one - wanted) <= fine for one in shown), (path, kind, text, link, shown)


def comes_to(client: httpx.Client, kind: str, path: str) -> list[Decimal]:
    """What a page says that it shows; of a list of which no sums are kept, how many there are. Nothing: nobody says."""
    shown = client.get(path).text
    named = {"calls": r'<p class="sum">(.*?)</p>', "in-flight": r'<tr class="[^"]*total"(.*?)</tr>'}.get(
        path.partition("?")[0]
    )
    words = re.findall(named or r'<p class="big[^"]*">(.*?)</p>', shown, re.DOTALL)
    if not words:
        return [] if 'rel="next"' in shown or kind == "Cost" else [Decimal(shown.count("data-row"))]
    text = re.sub(r"<[^>]*>", "", " ".join(words)).replace(",", "")
    return [Decimal(number) for number in re.findall(r"[0-9]+(?:[.][0-9]+)?", text)]


def test_a_bar_opens_exactly_its_calls(day: Day, page: Page) -> None:
    page.goto(day.url + "spend?since=30d&by=team&step=month")
    over = page.locator(".plot .u-over")
    box = over.bounding_box()
    assert box
    bars = page.evaluate(
        "(() => { const data = JSON.parse(document.querySelector('[data-chart]').dataset.chart);"
        " return [data.at, data.series.map((one) => [one.name, one.values])]; })()"
    )
    name, values = bars[1][0]
    assert any(values)
    expect(over).to_be_visible()
    for part in range(99, 0, -2):  # near the foot of a bar: on the first of a month the last one may be flat
        over.hover(position={"x": box["width"] * part / 100, "y": box["height"] - 8})
        if f"{name} $" in page.locator("#readout").inner_text():
            break
    else:
        pytest.fail(f"no bar of {name} under the pointer: {page.locator('#readout').inner_text()}")
    page.mouse.down()
    page.mouse.up()
    expect(page).to_have_url(re.compile(rf"/calls\?.*filter\.team={name}.*"))
    expect(page.get_by_text(f"team = {name}")).to_be_visible()
    cells = page.locator("tbody tr td:nth-child(5)").all_inner_texts()
    assert set(cells) == {name}


def test_a_view_that_is_saved_is_a_link_that_shows_the_same(day: Day, page: Page) -> None:
    page.goto(day.url + "spend?since=24h&by=team&metric=calls&sort=calls")
    rows = page.locator("table.data tr > :first-child")  # the last 24 hours go on, and their sums with them
    shown = rows.all_inner_texts()
    page.get_by_text("Save this view").click()
    page.get_by_label("as", exact=True).fill("Calls <by> team")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page).to_have_url(day.url + "views")
    page.get_by_role("link", name="Calls <by> team").click()
    expect(page).to_have_url(re.compile("metric=calls"))
    assert len(shown) > 3
    expect(rows).to_have_text(shown)
    page.goto(day.url + "views")
    page.locator("form[action='/views/forget'] select").select_option("Calls <by> team")
    page.get_by_role("button", name="Forget it").click()
    expect(page.get_by_text("None yet.")).to_be_visible()


def test_a_plan_is_tried_without_a_change_of_the_configuration(day: Day, page: Page) -> None:
    page.goto(day.url + "customers?by=team&since=24h")
    new = page.get_by_role("group", name="A new plan")
    new.get_by_label("name").fill("flat")
    new.get_by_label("$ a month").fill("1000")
    page.get_by_role("button", name="Try").click()
    expect(page.get_by_text("Tried, and not in force: flat")).to_be_visible()
    assert "name: flat" in page.locator("pre code").first.inner_text()
    expect(page.locator("table.data").first.get_by_text("flat").first).to_be_visible()
    page.reload()
    expect(page.get_by_text("Tried, and not in force: flat")).to_be_visible()
    page.get_by_role("link", name="As configured").click()
    expect(page.get_by_text("No plan is configured")).to_be_visible()


def test_a_key_is_made_with_a_budget_which_is_listed(day: Day, page: Page) -> None:
    page.goto(day.url + "keys")
    page.get_by_label("name", exact=True).fill("intern")
    page.get_by_label("may spend $").fill("12.50")
    page.get_by_label("calls a minute").fill("30")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".made code.secret")).to_contain_text("sk-tx-")
    page.get_by_role("link", name="$12.5 a month, 30 calls a minute").click()
    assert page.url.endswith("/budgets/key%3Amonth?group=intern")
    page.goto(day.url + "budgets")
    expect(page.get_by_role("link", name="key:month")).to_be_visible()
    page.goto(day.url + "keys")
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("li", has_text="intern").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("$12.5 a month")).to_have_count(0)


def test_the_keyboard_moves_about(day: Day, page: Page) -> None:
    page.goto(day.url + "calls")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr.here")).to_have_count(1)
    assert page.locator("tr[data-row]").nth(1).evaluate("row => row.classList.contains('here')")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/calls/.+"))
    page.wait_for_load_state()
    page.keyboard.press("g")
    page.keyboard.press("s")
    expect(page).to_have_url(re.compile(r"/spend"))
    page.wait_for_load_state()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.matches('input, select')")


def test_light_and_dark_can_be_chosen_and_stay(day: Day, page: Page) -> None:
    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    page.goto(day.url + "spend")
    light = ground()
    page.get_by_role("button", name="Light or dark").click()
    dark = ground()
    assert dark != light
    page.goto(day.url + "calls")
    assert ground() == dark


@pytest.fixture
def clicks(page: Page) -> Callable[[], int]:
    """How often somebody clicked; text that is typed is none."""
    page.add_init_script(
        "addEventListener('click', (event) => { if (event.isTrusted && event.detail)"
        " sessionStorage.clicks = 1 + Number(sessionStorage.clicks || 0); }, true)"
    )
    return lambda: int(page.evaluate("Number(sessionStorage.clicks || 0)"))


def test_which_customer_cost_most_last_week_and_in_which_session(
    day: Day, page: Page, clicks: Callable[[], int]
) -> None:
    items = httpx.get(day.url + "api/spend", params={"by": "customer", "since": "7d"}, headers=ADMIN).json()["items"]
    customer = next(item["customer"] for item in items if item["customer"])
    asked = {"by": "session", "since": "7d", "filter.customer": customer}
    dearest = httpx.get(day.url + "api/spend", params=asked, headers=ADMIN).json()["items"][0]["session"]
    page.goto(day.url)
    page.get_by_role("link", name="Spend", exact=True).click()  # the last seven days
    by = page.get_by_role("list", name="Group by")
    by.get_by_role("link", name="customer").click()
    expect(page.locator("tr[data-row] th", has_not_text="(none)").first).to_have_text(customer)
    page.get_by_role("rowheader", name=customer).get_by_role("link").click()
    by.get_by_role("link", name="session").click()
    expect(page.get_by_text(f"customer = {customer}")).to_be_visible()
    page.locator("tbody tr[data-row] th a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(dearest[:40])
    assert clicks() == 5


def test_why_a_call_cost_what_it_did(day: Day, page: Page, clicks: Callable[[], int]) -> None:
    page.goto(day.url)
    page.locator("#part-calls summary").first.click()  # its cost lines; the request is a link to all of it
    page.locator("#part-calls details[open] a[href^='/calls/']").first.click()
    expect(page).to_have_url(re.compile("/calls/.+"))
    expect(page.get_by_text("Ceiling, reservation, settlement")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Price from")).to_be_visible()
    assert clicks() == 2


def test_the_session_that_is_stuck_gets_more(day: Day, page: Page, clicks: Callable[[], int]) -> None:
    page.goto(day.url)
    page.locator("#part-budgets a.percent[href*='every-session?group=']").first.click()  # the fullest
    page.get_by_label(re.compile("^by ")).fill("4")
    page.get_by_label("because").fill("the release waits for it")
    assert page.get_by_label("group", exact=True).input_value() == httpx.URL(page.url).params["group"]
    page.get_by_role("button", name="Raise").click()
    expect(page).to_have_url(re.compile(r"/budgets/every-session\?group="))
    expect(page.get_by_text("by $4.00")).to_be_visible()
    expect(page.get_by_text("the release waits for it")).to_be_visible()
    expect(page.get_by_role("cell", name="$7.00", exact=True)).to_be_visible()
    assert clicks() == 2


def test_a_mistyped_address_is_a_page_and_to_a_program_json(day: Day, page: Page) -> None:
    answer = page.goto(day.url + "spending")
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("alert")).to_have_text("There is no page of this name.")
    expect(page.get_by_role("navigation", name="Pages").get_by_role("link", name="Spend")).to_be_visible()
    browsers = {"accept": "text/html"}
    for path, headers in (("spending", {}), ("api/spending", browsers), ("v1/models", browsers)):
        answer_to_it = httpx.get(day.url + path, headers=headers)
        assert answer_to_it.status_code == 404
        assert answer_to_it.json()["error"]["message"]


def test_the_first_run_sends_a_test_call_that_shows_up(tmp_path: Path, browser: Browser) -> None:
    with running(tmp_path, history=False) as empty:
        page = signed_in(empty, browser)
        page.goto(empty.url)
        expect(page.get_by_text("client = OpenAI(base_url=")).to_be_visible()
        expect(page.get_by_role("button", name="Copy")).to_have_count(page.locator("main pre").count())
        page.get_by_role("button", name=re.compile("Send a test call")).click()
        expect(page.get_by_text("x-taximeter-cost-usd")).to_be_visible()
        wait_until("the call is in the ledger", lambda: bool(rows_of(empty, "calls?csv=calls")))
        page.get_by_role("link", name="See it among the calls").click()
        expect(page.locator("tr[data-row]")).to_have_count(1)
        page.goto(empty.url + "keys")
        expect(page.get_by_role("row", name=re.compile("test call .* deleted"))).to_be_visible()  # its key
        page.context.close()


PAPER_PX = 703  # of A4 between its margins
WIDER = """
document.querySelectorAll('.data tr').forEach((row) => { while (row.cells.length < 14) row.append(row.cells[2].cloneNode(true)); })
"""


def test_a_sheet_says_its_time_and_filters_and_is_light(day: Day, browser: Browser) -> None:
    page = signed_in(day, browser, color_scheme="dark", timezone_id="America/New_York")
    page.goto(day.url + "spend?since=2026-11-01&until=2026-11-02&tz=Asia/Tokyo")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.emulate_media(media="print")
    expect(page.get_by_text("Nov 1, 2026, 00:00 to Nov 2, 2026, 00:00, Asia/Tokyo", exact=True)).to_be_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    page.goto(day.url + "spend?since=24h&by=team&filter.team=research")
    expect(page.get_by_text("team = research")).to_be_visible()
    expect(page.get_by_role("table")).to_be_visible()
    page.set_viewport_size({"width": PAPER_PX, "height": 1000})
    page.evaluate(WIDER)
    for wide in (".plot canvas", "table.data"):
        assert page.locator(wide).evaluate("wide => wide.getBoundingClientRect().right <= innerWidth"), wide
    page.emulate_media(media="screen")
    page.goto(day.url)
    expect(page.locator("#chart canvas")).to_be_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # as the browser does, while all is as on the screen
    page.emulate_media(media="print")
    assert page.locator("#chart").evaluate("box => box.scrollHeight <= box.clientHeight")
    page.context.close()


def test_times_stand_in_the_zone_of_the_range_wherever_the_reader_is(day: Day, browser: Browser) -> None:
    page = signed_in(day, browser, timezone_id="America/New_York")
    tokyo = ZoneInfo("Asia/Tokyo")

    def shown(time: Locator) -> tuple[datetime, str]:
        at = datetime.fromisoformat(time.get_attribute("datetime") or "").astimezone(tokyo)
        return at, time.inner_text()

    page.goto(day.url + "calls?since=24h&tz=Asia/Tokyo")
    at, text = shown(page.locator("tbody time").first)
    assert text == f"{at:%b} {at.day}, {at:%H:%M:%S}"
    expect(page.locator("main").get_by_text("Asia/Tokyo")).to_have_count(2)  # the range's, and the sheet's
    page.locator("tbody th a").first.click()
    expect(page.get_by_text("times in Asia/Tokyo")).to_be_visible()
    assert shown(page.locator("dd time").first) == (at, text)
    page.get_by_role("link", name="Overview", exact=True).click()
    expect(page.get_by_text("times in Asia/Tokyo")).to_be_visible()
    at, text = shown(page.locator("#part-calls time").first)
    assert text == f"{at:%H:%M:%S}"
    assert page.evaluate("clockTime(1790000000)") == f"{datetime.fromtimestamp(1790000000, tokyo):%H:%M}"
    page.context.close()


def test_a_reader_elsewhere_has_his_own_zone_in_one_click_and_keeps_it(day: Day, browser: Browser) -> None:
    page = signed_in(day, browser, timezone_id="America/New_York")
    for path in ("", "spend?since=24h&by=team", "budgets"):
        page.goto(day.url + path)
        page.get_by_role("link", name="in America/New_York").click()
        expect(page).to_have_url(re.compile(r"[?&]tz=America/New_York"))
        expect(page.get_by_role("link", name="in UTC")).to_be_visible()
    page.goto(day.url + "?tz=America/New_York")
    expect(page.locator("#part-day")).to_contain_text("since 00:00 America/New_York")
    page.locator("#part-models .name").first.click()
    expect(page).to_have_url(re.compile(r"/spend\?.*[?&]tz=America/New_York"))
    page.get_by_role("link", name="in UTC").click()
    expect(page.get_by_role("link", name="in America/New_York")).to_be_visible()
    page.context.close()
    here = signed_in(day, browser, timezone_id="UTC")
    here.goto(day.url + "spend")
    expect(here.get_by_text("· UTC")).to_be_visible()
    expect(here.get_by_role("link", name=re.compile("^in "))).to_have_count(0)
    here.context.close()


def test_on_a_phone_the_cost_stands_at_the_edge_and_hides_what_is_under_it(day: Day, browser: Browser) -> None:
    page = signed_in(day, browser, viewport={"width": 360, "height": 740})
    for path in ("calls?since=24h", "models?since=all", "budgets"):  # in the last two it stands in the middle
        page.goto(day.url + path)
        for scrolled in (0, 40):
            box = page.locator(".scroll").first
            box.evaluate("(box, left) => { box.scrollLeft = left; }", scrolled)
            gap = "box => box.querySelector('td.at-edge').getBoundingClientRect().right - box.getBoundingClientRect().right"
            assert box.evaluate(gap) < 1, path
    page.context.close()


def test_without_scripts_ranges_and_filters_still_work(day: Day, browser: Browser) -> None:
    page = signed_in(day, browser, java_script_enabled=False)
    page.goto(day.url + "spend?since=24h&by=model")
    page.get_by_label("by", exact=True).fill("team")
    page.get_by_role("button", name="Show", exact=True).first.click()
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("rowheader", name="research")).to_be_visible()
    page.context.close()
