"""Other people's files are what they were when they came, and their licence is beside them."""

from __future__ import annotations

import hashlib
import re

from proxy.control.pages import view

STATIC = view.FOLDER / "static"


def test_uplot_is_unchanged() -> None:
    told = dict(re.findall(r"^\| `(\S+)` \| ([0-9a-f]{64}) \|$", (STATIC / "uPlot.md").read_text(), re.MULTILINE))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in STATIC.glob("uPlot.*min.*")}
    assert found == told
    assert len(told) == 2
    assert "Permission is hereby granted" in (STATIC / "uPlot.LICENSE").read_text()


def test_the_page_names_no_other_host() -> None:
    """No CDN: what is asked for is ours."""
    ours = [
        path
        for path in (*view.FOLDER.glob("templates/*.html"), *STATIC.iterdir())
        if path.suffix in (".html", ".js", ".css")
    ]
    texts = {path.name: path.read_text() for path in ours if not path.name.startswith("uPlot")}
    assert len(texts) > 10
    assert {name for name, text in texts.items() if re.search(r"(https?:)?//[a-z]+\.", text)} == set()
    assert {name for name, text in texts.items() if re.search(r"\sstyle=|\son[a-z]+=", text)} == set()
    assert {name for name, text in texts.items() if "| safe" in text or "|safe" in text} == set()
