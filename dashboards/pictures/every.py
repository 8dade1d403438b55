"""Look at every page: `python -m dashboards.pictures.every FOLDER`, light and dark, desktop, phone and paper,
several on a sheet.

The sheets are for whoever changes a page and are not committed; what README and docs show is taken by `page.py`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser

from dashboards.pictures.page import afternoon
from tests.support.browser import chromium
from tests.support.day import Day, running
from tests.support.gateway import ADMIN_KEY

PAPER = "paper"  # as wide as A4 between its margins
SHAPES: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    "phone-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
    PAPER: {"viewport": {"width": 703, "height": 1000}, "color_scheme": "dark"},
}
PATHS = (
    "", "spend?since=24h&by=team", "spend?by=team,model&compare=1&since=24h", "spend?metric=rate&by=model&since=24h",
    "spend?since=2020-01-01&until=2020-02-01", "calls", "calls?since=24h&filter.team=payments",
    "calls?since=24h&filter.team=nobody", "calls/nothing", "nothing", "in-flight", "sessions?sort=cost", "budgets",
    "budgets/research-today", "budgets/every-session", "keys", "customers",
    "customers?since=24h&plan=pro&plan_match=team%3Dplatform&usd=20&fee=0.03", "customers/acme", "month", "models",
    "explain?by=team", "what-if?swap=gpt-5.4=gpt-5.4-mini", "capacity", "jobs", "health", "views",
)  # fmt: skip
_HIGHEST = 2400
_ON_A_SHEET = {"light": 6, "dark": 6, "phone": 9, "phone-dark": 9, PAPER: 6}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, running(Path(work)) as day, chromium() as browser:
        afternoon(day)
        paths = [*PATHS, *_some(day)]
        for name, shape in SHAPES.items():
            pictures = _taken(browser, day, paths, shape, folder / name)
            for first in range(0, len(pictures), _ON_A_SHEET[name]):
                some = pictures[first : first + _ON_A_SHEET[name]]
                _sheet(browser, some, folder / f"{name}-{first // _ON_A_SHEET[name] + 1}.png")


def _some(day: Day) -> list[str]:
    """A session of several calls, and a call with cost lines; the last is signing in."""
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    session = httpx.get(day.url + "api/sessions?order=cost", headers=admin).json()["items"][0]["session"]
    calls = httpx.get(day.url + "api/requests?limit=20&filter.priced=yes", headers=admin).json()["items"]
    call = next(call["id"] for call in calls if call["cost_lines"])
    return [f"sessions/{session}", f"calls/{call}", "sign-in"]


def _taken(
    browser: Browser, day: Day, paths: Sequence[str], shape: dict[str, Any], folder: Path
) -> list[tuple[str, Path]]:
    folder.mkdir(exist_ok=True)
    page = browser.new_page(**shape)
    page.goto(day.url)
    page.get_by_label("server.admin_key").fill(ADMIN_KEY)
    page.get_by_role("button", name="Open").click()
    page.locator(".top nav").wait_for()
    pictures = []
    for number, path in enumerate(paths):
        if path == "sign-in":
            page.context.clear_cookies()
        page.goto(day.url + path)
        if not path:
            for part in ("hour", "day", "flight", "budgets", "models", "teams", "sessions", "calls"):
                page.locator(f"#part-{part} > *").first.wait_for()
        if folder.name == PAPER:
            page.evaluate("dispatchEvent(new Event('beforeprint'))")
            page.emulate_media(media="print")
        height = min(_HIGHEST, int(page.evaluate("document.documentElement.scrollHeight")))
        picture = folder / f"{number:02}.png"
        page.screenshot(
            path=picture, clip={"x": 0, "y": 0, "width": shape["viewport"]["width"], "height": height}, full_page=True
        )
        page.emulate_media(media="screen")
        pictures.append((path, picture))
    page.close()
    return pictures


def _sheet(browser: Browser, pictures: Sequence[tuple[str, Path]], into: Path) -> None:
    """Beside one another, each under its address."""
    html = "".join(
        f"<figure><figcaption>/{path.replace('&', '&amp;')}</figcaption><img src='{picture.as_uri()}'></figure>"
        for path, picture in pictures
    )
    sheet = into.with_suffix(".html")
    style = (
        "body{margin:8px;display:flex;flex-wrap:wrap;gap:12px;align-items:start;background:#888;font:13px monospace}"
    )
    style += "figure{margin:0}img{display:block;max-height:1500px}"
    sheet.write_text(f"<!doctype html><meta charset=utf-8><style>{style}</style>{html}")
    page = browser.new_page(viewport={"width": 2600, "height": 800})
    page.goto(sheet.as_uri())
    page.screenshot(path=into, full_page=True)
    page.close()
    sheet.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
