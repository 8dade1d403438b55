"""The explorer where old entries are deleted: what is shown of a user is what the roll-ups say, whatever the chart can tell."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
from sqlalchemy.engine import Engine

from proxy.control.pages import spend
from proxy.control.pages.spend_chart import LINES, by_time
from proxy.ledger.database import open_ledger
from proxy.ledger.recording.retention import delete_some
from proxy.times import DAY_US
from tests.support.made_up import START, fill, made_up
from tests.unit.control.conftest import Control


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Its entries of the first two days are deleted."""
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('spend')}/ledger.db")
    fill(engine, made_up(300, hours=84))
    while delete_some(engine, 10, START + 12 * DAY_US):
        pass
    yield engine
    engine.dispose()


@pytest.mark.parametrize("by", ["user", "customer", "customer,model", "key"])
@pytest.mark.parametrize("more", ["", "&step=hour", "&tz=Europe/Berlin"])
def test_what_is_deleted_is_shown_as_it_was_added_up(control: Control, by: str, more: str) -> None:
    span = {"since": "2026-11-23T00:00:00Z", "until": "2026-11-25T00:00:00Z"}
    wanted = control.get("/api/spend", by=by, **span)["items"]
    assert any(item["cost_usd"] != "0" for item in wanted)
    address = f"/spend?since={span['since']}&until={span['until']}&by={by}&top=200&csv=spend{more}"
    shown = csv.DictReader(io.StringIO(control.client.get(address).text))
    assert sorted(row["calls"] for row in shown) == sorted(str(item["requests"]) for item in wanted)


def test_by_the_hour_of_a_year_only_what_is_drawn_is_read(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is shown would be as many sums as there are calls."""
    asked: list[int] = []

    def counting(asking: Any, choice: Any, keys: Any) -> Any:
        asked.append(len(keys))
        return by_time(asking, choice, keys)

    monkeypatch.setattr(spend, "by_time", counting)
    monkeypatch.setattr(spend, "entries_since", lambda _: None)
    for since, step in (("2026-11-25", "hour"), ("2025-11-25", "hour"), ("2025-11-25", "month")):
        address = f"/spend?since={since}&until=2026-11-27&by=customer,model&top=200&step={step}"
        assert control.client.get(address).status_code == 200
    few, year, months = asked
    assert (few > LINES, year, months > LINES) == (True, LINES, True)


_ROW, _CELL = re.compile(r"<tr [^>]*data-row>.*?</tr>", re.DOTALL), re.compile(r"<t[dh]\b.*?</t[dh]>", re.DOTALL)


@pytest.mark.parametrize("by", ["model", "customer,model", "session"])
def test_what_was_spent_before_leads_to_the_calls_of_then(control: Control, by: str) -> None:
    """Of the total it did; of each row it led to the calls of the present time."""
    page = control.client.get(f"/spend?since=2026-11-26&until=2026-11-27&by={by}&compare=1").text
    before = [_CELL.findall(row)[by.count(",") + 2] for row in _ROW.findall(page)]
    led = [found for cell in before if (found := re.search(r'title="\$([\d.]+)".*href="/calls\?([^"]+)"', cell))]
    assert len(led) > 2
    for amount, asked in (found.groups() for found in led):
        sums = control.get("/api/spend", **dict(parse_qsl(html.unescape(asked), keep_blank_values=True)))["items"]
        assert sum(Decimal(item["cost_usd"]) for item in sums) == Decimal(amount)


@pytest.mark.parametrize(
    "by", ["session", "session,model", "session&compare=1", "session&sort=rate", "label.plan", "label.plan&compare=1"]
)
@pytest.mark.parametrize("since", ["2026-11-23", "2026-11-24T12:00:00Z", "2026-11-25"])
def test_calls_whose_session_or_label_is_deleted_are_others(control: Control, by: str, since: str) -> None:
    """The total was that of the rest, and in the list of sessions no row had them."""
    span = f"since={since}&until=2026-11-26"
    wanted = {row["model"]: row["calls"] for row in _csv(control, f"/spend?{span}&by=model&top=200")}
    shown = _csv(control, f"/spend?{span}&by={by}&top=200")
    assert sum(int(row["calls"]) for row in shown) == sum(map(int, wanted.values()))


def _csv(control: Control, address: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(control.client.get(address + "&csv=spend").text)))


@pytest.mark.parametrize("by", ["session", "label.plan", "session,model"])
def test_the_answer_has_what_no_group_has_in_its_total(control: Control, by: str) -> None:
    """The total was that of the groups alone."""
    span = {"since": "2026-11-23T12:00:00Z", "until": "2026-11-26T00:00:00Z"}
    whole = control.get("/api/spend", **span)["total"]
    answer = control.get("/api/spend", by=by, limit=1, **span)
    assert answer["total"] == whole
    items = control.get("/api/spend", by=by, **span)["items"]
    assert sum(Decimal(item["cost_usd"]) for item in [*items, answer["other"]]) == Decimal(whole["cost_usd"])
