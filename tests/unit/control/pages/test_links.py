"""Wherever a page leads, there is a page: the links of every page, by whatever it is grouped, over a ledger with odd names."""

from __future__ import annotations

import html
import random
import re
import shutil
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
from sqlalchemy.engine import Engine

from proxy.control.pages.site import PAGES
from proxy.ids import Ids
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import Entry, entry_of
from proxy.ledger.notes.revenue import Paid, write_revenue
from proxy.ledger.planes import keys
from tests.support import day, made_up
from tests.support.made_up import HOUR_US, fill
from tests.unit.control import conftest
from tests.unit.control.conftest import Control

NAMES = (
    "acme", "a/b", "a?b=c&d#e", "100 %", "%2F", "..", ".", "with space", "ümlaut", "<b>", '"quoted"', "a,b", "+1", "x" * 600, None, "",
)  # fmt: skip
LABELS: tuple[dict[str, str], ...] = (
    {}, {"plan": "pro"}, {"plan": "fr/ee", "a.b-c": "x y"}, {"a.b-c": "&=#%"}, {"odd name": "1"}, {"ключ": "x"},
)  # fmt: skip
PLANS = [
    {"name": "pro / ½ %", "match": {"label.plan": "pro"}, "usd_per_month": 20},
    {"name": "team", "match": {"team": "acme"}, "per": "team", "usd_per_month": 50},
]
BY = ("team", "session", "hour", "day", "plan", "label.a.b-c", "customer,day")
GROUPED = ("/spend", "/customers", "/customers/acme", "/explain", "/month", "/capacity", "/calls")
# What says which page it is; of all else in a query string only that it is there.
_TELLING = frozenset({"by", "csv", "sort", "view", "metric", "step", "compare", "order"})


def odd(now_us: int) -> Iterator[Entry]:
    """Calls of the last two days, some of them unpriced, in sessions with sub-agents, by names that need care in a URL."""
    chance, ids = random.Random(3), Ids()
    for number in range(60):
        intent, end = made_up._call(number, now_us - 48 * HOUR_US + number * HOUR_US // 2, chance, ids)
        session = chance.choice(NAMES) or intent["session_id"]
        intent |= {name: chance.choice(NAMES) for name in ("customer", "user", "agent", "team")}
        intent |= {name: chance.choice(NAMES) or "some" for name in ("model", "provider", "upstream", "key")}
        intent |= {"labels": chance.choice(LABELS), "untrusted_labels": chance.choice(LABELS)}
        intent |= {"session_id": f"{session}/{number % 3}", "parent_session_id": session, "root_session_id": session}
        yield entry_of(intent, end | {"model": intent["model"]}, made_up.INSTANCE)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, empty_ledger: Path) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("odd") / "ledger.db"
    shutil.copy(empty_ledger, path)
    engine, now = open_ledger(f"sqlite:///{path}"), time.time_ns() // 1000
    fill(engine, list(odd(now)))
    fill(engine, day.jobs(now, [], made_up.INSTANCE), batch=1)
    write_revenue(
        engine, [Paid("acme", now - 99 * HOUR_US, now, "", 10**9), Paid("a/b", now - HOUR_US, now, "x", 5)], now
    )
    keys.create_key(engine, "odd/key ?&#", team="a/b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(conftest.CONFIG, "plans", PLANS)  # which `served` takes
        yield engine
    engine.dispose()


def shape_of(link: str) -> tuple[Any, ...]:
    """The same for links that differ in whose calls, and of when, they ask for only; of one length of path."""
    parts = urlsplit(link)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    kinds = {f"{name}={value}" if name in _TELLING else name for name, value in asked}
    return *kind_of(link), *sorted(kinds)


def kind_of(link: str) -> tuple[str, int, str]:
    """Which page, grouped by what: the links of one are those of any other."""
    parts = urlsplit(link)
    path = parts.path.split("/")
    return path[1], len(path), dict(parse_qsl(parts.query)).get("by", "")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_link_leads_to_a_page(control: Control) -> None:
    """Where a page was grouped by days, its rows led to filters by day, which calls do not have."""
    starts = [page.path for page in PAGES if "{" not in page.path]
    starts += [f"{path}?by={by}" for path in GROUPED for by in BY]
    todo = deque((start, "") for start in starts)
    seen, expanded, broken = set[Any](), set[Any](), list[str]()
    while todo:
        link, source = todo.popleft()
        if source and shape_of(link) in seen:
            continue
        seen.add(shape_of(link))
        answer = control.client.get(link, follow_redirects=False)
        if answer.status_code != 200:
            # A page need not be for every grouping; where it is, its links are.
            broken += [f"{answer.status_code}: {source} -> {link}"] * bool(source)
            continue
        if answer.headers["content-type"].startswith("text/html") and kind_of(link) not in expanded:
            expanded.add(kind_of(link))
            links = (urljoin(link, html.unescape(href)) for href in re.findall(r'href="([^"#]*)', answer.text))
            todo.extend((found, link) for found in dict.fromkeys(links) if found.startswith("/"))

    assert len(expanded) > len(starts) / 2
    assert broken == []
