"""Take the pictures of the dashboards: `python -m dashboards.pictures.boards [FOLDER [MINUTES]]`. Look at them before they are
committed.

The real Prometheus has a day of the demo office (`day.py`); what own GPUs cost is watched while an office works for some
minutes on a running Taximeter. Each dashboard is drawn from its own JSON and from what Prometheus answers to its queries, not
by Grafana but by a small renderer (`tests/observability/picture/`).
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Browser

from dashboards.pictures import day
from tests.observability import boards
from tests.observability.boards import Json, substituted
from tests.observability.office import at_work
from tests.observability.servers import Prometheus, prometheus
from tests.support.browser import chromium
from tests.support.gateway import ADMIN_KEY, Gateway

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RENDERER = ROOT / "tests" / "observability" / "picture"
CHART = ROOT / "proxy" / "control" / "pages" / "static"
LIVE = "taximeter-capacity"
STEP_S = 5
_EVENING_S = 6 * 3600  # before midnight
_DEPTH = 3  # rules that are made of rules see these once they are in blocks
_MARKS = {"Alerts": "red", "Price changes": "blue"}


def scene(asked: Prometheus, board: Json, start: float, now: float, step_s: int) -> Json:
    """What Prometheus answers to all that the dashboard asks. step_s: between the scrapes, and the points that are drawn."""

    usual = f"{10 * step_s if step_s > STEP_S else 4 * step_s}s"

    def answer(expr: str, *, instant: bool, interval: str = usual) -> list[dict[str, Any]]:
        query = substituted(expr, interval=interval, span=f"{now - start:.0f}s")
        return asked.instant(query, now) if instant else asked.over(query, start, now, step_s)

    data = {
        panel["id"]: [
            answer(target["expr"], instant=target["instant"], interval=panel.get("interval") or usual)
            for target in panel["targets"]
        ]
        for panel in board["panels"]
    }
    marks = [
        {"at": float(series["values"][0][0]), "color": _MARKS[item["name"]]}
        for item in board["annotations"]["list"]
        for series in answer(item["target"]["expr"], instant=False)
    ]
    return {"board": board, "data": data, "annotations": marks, "start": start, "now": now, "step": step_s}


def draw(browser: Browser, shown: Json, folder: Path, file: Path) -> list[str]:
    """Draw one dashboard; what the page complained about."""
    for source in (*RENDERER.iterdir(), CHART / "uPlot.iife.min.js", CHART / "uPlot.min.css"):
        shutil.copy(source, folder)
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((folder / "page.html").as_uri())
    page.evaluate("shown => draw(shown)", shown)
    page.screenshot(path=file, full_page=True)
    page.close()
    return complaints


def _change_a_price(gateway: Gateway) -> None:
    changed = yaml.safe_load(gateway.config_file.read_text())
    changed["prices"][0]["output"] = "0.50"
    gateway.config_file.write_text(yaml.safe_dump(changed, sort_keys=False))
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)


def _draw_all(
    browser: Browser, asked: Prometheus, uids: Iterable[str], span: tuple[float, float], step_s: int, to: Path
) -> None:
    known = boards.boards()
    for uid in uids:
        with tempfile.TemporaryDirectory() as name:
            print(uid, draw(browser, scene(asked, known[uid], *span, step_s), Path(name), to / f"{uid}.png") or "drawn")


def of_a_day(browser: Browser, to: Path) -> None:
    """All but what needs servers of one's own."""
    now = int(time.time()) // day.DAY_S * day.DAY_S - _EVENING_S
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        day.fill(folder, day.write_day(folder, now))
        for _ in range(_DEPTH):
            with prometheus(folder, "127.0.0.1:1", "none") as asked:
                day.follow_rules(folder, asked, now)
            shutil.rmtree(folder / "prometheus")
        with prometheus(folder, "127.0.0.1:1", "none") as asked:
            uids = [uid for uid in boards.boards() if uid != LIVE]
            _draw_all(browser, asked, uids, (now - day.DAY_S, now), day.STEP_S, to)


def of_some_minutes(browser: Browser, to: Path, minutes: float) -> None:
    with tempfile.TemporaryDirectory() as name, at_work(Path(name) / "gateway") as (gateway, work):
        target = gateway.admin_url.removeprefix("http://")
        with prometheus(Path(name), target, ADMIN_KEY) as asked:
            work(minutes * 20)
            _change_a_price(gateway)
            work(minutes * 40)
            now = time.time() // STEP_S * STEP_S
            _draw_all(browser, asked, [LIVE], (now - minutes * 60 // STEP_S * STEP_S, now), STEP_S, to)


def main(folder: Path = HERE, minutes: float = 8) -> None:
    with chromium() as browser:
        of_a_day(browser, folder)
        if minutes:
            of_some_minutes(browser, folder, minutes)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]), *map(float, sys.argv[2:3]))
