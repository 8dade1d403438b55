"""What a reserved amount is made of: the calls and jobs that run, each with what it holds."""

from __future__ import annotations

import html
import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from proxy.budgets.budget import window_at
from proxy.ledger import schema
from proxy.ledger.database import writing
from proxy.times import now_s
from tests.unit.control.conftest import Control
from tests.unit.control.pages.test_site import rows_of

BEGAN = 1_795_392_000_000_000


def today() -> int:
    """When the day's window began, in epoch seconds."""
    return window_at("day", now_s(), ZoneInfo("UTC"))[0]


def intent(number: int, **said: Any) -> dict[str, Any]:
    return {
        "id": f"i{number}", "started_at": BEGAN + number, "deadline_at": BEGAN + 60_000_000, "operation": "chat", "model": "big",
        "key": "search", "team": "payments", "session_source": "header", "root_session_id": "run/1",
        "reserved_nanousd": 1_000_000_000 * number,
        "budgets": [["day", "", today(), "usd", 1_000_000_000 * number], ["teams", "payments", 0, "tokens", 100 * number]],
    } | said  # fmt: skip


def hostile() -> dict[str, Any]:
    return intent(4, key="<b>x</b>", team=None, session_source="none", budgets=[["day", "", today(), "usd", 7]])


@pytest.fixture
def running(control: Control) -> Control:
    control.recorder.in_flight = lambda: [
        intent(1), intent(2, team="ops", budgets=[["teams", "ops", 0, "tokens", 5]]), hostile(), intent(3, reserved_nanousd=None),
    ]  # fmt: skip
    return control


def shown(control: Control, question: str = "") -> list[tuple[str, str]]:
    rows = rows_of(control, f"/in-flight?csv=in-flight{question}")
    return [(row["key"], row["reserved_usd" if "reserved_usd" in row else "reserved"]) for row in rows]


def test_all_that_runs_with_the_dearest_first(running: Control) -> None:
    assert shown(running) == [("<b>x</b>", "4"), ("search", "2"), ("search", "1"), ("search", "")]
    page = running.client.get("/in-flight").text
    assert "4 in all" in page
    assert "$7.00" in page
    assert "<b>x" not in page
    assert 'href="/sessions/run%2F1"' in page


def test_of_a_budget_what_is_reserved_there(running: Control) -> None:
    assert shown(running, "&budget=day") == [("search", "3"), ("search", "1"), ("<b>x</b>", "0.000000007")]
    assert shown(running, "&budget=teams") == [("search", "300"), ("search", "100"), ("search", "5")]
    assert shown(running, "&budget=teams&group=ops") == [("search", "5")]
    assert shown(running, "&budget=calls") == []


def test_what_began_in_an_earlier_window_is_reserved_there(control: Control) -> None:
    """A job that runs over midnight: the day that began without it has nothing of it."""
    yesterday = intent(1, budgets=[["day", "", today() - 86_400, "usd", 9], ["teams", "payments", 0, "tokens", 8]])
    control.recorder.in_flight = lambda: [yesterday]
    assert shown(control, "&budget=day") == []
    assert shown(control, "&budget=teams") == [("search", "8")]
    assert shown(control) == [("search", "1")]


@pytest.mark.parametrize(
    ("question", "reserved"),
    [("filter.team=ops", ["2"]), ("filter.team=", ["4"]), ("filter.session=run%2F1&filter.key=search", ["2", "1", ""])],
)
def test_filters_narrow(running: Control, question: str, reserved: list[str]) -> None:
    assert [amount for _, amount in shown(running, f"&{question}")] == reserved


def test_a_job_that_runs_holds_its_reservation(control: Control) -> None:
    row = {
        "digest": "d",
        "api": "openai_videos",
        "operation": "video",
        "created_at": BEGAN,
        "deadline_at": BEGAN,
        "revision": 0,
    }
    rows = [
        row | {"id": name, "state": state, "ended": state != "running", "record": json.dumps({"intent": intent(9, operation=name)})}
        for name, state in (("video", "running"), ("ended", "settled"))
    ]  # fmt: skip
    with writing(control.engine).begin() as connection:
        connection.execute(sa.insert(schema.jobs), rows)
    try:
        assert [row["what"] for row in rows_of(control, "/in-flight?csv=in-flight")] == ["video"]
    finally:
        with writing(control.engine).begin() as connection:
            connection.execute(sa.delete(schema.jobs))


def test_what_makes_no_sense_is_named(control: Control) -> None:
    for question, said in (("budget=none", "budget: there is no budget"), ("filter.status=x", "filter.status")):
        answer = control.client.get(f"/in-flight?{question}")
        assert (answer.status_code, said in html.unescape(answer.text)) == (400, True)
    assert "Nothing is in flight" in control.client.get("/in-flight").text
