"""Every page in the real Chromium: links, filters, back and reload, CSV against the API, hostile names, widths, axe, scripts off."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.browser import chromium, expect
from tests.support.day import Day, running
from tests.support.gateway import ADMIN_KEY
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs("chromium")

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
HOSTILE = "\"><img/src=x/onerror=document.title='owned'>{{7*7}}" + "x" * 60
SHORTENED = (
    "document.querySelectorAll('tbody, ul').forEach(list => [...list.children].slice(8).forEach(row => row.remove()))"
)
BEYOND = """
[...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && !e.closest('.scroll')
  && e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.tagName + '.' + e.className).slice(0, 5)
"""
PATHS = [
    "", "spend", "spend?by=team,model&compare=1&since=24h", "spend?metric=rate&by=model&since=24h", "calls", "sessions?sort=cost",
    "budgets", "budgets/every-session", "keys", "customers?by=team", "models", "health", "explain?by=team", "month", "views",
    "customers/acme", "what-if?tier=batch", "capacity", "jobs", "in-flight",
    "customers?since=24h&plan=pro&plan_match=team%3Dplatform&usd=20&fee=0.03",
]  # fmt: skip


# The numbers that stand in no link: rows that are themselves what a sum is made of, or of which there are no rows.
BARE = """
[...document.querySelectorAll('main td.num, main .big, main .amount, main .percent, main .tile p, main .sum, main .shares li')]
  .filter((e) => /[0-9]/.test(e.textContent) && e.checkVisibility() && !e.closest('a, summary, form, [aria-labelledby=table-refused]')
    && !e.closest('[aria-labelledby=table-in-flight]'))
  .filter((e) => { const rest = e.cloneNode(true); rest.querySelectorAll('a, time, .hidden').forEach((a) => a.remove());
    return /[0-9]/.test(rest.textContent.replace(/00:00 UTC|last [0-9]+ \\w+/g, '')); })
  .map((e) => (e.closest('section')?.querySelector('h2')?.textContent || '') + ': ' + e.textContent.trim().slice(0, 60))
"""


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    with running(tmp_path_factory.mktemp("pages")) as made:
        made.call("ci", agent="codex")
        answer = made.call("summaries", model=HOSTILE, session_id=HOSTILE, agent="codex")
        assert answer.status_code == 200, answer.text
        wait_until(
            "the calls are in the ledger",
            lambda: any(
                item["model"] == HOSTILE
                for item in httpx.get(made.url + "api/requests?limit=5", headers=ADMIN).json()["items"]
            ),
        )
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture
def page(day: Day, browser: Browser) -> Iterator[Page]:
    made = signed_in(day, browser)
    yield made
    made.context.close()


SIGNED_IN: dict[str, Any] = {}
"""Address of a gateway -> what a browser keeps that has signed in there."""


def signed_in(day: Day, browser: Browser, **shape: Any) -> Page:
    page = browser.new_context(storage_state=SIGNED_IN.get(day.url), **shape).new_page()
    if day.url in SIGNED_IN:
        return page
    page.goto(day.url + "sign-in?to=/health")
    page.get_by_label("server.admin_key").fill(ADMIN_KEY)
    page.get_by_role("button", name="Open").click()
    expect(page).to_have_url(day.url + "health")
    SIGNED_IN[day.url] = page.context.storage_state()
    return page


def rows_of(day: Day, path: str) -> list[dict[str, str]]:
    answer = httpx.get(day.url + path, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def axe_faults(page: Page, **options: Any) -> list[Any]:
    """What axe, which is in the page by now, finds there."""
    options |= {"resultTypes": ["violations"], "elementRef": False}
    # Only what is read below goes through the browser's wire: a whole answer names every node that was looked at.
    found: list[Any] = page.evaluate(
        "async (options) => (await axe.run(options)).violations.map((fault) =>"
        " [fault.id, fault.nodes.slice(0, 3).map((node) => node.html.slice(0, 120))])",
        options,
    )
    return found


def test_no_page_has_a_fault_that_axe_knows(day: Day, browser: Browser) -> None:
    """In the dark only colours differ, and a long table's last rows have those of the first."""
    from axe_playwright_python.base import AXE_SCRIPT  # noqa: PLC0415 - for the worker that runs this

    page = signed_in(day, browser, color_scheme="light")
    faults = {}
    session = page.request.get(day.url + "api/sessions?order=cost", headers=ADMIN).json()["items"][0]["session"]
    call = page.request.get(day.url + "api/requests?limit=1", headers=ADMIN).json()["items"][0]["id"]
    for path in [*PATHS, f"sessions/{session}", f"calls/{call}", "sign-in"]:
        if path == "sign-in":
            page.context.clear_cookies()
        page.emulate_media(color_scheme="light")
        page.goto(day.url + path)
        if path == "":
            expect(page.locator("#part-sessions li").first).to_be_visible()
        page.evaluate(AXE_SCRIPT)
        faults[path] = axe_faults(page, rules={"color-contrast": {"enabled": False}})
        page.evaluate(SHORTENED)
        faults[path] += axe_faults(page, runOnly=["color-contrast"])
        page.emulate_media(color_scheme="dark")
        faults[f"{path} in the dark"] = axe_faults(page, runOnly=["color-contrast"])
    page.context.close()
    assert {path: found for path, found in faults.items() if found} == {}


@pytest.mark.parametrize("width", [360, 1440])
def test_no_page_is_wider_than_the_window_and_none_complains(day: Day, browser: Browser, width: int) -> None:
    page = signed_in(day, browser, viewport={"width": width, "height": 800})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    wide = []
    for path in PATHS:
        page.goto(day.url + path)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wide.append(path)
    page.context.close()
    assert (wide, complaints) == ([], [])


def test_what_clients_send_is_text_on_every_page(day: Day, page: Page) -> None:
    session = rows_of(day, "calls?since=24h&filter.key=summaries&csv=calls")[0]["session"]
    for path in [
        *PATHS,
        f"sessions/{httpx.URL('/', params={'x': session}).query.decode()[2:]}",
        "spend?by=session&since=24h",
    ]:
        page.goto(day.url + path)
        assert page.title() != "owned"
        assert page.locator("main img, main script, main iframe").count() == 0


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
    assert sum(shown.values()) == pytest.approx(
        sum(wanted.values()), abs=Decimal("0.2")
    )  # the day moves on between the two


def test_every_number_is_a_link(day: Day, page: Page) -> None:
    session, call, *_ = some_of(day)
    bare = {}
    for path in [
        *PATHS,
        f"sessions/{session}",
        f"calls/{call}",
        "budgets/research-today",
        "what-if?swap=gpt-5.4=gpt-5.4-mini",
    ]:
        page.goto(day.url + path)
        if path == "":
            expect(page.locator("#part-sessions li").first).to_be_visible()
            page.locator("#part-calls summary").first.click()
        if found := page.evaluate(BARE):
            bare[path] = found
    assert bare == {}


def some_of(day: Day) -> tuple[str, str]:
    """The dearest session, and the last call that has a price."""
    sessions = httpx.get(day.url + "api/sessions?order=cost", headers=ADMIN).json()["items"]
    calls = httpx.get(day.url + "api/requests?limit=20&filter.priced=yes", headers=ADMIN).json()["items"]
    return sessions[0]["session"], next(call["id"] for call in calls if call["cost_lines"])


LED = """
[...document.querySelectorAll('main table.data')].flatMap((table) => {
  const titles = [...table.querySelectorAll('thead th')].map((e) => e.textContent.trim().replace(' ↓', ''));
  return [...table.querySelectorAll('tbody tr')].flatMap((row) => [...row.cells].flatMap((cell, at) =>
    ['Calls', 'Own calls', 'Cost', 'Unpriced', 'Spent', 'Reserved'].includes(titles[at]) && cell.querySelector('a')
      ? [[titles[at], cell.textContent.trim(), cell.querySelector('a').getAttribute('href')]] : []));
})
"""


@pytest.mark.parametrize(
    "path",
    [
        "spend?by=team&since=2d&top=5", "spend?by=customer,model&since=2d&compare=1&top=5", "models", "customers?by=team", "budgets",
        "month?by=model&filter.team=research", "month?by=team", "health", "sessions?sort=cost&filter.agent=codex", "customers/acme",
    ],
)  # fmt: skip
def test_what_a_number_leads_to_comes_to_that_number(day: Day, page: Page, path: str) -> None:
    page.goto(day.url + path)
    led = [row for row in page.evaluate(LED) if row[2].startswith("/") and "–" not in row[1]]
    assert led
    for kind, text, link in led[:6] + led[-3:]:
        wanted = Decimal(re.sub(r"[^0-9.]", "", text) or "0")
        shown = comes_to(day, kind, link.removeprefix("/"))
        fine = Decimal(1).scaleb(int(wanted.as_tuple().exponent))
        assert not shown or any(abs(one - wanted) <= fine for one in shown), (kind, text, link, shown)


def comes_to(day: Day, kind: str, path: str) -> list[Decimal]:
    """What a page says that it shows; of a list of which no sums are kept, how many there are. Nothing: nobody says."""
    shown = httpx.get(day.url + path, headers=ADMIN, timeout=60).text
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
    last = len(bars[0]) - 1
    assert values[last]
    expect(over).to_be_visible()
    for part in (0.99, 0.97, 0.95, 0.9, 0.85):  # near the foot of the last bar
        over.hover(position={"x": box["width"] * part, "y": box["height"] - 8})
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
    page.get_by_label(re.compile("^by ")).fill("2")
    page.get_by_label("because").fill("the release waits for it")
    assert page.get_by_label("group", exact=True).input_value() in page.url
    page.get_by_role("button", name="Raise").click()
    expect(page).to_have_url(re.compile(r"/budgets/every-session\?group="))
    expect(page.get_by_text("by $2.00")).to_be_visible()
    expect(page.get_by_text("the release waits for it")).to_be_visible()
    expect(page.get_by_role("cell", name="$5.00")).to_be_visible()
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


def test_on_paper_there_are_tables_and_their_time_alone(day: Day, page: Page) -> None:
    page.emulate_media(media="print")
    page.goto(day.url + "spend?since=24h&by=team")
    expect(page.get_by_text("24h, UTC", exact=True)).to_be_visible()
    expect(page.get_by_role("table")).to_be_visible()
    for hidden in (".top", ".range", "form", ".curl", ".csv"):
        assert not any(part.is_visible() for part in page.locator(hidden).all()), hidden
    page.set_viewport_size({"width": 680, "height": 900})
    assert page.locator(".plot canvas").evaluate("canvas => canvas.getBoundingClientRect().right <= innerWidth")


def test_without_scripts_every_page_still_works(day: Day, browser: Browser) -> None:
    page = signed_in(day, browser, java_script_enabled=False)
    for path in PATHS:
        assert page.goto(day.url + path).status == 200  # type: ignore[union-attr]
    page.goto(day.url + "spend?since=24h&by=team")
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("rowheader", name="research")).to_be_visible()
    page.context.close()
