"""The overview and the way in, in the real Chromium, on a real gateway with a day's calls in its ledger."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.pages.visiting import ADMIN, cookies
from tests.support.browser import expect
from tests.support.day import Day, running
from tests.support.gateway import ADMIN_KEY
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs("chromium")

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
HOSTILE = '"><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A gateway with one call, for what it would disturb others in to see."""
    with running(tmp_path_factory.mktemp("quiet"), history=False) as made:
        made.call("ci")
        in_the_ledger(made, 1)
        yield made


class Tab:
    """A page and all that it complained about."""

    def __init__(self, browser: Browser, **shape: Any) -> None:
        self.page: Page = browser.new_page(**shape)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def unlock(self, url: str, key: str = ADMIN_KEY) -> Page:
        self.page.goto(url)
        self.page.get_by_label("server.admin_key").fill(key)
        self.page.get_by_role("button", name="Open").click()
        return self.page

    def full(self, day: Day) -> Page:
        """Signed in, and everything that is slow to find out is there."""
        self.page.context.add_cookies(cookies(day))
        self.page.goto(day.url)
        expect(self.page.locator("#part-sessions li").first).to_be_visible()
        expect(self.page.locator("#part-budgets .bar").first).to_be_visible()
        expect(self.page.locator("#chart canvas")).to_be_visible()
        return self.page


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    made = Tab(browser)
    yield made
    made.page.close()


@pytest.fixture(scope="module")
def opened(day: Day, browser: Browser) -> Iterator[Tab]:
    """The overview, full, in one tab for all that looks at it and leaves it open."""
    made = Tab(browser)
    made.full(day)
    yield made
    assert made.complaints == []
    made.page.close()


def usd(text: str | None) -> Decimal:
    found = re.search(r"\$([\d,.]+)", text or "")
    assert found, text
    return Decimal(found[1].replace(",", ""))


def in_the_ledger(day: Day, calls: int) -> None:
    """Waits until the ledger has so many calls: what is shown of an empty one is something else."""
    wait_until(
        "the calls are in the ledger",
        lambda: len(httpx.get(day.url + "api/requests", headers=ADMIN).json().get("items", ())) >= calls,
    )


# The key


def test_without_the_key_there_is_a_prompt_and_not_one_number(day: Day, tab: Tab) -> None:
    tab.page.goto(day.url + "spend?by=team")
    expect(tab.page.get_by_label("server.admin_key")).to_be_focused()
    assert tab.page.locator("main .tile, main li, main td").count() == 0
    assert not [url for url in tab.requests if "/page/live" in url or "/api/" in url]
    assert tab.complaints == []


def test_a_wrong_key_is_told_and_can_be_corrected(day: Day, tab: Tab) -> None:
    page = tab.unlock(day.url, "not-the-key")
    expect(page.get_by_role("alert")).to_contain_text("That key opens nothing here.")
    expect(page.get_by_label("server.admin_key")).to_be_focused()
    expect(page.get_by_label("server.admin_key")).to_have_value("")
    assert page.locator("main .tile").count() == 0
    page.get_by_label("server.admin_key").fill(ADMIN_KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Last hour")).to_be_visible()


def test_signing_in_leads_to_where_one_wanted_to_go(day: Day, tab: Tab) -> None:
    page = tab.unlock(day.url + "spend?by=team&since=24h")
    expect(page).to_have_url(day.url + "spend?by=team&since=24h")
    expect(page.get_by_role("rowheader", name="research")).to_be_visible()


def test_the_key_is_kept_nowhere_and_no_script_reads_the_cookie(day: Day, tab: Tab) -> None:
    page = tab.unlock(day.url)
    expect(page.get_by_role("heading", name="Last hour")).to_be_visible()
    stored = page.evaluate(
        "[document.cookie, ...Object.entries(localStorage), ...Object.entries(sessionStorage)].join()"
    )
    assert stored == ""
    assert ADMIN_KEY not in page.content()
    assert not [url for url in tab.requests if ADMIN_KEY in url]
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert ADMIN_KEY not in cookie["value"]
    assert 11 * 3600 < cookie["expires"] - time.time() <= 12 * 3600
    page.reload()
    expect(page.locator("#part-calls summary").first).to_be_visible()


def test_signing_out_shows_nothing_more(day: Day, tab: Tab) -> None:
    page = tab.unlock(day.url + "health")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("server.admin_key")).to_be_visible()
    assert page.context.cookies() == []
    page.goto(day.url + "calls")
    expect(page.get_by_label("server.admin_key")).to_be_visible()


def test_on_loopback_without_an_admin_key_it_is_open(tmp_path: Any, tab: Tab) -> None:
    with running(tmp_path, admin_key=None, history=False) as open_day:
        tab.page.goto(open_day.url)
        expect(tab.page.get_by_text("No call yet.")).to_be_visible()
        expect(tab.page.get_by_role("button", name="Sign out")).to_have_count(0)
        assert open_day.call("ci", (1000, 0, 100)).status_code == 200
        in_the_ledger(open_day, 1)
        tab.page.reload()
        expect(tab.page.locator("#part-calls summary")).to_have_count(1)
        assert tab.complaints == []


def test_a_key_that_was_changed_ends_what_the_old_one_opened(quiet: Day, tab: Tab) -> None:
    file, process = quiet.gateway.config_file, quiet.gateway.process
    assert process is not None
    before = file.read_text()
    page = tab.unlock(quiet.url)
    expect(page.locator("#part-flight .big")).to_be_visible()
    file.write_text(before.replace(ADMIN_KEY, "another-admin-key-0123"))
    process.send_signal(signal.SIGHUP)
    expect(page.get_by_label("server.admin_key")).to_be_visible(timeout=15_000)
    assert page.locator("main .tile").count() == 0
    file.write_text(before)
    process.send_signal(signal.SIGHUP)
    wait_until("the key is back", lambda: httpx.get(quiet.url + "api/keys", headers=ADMIN).status_code == 200)


# What it shows


def test_spend_appears_live(day: Day, opened: Tab) -> None:
    """A real call, priced, shows up everywhere without a reload, with the API's numbers."""
    page = opened.page
    page.evaluate("window.stillHere = true")
    before = usd(page.locator("#part-day .big").inner_text())
    rows = page.locator("#part-calls li")
    top = rows.first.get_attribute("data-key")
    session = "a-dear-session"
    answer = day.call("fraud-review", (90_000, 0, 3000), session_id=session)
    cost = Decimal(answer.headers["x-taximeter-cost-usd"])
    assert cost > Decimal("0.1")

    expect(rows.first).not_to_have_attribute("data-key", top or "")
    summary = rows.first.locator("summary")
    expect(summary).to_contain_text("gpt-5.4")
    expect(summary).to_contain_text("fraud-review · payments")
    expect(summary.locator(".in")).to_have_text("90.0k in")
    assert abs(usd(summary.locator(".cost").inner_text()) - cost) < Decimal("0.0001")
    expect(page.locator("#part-day .big")).not_to_have_text(f"${before:,.2f}")
    assert abs(usd(page.locator("#part-day .big").inner_text()) - before - cost) <= Decimal("0.01")
    assert page.evaluate("window.stillHere") is True

    summary.click()
    lines = rows.first.locator("tbody tr")
    expect(lines).to_have_count(3)
    assert sum(usd(lines.nth(n).locator("td").last.inner_text()) for n in range(3)) == cost
    expect(rows.first.locator("dl")).to_contain_text(session)
    assert opened.complaints == []


def test_an_opened_call_stays_open_when_others_come(day: Day, opened: Tab) -> None:
    page = opened.page
    first = page.locator("#part-calls li").first
    key = first.get_attribute("data-key")
    if first.locator("details").get_attribute("open") is None:
        first.locator("summary").click()
    day.call("ci")
    same = page.locator(f'#part-calls li[data-key="{key}"]')
    expect(page.locator("#part-calls li").nth(1)).to_have_attribute("data-key", key or "")
    expect(same.locator("details")).to_have_attribute("open", "")
    expect(same.locator("table")).to_be_visible()


def test_reservations_of_calls_in_flight_are_shown(quiet: Day, tab: Tab) -> None:
    page = tab.unlock(quiet.url)
    expect(page.locator("#part-flight .big")).to_have_text("0 calls")
    quiet.hold("fraud-review")
    expect(page.locator("#part-flight .big")).to_have_text("1 call")
    payments = page.locator("#part-budgets li", has_text="payments").first
    expect(payments).to_contain_text("reserved")
    expect(payments.locator("rect.held")).to_have_count(1)
    quiet.released.set()
    expect(page.locator("#part-flight .big")).to_have_text("0 calls")
    expect(payments.locator("rect.held")).to_have_count(0)


def test_the_numbers_are_the_apis(day: Day, opened: Tab) -> None:
    page = opened.page
    today = httpx.get(day.url + "api/spend", params={"by": "model,day", "since": "24h"}, headers=ADMIN).json()["items"]
    latest = max(item["day"] for item in today)
    wanted = {item["model"]: Decimal(item["cost_usd"]) for item in today if item["day"] == latest}
    rows = page.locator("#part-models li")
    for number in range(rows.count()):
        row = rows.nth(number)
        if "unpriced" not in row.inner_text():
            shown = usd(row.locator(".amount").inner_text())
            assert abs(shown - wanted[row.locator(".name").inner_text()]) < Decimal("0.01")
    assert rows.count() == min(8, len(wanted))


def test_the_chart_has_two_stretches_of_time(opened: Tab) -> None:
    page = opened.page
    page.get_by_label("60 minutes", exact=True).check()
    expect(page.get_by_role("img", name=re.compile("in the last 60 minutes"))).to_be_visible()
    page.get_by_label("24 hours", exact=True).check()
    expect(page.get_by_role("img", name=re.compile("in the last 24 hours"))).to_be_visible()
    over = page.locator("#chart .u-over")
    box = over.bounding_box()
    assert box
    over.hover(position={"x": box["width"] - 10, "y": box["height"] / 2})
    expect(page.locator("#readout")).to_have_text(re.compile(r"^\d\d:\d\d +\$[\d.]+$"))
    painted = page.evaluate(
        "(() => { const c = document.querySelector('#chart canvas');"
        "return new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size; })()"
    )
    assert painted > 2


def test_it_finds_back_after_the_gateway_was_away(quiet: Day, tab: Tab) -> None:
    page = tab.unlock(quiet.url)
    expect(page.locator("#status")).to_contain_text("live")
    calls = page.locator("#part-calls summary")
    expect(calls).not_to_have_count(0)
    before = calls.count()
    assert quiet.gateway.stop(15) == 0
    expect(page.locator("#status")).to_contain_text("trying again")
    quiet.gateway.up()
    quiet.call("ci")
    expect(calls).to_have_count(before + 1)
    expect(page.locator("#status")).to_contain_text("live")


def test_a_hidden_tab_does_not_ask(day: Day, opened: Tab) -> None:
    page = opened.page
    with page.expect_event("requestfailed"):
        page.evaluate(
            "Object.defineProperty(document, 'hidden', {get: () => true, configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
    with page.expect_request("**/page/live"):
        page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")


# Safety


def test_what_a_client_sends_is_text(day: Day, opened: Tab) -> None:
    """Model, session, agent and user of a call can be anything; here they are markup."""
    page = opened.page
    hostile_id = HOSTILE.replace(" ", "/")
    answer = day.call("summaries", (50_000_000, 0, 10), model=HOSTILE, session_id=hostile_id, agent=hostile_id)
    assert answer.status_code == 200, answer.text
    row = page.locator("#part-calls li", has=page.get_by_text(HOSTILE, exact=True)).first
    expect(row).to_be_visible(timeout=5000)
    row.locator("summary").click()
    expect(row.locator("dl")).to_contain_text(hostile_id)
    expect(page.locator("#part-models .name", has_text=HOSTILE)).to_be_visible(timeout=12_000)
    expect(page.locator("#part-sessions .name", has_text=hostile_id)).to_be_visible(timeout=12_000)
    assert page.locator("main script, main img, main iframe").count() == 0
    assert page.title() == "Overview · Taximeter"
    assert opened.complaints == []


@pytest.mark.parametrize("path", ["", "page/app.js", "page/live", "page/nothing", "api/spend", "healthz"])
def test_every_answer_has_the_security_headers(day: Day, path: str) -> None:
    headers = httpx.get(day.url + path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
    assert {policy[name] for name in ("base-uri", "frame-ancestors")} == {"'none'"}
    assert policy["form-action"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    # A file of the pages is the same for everybody: it may be kept, and asked after.
    assert headers["cache-control"] == ("no-cache" if path == "page/app.js" else "no-store")


def test_the_policy_is_in_force(day: Day, tab: Tab) -> None:
    """Script and style in the page itself do nothing, and nothing is asked of another host."""
    page = tab.full(day)
    assert {httpx.URL(url).netloc for url in tab.requests} == {httpx.URL(day.url).netloc}
    page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
        "document.body.insertAdjacentHTML('beforeend', '<p id=bold style=\"font-weight: 900\">x</p>');"
    )
    assert page.evaluate("window.ran") is None
    assert page.evaluate("getComputedStyle(document.getElementById('bold')).fontWeight") == "400"
    assert len(tab.complaints) == 2
    assert all("Content Security Policy" in text for text in tab.complaints)


@pytest.mark.parametrize("key", [None, "wrong", "sk-virtual-ci"])
def test_the_stream_wants_the_admin_key(day: Day, key: str | None) -> None:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    assert httpx.get(day.url + "page/live", headers=headers).status_code == 401


@pytest.mark.parametrize("name", ["..%2findex.html", "index.html", "uPlot.LICENSE"])
def test_only_the_pages_files_are_served(day: Day, name: str) -> None:
    assert httpx.get(f"{day.url}page/{name}").status_code == 404


# For every eye


CONTRAST = """
() => {
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = channels(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  let seen = 0;
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility() || node.closest('noscript')) continue;
    seen += 1;
    const [a, b] = [luminance(channels(getComputedStyle(node).color)), luminance(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push(`${node.className} ${node.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return [seen, bad];
}
"""


def test_light_and_dark_can_be_read(day: Day, tab: Tab) -> None:
    """Every text has a contrast of at least 4.5 to what is behind it (WCAG AA), the prompt's too."""
    page = tab.page

    def look(texts: int) -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a name of each
            seen, bad = page.evaluate(CONTRAST)
            assert (seen > texts, bad) == (True, []), scheme
            ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            brightness = sum(int(part) for part in re.findall(r"\d+", ground)) / 3
            assert brightness > 200 if scheme == "light" else brightness < 40

    page.goto(day.url)
    look(4)
    tab.full(day)
    page.locator("#part-calls summary").first.click()
    look(100)
    assert tab.complaints == []


# What the local model's first calls cost, in every tile: those that it does not fit into.
WITH_LONG_AMOUNTS = """[...document.querySelectorAll('.tile .big')].filter((tile) => {
  tile.classList.add('long');
  tile.innerHTML = '$0.000016140<small>/h</small>';
  return tile.scrollWidth > tile.clientWidth;
}).map((tile) => `${tile.scrollWidth} of ${tile.clientWidth}`)"""


def test_nothing_is_wider_than_the_window(day: Day, browser: Browser) -> None:
    """A phone's, which is turned, and wider ones."""
    tab = Tab(browser, **PHONE)
    page = tab.full(day)
    page.locator("#part-calls summary").first.click()
    for width in (360, 700, 1000, 1440, 320):
        page.set_viewport_size({"width": width, "height": 740})
        wait_until(
            "the chart is drawn anew",
            lambda width=width: page.evaluate("document.documentElement.scrollWidth") == width,
        )
        assert page.evaluate(WITH_LONG_AMOUNTS) == [], width
        beyond = page.evaluate(
            "[...document.querySelectorAll('main *')].filter((e) => e.checkVisibility() && !e.closest('.hidden, svg, #chart, .lines')"
            " && e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.className + ' ' + e.textContent.slice(0, 40))"
        )
        assert (width, beyond) == (width, [])
    page.close()


def test_everything_has_a_name(opened: Tab) -> None:
    """Landmarks, headings, meters and controls, as a screen reader finds them."""
    page = opened.page
    for name in (
        "Budgets",
        "Latest calls",
        "Spend",
        "Spend today by model",
        "Spend today by team",
        "Dearest sessions today",
    ):
        expect(page.get_by_role("region", name=name, exact=True)).to_be_visible()
    expect(page.get_by_role("meter", name="Spent of budget company")).to_have_attribute(
        "aria-valuenow", re.compile(r"\d")
    )
    expect(page.get_by_role("status")).to_contain_text("live")
    page.get_by_label("60 minutes", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("24 hours", exact=True)).to_be_checked()
