"""Take the pictures of the dashboards: `python -m dashboards.pictures.boards [FOLDER [MINUTES]]`. Look at them before they are
committed.

An office works for some minutes on a running Taximeter; the real Prometheus watches with the shipped rules; then each dashboard
is drawn from its own JSON and from what Prometheus answers to its queries, not by Grafana but by a small renderer
(`tests/observability/picture/`).
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Browser

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
STEP_S = 5
_MARKS = {"Alerts": "red", "Price changes": "blue"}


def scene(asked: Prometheus, board: Json, start: float, now: float) -> Json:
    """What Prometheus answers to all that the dashboard asks."""

    def answer(expr: str, *, instant: bool) -> list[dict[str, Any]]:
        query = substituted(expr, interval="20s", span=f"{now - start:.0f}s")
        return asked.instant(query, now) if instant else asked.over(query, start, now, STEP_S)

    data = {
        panel["id"]: [answer(target["expr"], instant=target["instant"]) for target in panel["targets"]]
        for panel in board["panels"]
    }
    marks = [
        {"at": float(series["values"][0][0]), "color": _MARKS[item["name"]]}
        for item in board["annotations"]["list"]
        for series in answer(item["target"]["expr"], instant=False)
    ]
    return {"board": board, "data": data, "annotations": marks, "start": start, "now": now, "step": STEP_S}


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


def main(folder: Path = HERE, minutes: float = 8) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        at_work(Path(name) / "gateway") as (gateway, work),
        chromium() as browser,
    ):
        target = gateway.admin_url.removeprefix("http://")
        with prometheus(Path(name), target, ADMIN_KEY) as asked:
            work(minutes * 20)
            _change_a_price(gateway)
            work(minutes * 40)
            now = time.time() // STEP_S * STEP_S
            start = now - minutes * 60 // STEP_S * STEP_S
            for uid, board in boards.boards().items():
                shown = scene(asked, board, start, now)
                (Path(name) / f"{uid}.json").write_text(json.dumps(shown))
                complaints = draw(browser, shown, Path(name), folder / f"{uid}.png")
                print(uid, complaints or "drawn")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]), *map(float, sys.argv[2:3]))
