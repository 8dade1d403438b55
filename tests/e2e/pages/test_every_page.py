"""Every page, opened once in the real Chromium, and all that holds for each: it answers, complains of nothing, fits into any
window and on paper, its numbers are links, what clients send is text in it, and axe has nothing to say, in light and dark.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import httpx
import pytest

from tests.e2e.pages.visiting import ADMIN, HOSTILE, signed_in, some_of
from tests.support.browser import expect
from tests.support.day import Day

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.timeout(300),
]  # one visit for all: a busy machine takes its time

WIDTHS = (1440, 360)
PAPER = {"A4": 703, "Letter": 725}  # what is between its margins, of 12 mm
PATHS = [
    "", "spend", "spend?by=team,model&compare=1&since=24h", "spend?metric=rate&by=model&since=24h", "spend?by=session&since=24h",
    "calls", "sessions?sort=cost", "budgets", "budgets/every-session", "budgets/research-today", "keys", "customers?by=team",
    "models", "health", "explain?by=team", "month", "views", "customers/acme", "what-if?tier=batch",
    "what-if?swap=gpt-5.4=gpt-5.4-mini", "capacity", "jobs", "in-flight",
    "customers?since=24h&plan=pro&plan_match=team%3Dplatform&usd=20&fee=0.03",
]  # fmt: skip
SIGN_IN = "sign-in"

# The numbers that stand in no link: rows that are themselves what a sum is made of, or of which there are no rows.
BARE = """
[...document.querySelectorAll('main td.num, main .big, main .amount, main .percent, main .tile p, main .sum, main .shares li')]
  .filter((e) => /[0-9]/.test(e.textContent) && e.checkVisibility() && !e.closest('a, summary, form, [aria-labelledby=table-refused]')
    && !e.closest('[aria-labelledby=table-in-flight]'))
  .filter((e) => { const rest = e.cloneNode(true); rest.querySelectorAll('a, time, .hidden').forEach((a) => a.remove());
    return /[0-9]/.test(rest.textContent.replace(/00:00 UTC|last [0-9]+ \\w+/g, '')); })
  .map((e) => (e.closest('section')?.querySelector('h2')?.textContent || '') + ': ' + e.textContent.trim().slice(0, 60))
"""
IDS = "[...document.querySelectorAll('[id]')].map((e) => e.id)"
# A chart is drawn anew when its window has another width, in the frame after that.
WIDTH = """
() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() =>
  done(document.documentElement.scrollWidth))))
"""
# What a sheet does not show whole, and what it shows that is to be pressed.
CUT = """
() => [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && !e.closest('.hidden, svg, .u-wrap')).filter((e) => {
  const box = e.getBoundingClientRect();
  return e.matches('header, nav, button, input, select') || (box.width && (box.right > innerWidth + 1 || box.left < -1
    || (getComputedStyle(e).overflowX !== 'visible' && e.scrollWidth > e.clientWidth + 1)));
}).map((e) => e.tagName + ': ' + e.textContent.trim().slice(0, 40)).slice(0, 5)
"""
# What is pressed on a phone and is lower than a finger; links within a sentence are as high as it is.
LOW = """
() => [...document.querySelectorAll('button, select, input:not([type=hidden], [type=checkbox], [type=radio]), .switch label, '
  + 'nav a, .range li a, .range summary, .quick a, .csv, .chips a, .facets a, .curl summary, .data tbody td:not(:has(.muted)) > a, .data tbody th > a')]
  .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 39.5)
  .map((e) => e.tagName + ': ' + e.textContent.trim().slice(0, 40)).slice(0, 5)
"""
SHORTENED = """
document.querySelectorAll('tbody, ul, ol').forEach((list) => [...list.children].slice(8).forEach((row) => row.remove()))
"""
# Two elements of one kind have the same colours: the tags, classes and states of all that they stand in, and in a table
# whether their row is an even one, are the same.
KINDS = """
() => {
  const own = (e) => [e.tagName, [...e.classList].sort().join('.'), ...['aria-current', 'aria-sort', 'data-state', 'open',
    'disabled', 'type', 'role', 'href'].map((name) => name === 'href' ? e.hasAttribute(name) : e.getAttribute(name)),
    e.tagName === 'TR' ? [...e.parentNode.children].indexOf(e) % 2 : ''].join(' ');
  const kinds = new Map([[document.documentElement, '']]);
  document.querySelectorAll('*').forEach((e) => kinds.set(e, (kinds.get(e.parentElement) ?? '') + ' > ' + own(e)));
  window.elements = [...document.querySelectorAll('body *')].filter((e) =>
    [...e.childNodes].some((child) => child.nodeType === 3 && child.data.trim()) || e.matches('input, select, textarea, button'));
  return window.elements.map((e) => kinds.get(e));
}
"""
FAULTS = """
async ([at, options]) => {
  const where = at === null ? document : at.map((number) => window.elements[number]);
  return (await axe.run(where, options)).violations.map((fault) =>
    [fault.id, fault.nodes.slice(0, 3).map((node) => node.html.slice(0, 120))]);
}
"""


class Visit(NamedTuple):
    """What one page showed. wide: the document's width -> by the window's. low: what is too low for a finger. cut: what is
    not whole on paper. faults: axe's, [rule, nodes] each."""

    status: int
    title: str
    markup: int
    complaints: list[str]
    wide: dict[int, int]
    low: list[str]
    cut: dict[str, list[str]]
    bare: list[str]
    twice: list[str]
    faults: list[Any]


Seen = dict[str, Visit]


class Walk:
    """A tab that looks at one page after the other."""

    def __init__(self, day: Day, browser: Browser) -> None:
        self.day = day
        self.page: Page = signed_in(day, browser, color_scheme="light", viewport={"width": WIDTHS[0], "height": 800})
        self.complaints: list[str] = []
        self.kinds: set[str] = set()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def visit(self, path: str) -> Visit:
        page = self.page
        self.complaints = []
        answer = page.goto(self.day.url + path)
        assert answer
        if path == "":
            expect(page.locator("#part-sessions li").first).to_be_visible()
            page.locator("#part-calls summary").first.click()
        bare, ids = page.evaluate(BARE), Counter(page.evaluate(IDS))
        wide = {}
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            wide[width] = page.evaluate(WIDTH)
        low = page.evaluate(LOW)  # in the last window, a phone's
        cut = self.cut()
        page.set_viewport_size({"width": WIDTHS[0], "height": 800})
        markup = page.locator("main img, main script, main iframe").count()
        return Visit(
            status=answer.status,
            title=page.title(),
            markup=markup,
            complaints=list(self.complaints),
            wide=wide,
            low=low,
            cut=cut,
            bare=bare,
            twice=[name for name, times in ids.items() if times > 1],
            faults=self.faults(),
        )

    def cut(self) -> dict[str, list[str]]:
        page, found = self.page, {}
        page.emulate_media(media="print")
        for sheet, width in PAPER.items():
            page.set_viewport_size({"width": width, "height": 1000})
            found[sheet] = page.evaluate(CUT)
        page.emulate_media(media="screen")
        return {sheet: parts for sheet, parts in found.items() if parts}

    def faults(self) -> list[Any]:
        """What axe finds: a long table's last rows have the faults of the first, and in the dark only colours differ."""
        from axe_playwright_python.base import AXE_SCRIPT  # noqa: PLC0415 - for the worker that runs this

        page = self.page
        page.evaluate(SHORTENED)
        page.evaluate(AXE_SCRIPT)
        found = self._axe(None, rules={"color-contrast": {"enabled": False}})
        kinds = page.evaluate(KINDS)
        new = {kind: number for number, kind in enumerate(kinds) if kind not in self.kinds}
        self.kinds |= new.keys()
        if new:
            at = list(new.values())
            found += self._axe(at, runOnly=["color-contrast"])
            page.emulate_media(color_scheme="dark")
            found += [["in the dark", fault] for fault in self._axe(at, runOnly=["color-contrast"])]
            page.emulate_media(color_scheme="light")
        return found

    def _axe(self, at: list[int] | None, **options: Any) -> list[Any]:
        # Only what is read goes through the browser's wire: a whole answer names every node that was looked at.
        found: list[Any] = self.page.evaluate(
            FAULTS, [at, options | {"resultTypes": ["violations"], "elementRef": False}]
        )
        return found


@pytest.fixture(scope="module")
def seen(day: Day, browser: Browser) -> Seen:
    """Path -> what was there. The last is the one without a cookie."""
    session, call = some_of(day)
    latest = httpx.get(day.url + "api/requests?limit=20&filter.key=summaries", headers=ADMIN).json()["items"]
    hostile = next(item for item in latest if item["model"] == HOSTILE)
    walk = Walk(day, browser)
    paths = [*PATHS, f"sessions/{session}", f"calls/{call}"]
    paths += [f"sessions/{quote(hostile['session_id'], safe='')}", f"calls/{hostile['id']}"]
    found = {path: walk.visit(path) for path in paths}
    walk.page.context.clear_cookies()
    found[SIGN_IN] = walk.visit(SIGN_IN)
    walk.page.context.close()
    return found


def test_every_page_is_there_and_none_complains(seen: Seen) -> None:
    assert {path: (visit.status, visit.complaints) for path, visit in seen.items()} == dict.fromkeys(seen, (200, []))


def test_no_page_is_wider_than_the_window(seen: Seen) -> None:
    assert {
        path: visit.wide for path, visit in seen.items() if any(is_ > width for width, is_ in visit.wide.items())
    } == {}


def test_every_page_is_whole_on_paper_and_nothing_of_it_is_to_be_pressed(seen: Seen) -> None:
    assert {path: visit.cut for path, visit in seen.items() if visit.cut and path != SIGN_IN} == {}


def test_what_is_pressed_on_a_phone_is_as_high_as_a_finger(seen: Seen) -> None:
    assert {path: visit.low for path, visit in seen.items() if visit.low} == {}


def test_what_clients_send_is_text_on_every_page(seen: Seen) -> None:
    assert {
        path: (visit.title, visit.markup) for path, visit in seen.items() if visit.title == "owned" or visit.markup
    } == {}


def test_every_number_is_a_link(seen: Seen) -> None:
    assert {path: visit.bare for path, visit in seen.items() if visit.bare} == {}


def test_no_page_has_a_fault_that_axe_knows(seen: Seen) -> None:
    assert {path: visit.faults for path, visit in seen.items() if visit.faults} == {}


def test_no_two_elements_of_a_page_have_one_id(seen: Seen) -> None:
    """In the rows, too, that axe does not look at."""
    assert {path: visit.twice for path, visit in seen.items() if visit.twice} == {}
