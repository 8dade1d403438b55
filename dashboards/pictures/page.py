"""Take the pictures of the pages: `python -m dashboards.pictures.page [FOLDER]`. Look at them before they are committed."""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.support.browser import chromium
from tests.support.day import Day, running
from tests.support.gateway import ADMIN_KEY

HERE = Path(__file__).parent
SHAPES = {
    "light": {"viewport": {"width": 1360, "height": 1640}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1360, "height": 1640}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 1700}, "color_scheme": "light", "device_scale_factor": 2},
}


def afternoon(day: Day) -> None:
    """What happened in the last seconds, and what is in flight while the picture is taken."""
    session = "9f1c7c52-6c1d-4b7e-9a53-0d6a4a5be211"
    with ThreadPoolExecutor(8) as pool:
        for number in range(9):
            pool.submit(
                day.call, "checkout-bot", (700 + 90 * number, 2400, 150 + 20 * number), after_s=0.3 + number / 9
            )
            pool.submit(
                day.call, "ci", (1900 + 40 * number, 18_000 + 900 * number, 700), after_s=1.5 + number / 7, agent="codex",
                session_id=session,
            )  # fmt: skip
            if number == 5:
                pool.submit(day.call, "fraud-review", (5100, 9400, 760), after_s=2.4, agent="reviewer")
                pool.submit(day.call, "try-out", (640, 0, 80), after_s=0.8)
                pool.submit(day.call, "summaries", (4100, 0, 320), after_s=1.1)
    for name in ("ci", "ci", "fraud-review", "checkout-bot"):
        day.hold(name)


def _take(browser: Browser, day: Day, folder: Path) -> None:
    for name, shape in SHAPES.items():
        page = browser.new_page(**shape)
        page.goto(day.url)
        page.get_by_label("server.admin_key").fill(ADMIN_KEY)
        page.get_by_role("button", name="Open").click()
        page.locator(".status[data-state=live]").wait_for()
        for part in ("hour", "day", "flight", "budgets", "models", "teams", "sessions", "calls"):
            page.locator(f"#part-{part} > *").first.wait_for()
        page.locator("#chart canvas").wait_for()
        page.get_by_label("24 hours", exact=True).check()
        page.locator("#part-calls summary").nth(3).click()
        page.mouse.move(0, 0)
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=folder / f"page-{name}.png")
        if name != "phone":
            _more(page, day, folder, name)
        page.close()


def _more(page: Page, day: Day, folder: Path, name: str) -> None:
    """The explorer, and an agent's run."""
    page.set_viewport_size({"width": 1360, "height": 1100})
    page.goto(day.url + "spend?by=team,model&since=24h&step=hour")
    page.locator(".plot canvas").wait_for()
    page.screenshot(path=folder / f"spend-{name}.png")
    page.goto(day.url + "sessions?sort=cost&filter.agent=claude-code")
    page.locator("tr[data-row] th a").first.click()
    page.locator(".fall").wait_for()
    page.screenshot(path=folder / f"session-{name}.png")


def main(folder: Path = HERE) -> None:
    with tempfile.TemporaryDirectory() as work, running(Path(work)) as day, chromium() as browser:
        afternoon(day)
        _take(browser, day, folder)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
