"""Every page by its URL: each answers, its numbers are the API's, its tables come as CSV, and changes need a form of ours."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
import yaml
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from pricing.units import UNITS
from proxy.config.plans import Plan
from proxy.config.reading import read_section
from proxy.control.pages import month, overview, tables
from proxy.control.pages.authentication import COOKIE
from proxy.control.pages.overview import live_queries
from proxy.control.pages.site import ACTIONS, PAGES
from proxy.control.pages.static_files import file_url
from proxy.ledger import schema, view_schema
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.notes.reconciliations import Reconciliation, keep_reconciliation
from proxy.ledger.planes import keys, raises
from proxy.reports import call_lists
from proxy.reports.margin.answer import margin_answer
from proxy.reports.margin.margin import Question
from proxy.times import now_us
from tests.support.made_up import fill, made_up
from tests.unit.control.conftest import ADMIN_KEY, Control

SINCE = "since=2026-11-23&until=2026-11-26"
ALL = [page.path for page in PAGES if "{" not in page.path]


def rows_of(control: Control, path: str) -> list[dict[str, str]]:
    answer = control.client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def signed_in(control: Control, secret: str = ADMIN_KEY) -> TestClient:
    """A browser: no authorization header, but a cookie."""
    browser = TestClient(control.client.app, follow_redirects=False)
    answer = browser.post("/sign-in", data={"key": secret, "to": "/spend"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/spend"), answer.text
    return browser


def token(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found
    return found[1]


@pytest.mark.parametrize("path", ALL)
def test_every_page_answers_and_leads_to_every_other(control: Control, path: str) -> None:
    answer = control.client.get(path)
    assert answer.status_code == 200, answer.text
    for page in PAGES:
        if page.menu_title:
            assert f">{page.menu_title}</a>" in answer.text


@pytest.mark.parametrize("path", [*ALL, "/calls/x", "/sessions/x", "/budgets/day"])
def test_nobody_sees_a_page_without_signing_in(control: Control, path: str) -> None:
    answer = TestClient(control.client.app, follow_redirects=False).get(path + "?since=7d")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?to=")
    assert "%3Fsince%3D7d" in answer.headers["location"]


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", ""])
def test_signing_in_leads_nowhere_else(control: Control, to: str) -> None:
    answer = TestClient(control.client.app, follow_redirects=False).post("/sign-in", data={"key": ADMIN_KEY, "to": to})
    assert answer.headers["location"] == "/"


def test_signing_out_ends_it(control: Control) -> None:
    browser = signed_in(control)
    page = browser.get("/spend").text
    assert browser.post("/sign-out", data={"csrf": "0" * 64}).status_code == 403
    assert browser.post("/sign-out", data={"csrf": token(page)}).status_code == 303
    assert COOKIE not in browser.cookies


@pytest.mark.parametrize(
    "by", ["model", "team", "key", "customer", "user", "agent", "provider", "session", "label.tier"]
)
def test_the_explorers_csv_is_the_apis_answer(control: Control, by: str) -> None:
    wanted = control.get("/api/spend", by=by, since="2026-11-23T00:00:00Z", until="2026-11-26T00:00:00Z")["items"]
    shown = rows_of(control, f"/spend?{SINCE}&by={by}&top=200&csv=spend")
    costs = {row[by]: Decimal(row["cost_usd"] or 0) for row in shown}
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for item in wanted:
        name = item[by] or "(none)"
        sums[name if name in costs else "other"] += Decimal(item["cost_usd"])
    rest = [name for name in costs if name.startswith("other (")]
    assert costs == {(rest[0] if name == "other" else name): cost for name, cost in sums.items()}


def test_what_is_not_shown_is_summed_so_that_the_table_adds_up(control: Control) -> None:
    few = rows_of(control, f"/spend?{SINCE}&by=key,model&top=5&csv=spend")
    every = rows_of(control, f"/spend?{SINCE}&by=key,model&top=200&csv=spend")
    assert few[-1]["key"] == f"other ({len(every) - 5})"
    assert sum(Decimal(row["cost_usd"] or 0) for row in few) == sum(Decimal(row["cost_usd"] or 0) for row in every)
    assert sum(int(row["calls"]) for row in few) == sum(int(row["calls"]) for row in every)


@pytest.mark.parametrize("by", ["team,model", "customer", "session"])
def test_the_chart_adds_up_to_the_table(control: Control, by: str) -> None:
    page = control.client.get(f"/spend?{SINCE}&by={by}&top=5&metric=calls&step=day&tz=Europe/Berlin").text
    chart = json.loads(html.unescape(re.search(r'data-chart="([^"]+)"', page)[1]))  # type: ignore[index]
    rows = rows_of(control, f"/spend?{SINCE}&by={by}&top=5&metric=calls&csv=spend")
    assert sum(sum(series["values"]) for series in chart["series"]) == sum(int(row["calls"]) for row in rows)
    if by == "session":  # they have no times of their own
        assert [series["name"] for series in chart["series"]] == ["all"]
    else:
        assert (chart["series"][-1]["name"] == "other") == (len(rows) > 5)
        assert [sum(series["values"]) for series in chart["series"]] == [int(row["calls"]) for row in rows]


def test_filters_narrow_and_an_empty_one_is_what_has_none(control: Control) -> None:
    teams = {row["team"]: row for row in rows_of(control, f"/spend?{SINCE}&by=team&csv=spend")}
    one = rows_of(control, f"/spend?{SINCE}&by=team&filter.team=payments&csv=spend")
    none = rows_of(control, f"/spend?{SINCE}&by=team&filter.team=&csv=spend")
    assert [row["calls"] for row in one] == [teams["payments"]["calls"]]
    assert [row["calls"] for row in none] == [teams["(none)"]["calls"]]


def test_a_number_leads_to_the_calls_that_make_it(control: Control) -> None:
    (row,) = rows_of(control, f"/spend?{SINCE}&by=model&filter.model=big&csv=spend")
    page = control.client.get(f"/spend?{SINCE}&by=model&filter.model=big").text
    link = re.search(r'<td class="num"[^>]*><a href="(/calls[^"]+)"', page)
    assert link
    calls, following = 0, link[1].replace("&amp;", "&")
    while following:
        calls += len(
            [one for one in rows_of(control, following + "&csv=calls") if one["mark"] not in ("correction", "not sent")]
        )
        more = re.search(r'href="([^"]+)" rel="next"', control.client.get(following).text)
        following = more[1].replace("&amp;", "&") if more else ""
    assert calls == int(row["calls"])


def test_a_call_says_why_it_cost_what_it_did(control: Control) -> None:
    item = next(item for item in control.get("/api/requests", limit=200)["items"] if len(item["cost_lines"]) > 1)
    page = control.client.get(f"/calls/{item['id']}").text
    for line in item["cost_lines"]:
        assert line["unit"].replace("_", " ") in page
    assert "Ceiling, reservation, settlement" in page
    assert control.client.get(f"/calls/{item['request_id']}").status_code == 200


def test_a_session_has_its_tree_and_its_calls(control: Control) -> None:
    item = next(item for item in control.get("/api/sessions", order="cost")["items"] if item["session"])
    tree = rows_of(control, f"/sessions/{item['session']}?csv=tree")
    assert Decimal(tree[0]["cost_usd"]) == Decimal(item["cost_usd"])
    calls = rows_of(control, f"/sessions/{item['session']}?csv=calls")
    assert sum(Decimal(call["cost_usd"] or 0) for call in calls) == Decimal(item["cost_usd"])


def test_an_alert_is_sent_when_a_webhook_took_it(control: Control) -> None:
    """Not where there is none (0; an earlier version noted the alert's own moment), nor while it waits."""
    at = 1_795_600_000_000_000
    about = {"kind": "block", "budget": "", "group": "", "window_start": 0, "text": "t", "instance": "x"}
    with writing(control.engine).begin() as connection:
        for number, delivered_at in enumerate([None, 0, at + 2, at + 1_000_000]):
            row = {"id": str(number), "detail": str(number), "created_at": at + number, "delivered_at": delivered_at}
            connection.execute(sa.insert(schema.alerts).values(about | row))
    try:
        rows = rows_of(control, "/health?csv=alerts")
    finally:
        with writing(control.engine).begin() as connection:
            connection.execute(sa.delete(schema.alerts))
    assert [bool(row["delivered"]) for row in rows] == [True, False, False, False]


def test_a_session_says_where_a_guard_stopped_it(control: Control) -> None:
    name = next(item["session"] for item in control.get("/api/sessions", order="cost")["items"] if item["session"])
    path = f"/sessions/{name}"
    assert "guard" not in control.client.get(path).text
    told = [("loop", name, 1), ("session_limit", name, 2), ("loop", "another", 1), ("block", name, 1)]
    with writing(control.engine).begin() as connection:
        for number, (kind, group, at) in enumerate(told):
            row = {
                "id": str(number),
                "kind": kind,
                "budget": "",
                "group": group,
                "window_start": 0,
                "detail": "",
                "text": "t",
            }
            row |= {"instance": "x", "created_at": 1_795_600_000_000_000 + at}
            connection.execute(sa.insert(schema.alerts).values(row))
    try:
        said = re.findall(r'<li class="warn">(.*?)</li>', html.unescape(control.client.get(path).text))
        health = control.client.get("/health").text
        assert health.count(f'href="{path}"') == 2  # of the loop and of the limit
    finally:
        with writing(control.engine).begin() as connection:
            connection.execute(sa.delete(schema.alerts))
    assert [text.partition(" <a")[0] for text in said] == ["A guard stopped a loop in", "A guard's limit stopped"]
    assert all(f'href="{path}"' in text and "2026-11-25T" in text for text in said)


def test_a_list_that_is_looked_through_in_parts_leads_on_to_its_end(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_lists, "LOOKED_THROUGH", 70)
    wanted = [item["id"] for item in control.get("/api/requests", limit=1000)["items"] if item["outcome"] == "expired"]
    path, shown, parts = f"/calls?{SINCE}&filter.outcome=expired", list[str](), 0
    while path:
        parts += 1
        page = html.unescape(control.client.get(path).text)
        shown += re.findall(r'<th scope="row"[^>]*><a href="/calls/([^"]+)"', page)
        more = re.search(r'href="([^"]+)" rel="next">Look further back', page)
        path = more[1] if more else ""
    assert (shown, parts > 3) == (wanted, True)
    items: list[str] = []
    following: str | None = None
    while True:
        answer = control.get(
            "/api/requests", **{"filter.outcome": "expired"} | ({"next": following} if following else {})
        )
        items += [item["id"] for item in answer["items"]]
        if (following := answer["next"]) is None:
            break
    assert items == wanted


def test_each_agents_calls_stand_below_its_name(control: Control) -> None:
    page = control.client.get("/sessions/" + _session_of_several(control)).text
    fall = page[page.index('<div class="fall">') :]
    fall = fall[: fall.index("</section>")]
    lanes = fall.split("<h3>")[1:]
    assert len(lanes) > 1
    assert all(lane.count("<rect ") for lane in lanes)


def _session_of_several(control: Control) -> str:
    for item in control.get("/api/sessions", limit=100, order="cost")["items"]:
        tree = control.get("/api/sessions/" + item["session"])
        if sum(1 for child in tree["children"] if child["calls"]) and tree["calls"]:
            return str(item["session"])
    raise AssertionError("no session of several agents is in the data")


def test_the_overview_says_how_sure_it_is_and_what_was_told(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    state: Any = SimpleNamespace(engine=engine)
    (query,) = [
        query for lane in live_queries(state, ZoneInfo("UTC")) for query in lane if query.name == "how sure it is"
    ]
    assert "No call in the last 24 hours." in query.run()["trust"]
    fill(engine, made_up(5))
    with writing(engine).begin() as connection:
        row = connection.execute(sa.select(schema.entries).where(schema.entries.c.kind == "attempt")).mappings().first()
        assert row
        for number, (status, source) in enumerate([("settled", "provider")] * 3 + [("unconfirmed", "none")]):
            again = {"id": f"trust{number}", "started_at": now_us(), "status": status, "usage_source": source}
            connection.execute(sa.insert(schema.entries), dict(row) | again)
        told = {
            "id": "a1", "kind": "block", "budget": "day", "group": "", "window_start": 0, "detail": "", "text": "<b>full",
            "instance": "i", "created_at": now_us(),
        }  # fmt: skip
        connection.execute(sa.insert(schema.alerts), told)
    trust = query.run()["trust"]
    assert re.search(r"75\.0 %</a> as providers said", trust)
    assert re.search(r"25\.0 %</a> unconfirmed", trust)
    assert '<a href="/budgets/day">&lt;b&gt;full</a>' in trust
    engine.dispose()


def test_today_is_that_of_the_readers_zone(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Kolkata, whose midnight is at 18:30 UTC: what is shown is what the link of it shows."""
    at = datetime(2026, 11, 24, 20, tzinfo=UTC)
    monkeypatch.setattr(overview, "now_us", lambda: round(at.timestamp() * 1e6))
    shown = {}
    for zone in ("UTC", "Asia/Kolkata"):
        day, models = (
            query.run()
            for lane in live_queries(control.state, ZoneInfo(zone))
            for query in lane
            if query.name in ("day", "models")
        )
        assert f"since 00:00 {zone}" in day["day"]
        link, amount = re.findall(r'<p class="big.*?"><a href="(.*?)">(.*?)</a>', html.unescape(day["day"]))[0]
        assert f"since={'2026-11-25' if zone == 'Asia/Kolkata' else '2026-11-24'}" in link
        assert ("tz=Asia/Kolkata" in link) == (zone == "Asia/Kolkata") == ("tz=Asia/Kolkata" in models["models"])
        costs = rows_of(control, f"{link}&csv=spend")
        wanted = sum(Decimal(row["cost_usd"] or 0) for row in costs)
        assert abs(Decimal(amount.strip("$").replace(",", "")) - wanted) <= Decimal("0.01"), zone
        shown[zone] = amount
    assert shown["UTC"] != shown["Asia/Kolkata"]


def test_what_is_sent_from_a_page_leads_back_to_its_zone(control: Control) -> None:
    browser = signed_in(control)
    page = browser.get("/budgets/day?tz=Asia/Tokyo").text
    form = re.search(r'<form method="post" action="(/budgets/day/raise[^"]*)"', page)
    assert form
    answer = browser.post(form[1], data={"csrf": token(page), "by": "0.10"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/budgets/day?tz=Asia/Tokyo")
    assert browser.post("/budgets/day/raise?tz=Mars", data={"csrf": token(page), "by": "1"}).status_code == 400
    raises.end_raise(control.engine, raises.in_force(control.engine)[-1]["id"], now_us() / 1e6)


def test_a_saved_views_days_stay_those_of_its_zone(control: Control) -> None:
    browser = signed_in(control)
    fields = {"csrf": token(browser.get("/spend").text), "name": "in UTC", "address": "/spend?since=2026-11-01"}
    assert browser.post("/views/save", data=fields).status_code == 303
    page = html.unescape(browser.get("/views?tz=Asia/Tokyo").text)
    assert 'href="/spend?since=2026-11-01&tz=UTC"' in page
    browser.post("/views/forget", data={"csrf": fields["csrf"], "name": "in UTC"})


def test_customers_are_the_margin_reports(control: Control) -> None:
    wanted = control.get("/api/reports/margin", since="2026-11-23T00:00:00Z", until="2026-11-26T00:00:00Z")["items"]
    shown = rows_of(control, f"/customers?{SINCE}&csv=customers")
    assert [(row["customer"], Decimal(row["cost_usd"])) for row in shown] == [
        (item["customer"] or "(none)", Decimal(item["cost_usd"])) for item in wanted
    ]


def test_a_customers_page_is_of_the_filters_that_it_was_led_to_with(control: Control) -> None:
    """Of one team's calls for a customer, when the row was of that team."""
    rows = rows_of(control, f"/customers?{SINCE}&by=customer,team&csv=customers")
    page = html.unescape(control.client.get(f"/customers?{SINCE}&by=customer,team").text)
    seen = 0
    for row in rows:
        team = "" if row["team"] == "(none)" else row["team"]
        if row["customer"] != "acme" or not team:
            continue
        (path,) = set(re.findall(rf'href="(/customers/acme\?[^"]*filter.team={team}[^"]*)"', page))
        costs = rows_of(control, path + "&csv=costs")
        assert sum(Decimal(cost["cost_usd"] or 0) for cost in costs) == Decimal(row["cost_usd"])
        assert sum(int(cost["calls"]) for cost in costs) == int(row["calls"])
        assert f"{int(row['calls']):,} calls cost" in control.client.get(path).text
        seen += 1
    assert seen > 1


def test_a_plan_is_tried_on_the_same_calls_and_its_lines_are_those_to_put_into_the_file(control: Control) -> None:
    """The page's numbers are those of a server that is configured with its lines."""
    path = f"/customers?{SINCE}&plan=new&plan_match=label.plan%3Dpro&usd=25.50&fee=0.029&target=0.3"
    page = control.client.get(path).text
    lines = html.unescape(re.search(r"<pre[^>]*><code>(.*?)</code>", page, re.DOTALL)[1])  # type: ignore[index]
    (plan,) = [read_section(Plan, row) for row in yaml.safe_load(lines)["plans"]]
    assert plan == Plan(
        name="new",
        match={"label.plan": ("pro",)},
        usd_per_month=Decimal("25.50"),
        fee=Decimal("0.029"),
        target_margin=Decimal("0.3"),
    )
    span = {"since": 1_795_392_000_000_000, "until": 1_795_651_200_000_000}
    wanted: Any = margin_answer(control.engine, [plan], Question(**span), now_us()).shown
    (shown,) = rows_of(control, f"{path}&csv=plans")
    (report,) = wanted.plans
    assert (shown["plan"], int(shown["customers"]), int(shown["losing"])) == ("new", report.customers, report.at_loss)
    assert Decimal(shown["margin_usd"]) == Decimal(report.margin_usd)
    assert "Tried, and not in force: new." in page
    assert "Tried, and not in force" not in control.client.get(f"/customers?{SINCE}").text
    for wrong in (
        "plan=x",
        "plan=x&usd=much",
        "plan=x&usd=1&fee=1",
        "plan=x&usd=1&plan_match=pro",
        "plan=x&usd=1&plan_match=key2=a",
    ):
        assert control.client.get(f"/customers?{SINCE}&{wrong}").status_code in (400, 200), wrong
    assert control.client.get(f"/customers?{SINCE}&plan=x&usd=much").status_code == 400
    assert control.client.get(f"/customers?{SINCE}&plan=x&usd=1&fee=1e-999999999").status_code == 400
    assert control.client.get(f"/customers?{SINCE}&plan=x&usd=1&plan_per=password").status_code == 400
    (by_key,) = rows_of(control, f"/customers?{SINCE}&plan=x&usd=1&plan_per=key&csv=plans")
    assert int(by_key["customers"]) == len({row["key"] for row in rows_of(control, f"/spend?{SINCE}&by=key&csv=spend")})


def test_a_month_says_how_far_it_was_compared_with_its_providers(control: Control) -> None:
    path = "/month?month=2026-11&csv=reconciled"
    (row,) = rows_of(control, path)
    assert (row["provider"], row["file"], row["missing"]) == ("p", "never", "2026-11-23 to 2026-11-25")
    day_us = 86_400_000_000
    first = 1_795_392_000_000_000
    for since, until, at in ((first, first + day_us, 5), (first + day_us + 1, first + 3 * day_us, 9)):
        keep_reconciliation(control.engine, Reconciliation("p", "costs\n<b>.json", at, since, until, 70, 100, 2))
    (row,) = rows_of(control, path)
    assert (row["file"], row["missing"]) == ("costs<b>.json", "2026-11-24"), "the part of a day is no day"
    assert (row["difference_usd"], row["unexplained_usd"]) == ("0.00000003", "0.000000002")
    assert "costs&lt;b&gt;.json" in control.client.get("/month?month=2026-11").text
    (other,) = rows_of(control, "/month?month=2026-11&tz=Asia/Kolkata&csv=reconciled")
    assert other["missing"] != "none"
    with writing(control.engine).begin() as connection:
        connection.execute(sa.delete(view_schema.reconciliations))


def test_a_view_is_saved_opened_and_forgotten(control: Control) -> None:
    client = signed_in(control)
    page = client.get("/spend?since=7d&by=team,model&filter.team=payments&top=5").text
    form = re.search(r'<form method="post" action="/views/save".*?</form>', page, re.DOTALL)
    assert form
    fields = {
        name: html.unescape(value) for name, value in re.findall(r'name="(csrf|address)" value="([^"]*)"', form[0])
    }
    for name in ("mine", "<b>bold</b>", "mine"):
        assert client.post("/views/save", data=fields | {"name": name}, follow_redirects=False).status_code == 303
    shown = rows_of(control, "/views?csv=views")
    assert [row["name"] for row in shown] == ["<b>bold</b>", "mine"]
    assert client.get(shown[1]["address"]).status_code == 200
    assert shown[1]["address"] == fields["address"] == "/spend?by=team,model&since=7d&filter.team=payments&top=5"
    assert "<b>bold" not in client.get("/views").text
    # A view of UTC is one, and shows the same, from whatever zone's page it is opened.
    assert f'href="{html.escape(shown[1]["address"])}&amp;tz=UTC"' in client.get("/views?tz=Asia/Tokyo").text
    for wrong in (
        {"address": "https://else.where/"},
        {"address": "//else"},
        {"address": "/\\else"},
        {"address": "/spend?" + "&".join(f"a{n}=1" for n in range(101))},
        {"address": "/spend?" + "&".join(f"a{n}={'x' * 99}" for n in range(99))},
        {"name": ""},
        {"name": "x" * 81},
        {"name": "a\x07"},
    ):
        assert client.post("/views/save", data=fields | {"name": "w"} | wrong).status_code == 400, wrong
    assert client.post("/views/forget", data=fields | {"name": "none"}).status_code == 404
    for name in ("mine", "<b>bold</b>"):
        assert client.post("/views/forget", data=fields | {"name": name}, follow_redirects=False).status_code == 303
    assert rows_of(control, "/views?csv=views") == []


def test_the_bridge_leads_from_then_to_now(control: Control) -> None:
    path = "/explain?since=2026-11-24&until=2026-11-25"
    bridge = [Decimal(row["amount_usd"]) for row in rows_of(control, f"{path}&csv=bridge")]
    report = control.get("/api/reports/explain", since="2026-11-24T00:00:00Z", until="2026-11-25T00:00:00Z")
    assert bridge[0] == Decimal(report["previous_usd"])
    assert sum(bridge) == Decimal(report["cost_usd"])
    assert report["sentence"].split()[0] in control.client.get(path).text


def test_a_month_is_the_month_reports_and_its_cents_add_up(control: Control) -> None:
    wanted = control.get("/api/reports/month", month="2026-11", by="team", mark_up="0.10")
    shown = rows_of(control, "/month?month=2026-11&by=team&mark_up=0.10&csv=month")
    assert [(row["team"], Decimal(row["charge_usd"])) for row in shown] == [
        (item["team"] or "(none)", Decimal(item["charge_usd"])) for item in wanted["items"]
    ]
    assert sum(Decimal(row["charge_usd"]) for row in shown) == Decimal(wanted["items_usd"])


def test_a_month_says_nothing_of_a_cost_that_nobody_knows(control: Control) -> None:
    spent = control.get("/api/spend", by="model,key", since="2026-11-01T00:00:00Z", until="2026-12-01T00:00:00Z")[
        "items"
    ]
    unknown = {
        (item["model"] or "(none)", item["key"] or "(none)")
        for item in spent
        if item["unpriced_requests"] == item["requests"] and item["cost_usd"] == "0"
    }
    assert unknown
    for row in rows_of(control, "/month?month=2026-11&by=model,key&csv=month"):
        shown = {row["cost_usd"], row["share_percent"], row["change_usd"]}
        assert (shown == {""}) is ((row["model"], row["key"]) in unknown), row


def test_a_months_shares_are_those_of_what_it_cost(control: Control) -> None:
    """Of a month without any cost there is none, and what is filtered for is no whole."""
    path = "/month?month=2026-11&by=team"
    shares = {
        row["team"]: float(row["share_percent"])
        for row in rows_of(control, f"{path}&csv=month")
        if row["share_percent"]
    }
    team = max(shares, key=lambda team: shares[team])
    assert 0 < shares[team] < 99
    assert "100.0 %" not in control.client.get(f"{path}&filter.team={team}").text
    assert "100.0 %" in control.client.get(path).text
    free: Any = SimpleNamespace(cost_usd="0", share="0")
    assert month._share(free, free) is None


def test_what_a_month_lacks_is_said_of_what_is_asked_for(control: Control) -> None:
    def said(model: str) -> list[str]:
        shown = control.get("/api/reports/month", month="2026-11", by="key", **{"filter.model": model})
        return [caveat for caveat in shown["about"]["caveats"] if "no price" in caveat]

    (item,) = (one for one in control.get("/api/spend", by="model")["items"] if one["model"] == "free")
    assert [caveat.split()[0] for caveat in said("free")] == [str(item["unpriced_requests"])]
    assert said("big") == []


@pytest.mark.long
def test_a_zone_with_a_sign_stays_in_links(control: Control) -> None:
    for path in ("/month?month=2026-10&by=team&tz=Etc/GMT%2B5", "/?tz=Etc/GMT%2B5"):
        page = html.unescape(control.client.get(path).text)
        links = [link for link in re.findall(r'href="(/(?:explain|spend)[^"]*)"', page) if "tz=" in link]
        assert links
        for link in links:
            assert control.client.get(link).status_code == 200, link
    assert "/explain?by=team&since=2026-10-01&until=2026-11-01&tz=Etc/GMT%2B5" in html.unescape(
        control.client.get("/month?month=2026-10&by=team&tz=Etc/GMT%2B5&filter.team=ops").text
    )


def test_a_model_without_a_price_leads_to_a_form_that_prices_it(control: Control) -> None:
    page = html.unescape(control.client.get(f"/models?{SINCE}").text)
    found = re.search(r'href="(/what-if[^"]*)">Try a price', page)
    assert found
    shown = {row["model"]: row for row in rows_of(control, f"{found[1]}&price.input=3&price.output=1&csv=what-if")}
    assert Decimal(shown["free"]["what_if_usd"]) > 0


@pytest.mark.parametrize("value", ["", "maybe"])
def test_calls_that_are_neither_priced_nor_unpriced_have_no_sum_of_all(control: Control, value: str) -> None:
    assert 'class="sum"' not in control.client.get(f"/calls?{SINCE}&filter.priced={value}").text
    assert 'class="sum"' in control.client.get(f"/calls?{SINCE}&filter.priced=yes").text


@pytest.mark.parametrize(
    ("path", "summed"),
    [
        ("/month?month=2026-11&by=model,key", ("cost_usd", "charge_usd")),
        (f"/customers?{SINCE}&by=customer,key", ("cost_usd", "calls")),
    ],
)
def test_what_a_long_table_leaves_out_is_one_row_and_stands_in_the_csv(
    control: Control, monkeypatch: pytest.MonkeyPatch, path: str, summed: tuple[str, ...]
) -> None:
    name = path[1:].partition("?")[0]
    every = rows_of(control, f"{path}&csv={name}")
    monkeypatch.setattr(tables, "TOPS", (3, 4))
    page = control.client.get(path).text
    assert f"other ({len(every) - 3})" in page.replace(",", "")
    assert "top=4" in page
    assert rows_of(control, f"{path}&csv={name}") == every
    shown = re.search(r'<tr class="other">(.*?)</tr>', page, re.DOTALL)
    assert shown
    for column in summed:
        rest = sum(Decimal(row[column] or 0) for row in every[3:])
        exact = f'title="${rest.normalize():f}"' if column.endswith("usd") else f">{rest:,}<"
        assert exact in shown[1], (column, rest)
    assert control.client.get(f"{path}&top=5").status_code == 400


def test_a_month_is_closed_once_it_is_over(control: Control) -> None:
    browser = signed_in(control)
    fields = {"csrf": token(browser.get("/keys").text), "by": "key", "mark_up": "0.10", "tz": "UTC"}
    assert browser.post("/month/2099-01/close", data=fields).status_code == 400
    answer = browser.post("/month/2026-09/close", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/month?by=key&month=2026-09&mark_up=0.10")
    assert "it no longer changes" in browser.get(answer.headers["location"]).text


def test_what_if_says_what_it_would_cost_and_how_sure_it_is(control: Control) -> None:
    path = "/what-if?since=2026-11-23&until=2026-11-26&tier=batch"
    report = control.get(
        "/api/reports/what-if", since="2026-11-23T00:00:00Z", until="2026-11-26T00:00:00Z", tier="batch"
    )
    shown = rows_of(control, f"{path}&csv=what-if")
    assert [row["what_if_usd"] for row in shown] == [item["what_if_usd"] for item in report["items"]]
    left_out = rows_of(control, f"{path}&csv=left-out")
    assert len(left_out) == len(report["left_out"])
    for caveat in report["about"]["caveats"]:
        assert caveat.split("`")[0].split("'")[0][:40] in control.client.get(path).text


def test_a_price_typed_by_hand_is_worked_out_and_changes_nothing(control: Control) -> None:
    """Input at $3, all else free: by hand from what `/spend` says of the model's tokens; the API is asked as the page says."""
    free = "&".join(f"price.{unit}=0" for unit in UNITS if unit != "input")
    path = f"/what-if?{SINCE}&model=big&price.input=3&{free}"
    span = {"since": "2026-11-23T00:00:00Z", "until": "2026-11-26T00:00:00Z"}
    before = control.get("/api/spend", by="model", **span)

    page = control.client.get(path).text
    shown = {row["model"]: row for row in rows_of(control, f"{path}&csv=what-if")}
    api = html.unescape(re.search(r'TAXIMETER_URL(/api[^"]+)"', page)[1])  # type: ignore[index]
    answer = control.client.get(api).json()

    first, last = 1_795_392_000_000_000, 1_795_651_200_000_000
    entries = schema.entries.c
    of_calls = (entries.model == "big", entries.kind == "attempt", entries.started_at.between(first, last - 1))
    with control.engine.connect() as connection:
        tokens = connection.execute(
            sa.select(sa.func.sum(entries.input_tokens)).where(*of_calls, schema.counted())
        ).scalar_one()
    assert Decimal(shown["big"]["what_if_usd"]) == Decimal(3) * int(tokens) / 1_000_000
    assert all(row["cost_usd"] == row["what_if_usd"] for name, row in shown.items() if name != "big")
    assert [item["what_if_usd"] for item in answer["items"]] == [row["what_if_usd"] for row in shown.values()]
    assert "not in force" in page
    assert control.get("/api/spend", by="model", **span) == before
    by_unit = control.client.get(f"/what-if?{SINCE}&model=big&unit=input&usd=3&{free}&csv=what-if").text
    assert by_unit == control.client.get(f"{path}&csv=what-if").text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("price.input=1", "model: name the one"),
        ("model=big&price.inptu=1", "price.inptu: is not a unit"),
        ("model=big&price.input=-1", "price.input: must be a decimal"),
        ("model=big&price.input=%3Cb%3E", "price.input: must be a decimal"),
        ("model=big&unit=input", "usd: say what the unit costs"),
        ("model=big&usd=1", "unit: say what costs that"),
        ("model=big&unit=%3Cb%3E&usd=1", "price.<b>: is not a unit"),
    ],
)
def test_a_typed_price_that_makes_no_sense_is_named(control: Control, asked: str, said: str) -> None:
    for path in ("/what-if", "/api/reports/what-if"):
        answer = control.client.get(
            f"{path}?{SINCE.replace('-23', '-23T00:00:00Z').replace('-26', '-26T00:00:00Z')}&{asked}"
        )
        assert answer.status_code == 400, answer.text
        assert "<b>" not in answer.text or path.startswith("/api")
        if path == "/what-if":
            assert said in html.unescape(answer.text)


def test_a_model_of_which_a_price_is_to_be_typed_offers_the_units_that_it_used(control: Control) -> None:
    page = control.client.get(f"/what-if?{SINCE}&model=big").text
    used = next(
        item
        for item in control.get("/api/spend", by="model", since="2026-11-23T00:00:00Z")["items"]
        if item["model"] == "big"
    )
    for unit in used["usage"]:
        assert f'name="price.{unit}"' in page
    assert "Name a model" in page


def test_a_capacitys_numbers_are_the_apis(control: Control) -> None:
    span = {"since": "2026-11-24T00:00:00Z", "until": "2026-11-25T00:00:00Z"}
    (report,) = control.get("/api/capacity", **span)["items"]
    (shown,) = rows_of(control, "/capacity?since=2026-11-24&until=2026-11-25&csv=capacity")
    assert [Decimal(shown[f"{name}_usd"]) for name in ("cost", "busy", "idle", "outside")] == [
        Decimal(report[f"{name}_usd"]) for name in ("cost", "busy", "idle", "outside")
    ]
    assert control.client.get("/capacity?by=weather").status_code == 400


def test_a_job_leads_to_its_call_and_an_overdue_one_is_marked(control: Control) -> None:
    entry = control.get("/api/requests", limit=1)["items"][0]["id"]
    row = {
        "id": entry,
        "digest": "d",
        "api": "openai_videos",
        "operation": "video",
        "created_at": 1_795_392_000_000_000,
    }
    row |= {"deadline_at": 1_795_392_060_000_000, "ask_at": None, "reserved_nanousd": 500_000_000, "record": "{}"}
    row |= {"state": "running", "ended": False, "ended_at": None, "revision": 0, "cost_nanousd": None, "settled": None}
    with writing(control.engine).begin() as connection:
        connection.execute(sa.insert(schema.jobs), row)
    try:
        (shown,) = rows_of(control, "/jobs?csv=jobs&state=running")
        assert (shown["operation"], shown["state"], shown["reserved_usd"], shown["cost_usd"]) == (
            "video",
            "overdue",
            "0.5",
            "",
        )
        assert f'href="/calls/{entry}"' in control.client.get("/jobs").text
        assert rows_of(control, "/jobs?csv=jobs&state=settled") == []
    finally:
        with writing(control.engine).begin() as connection:
            connection.execute(sa.delete(schema.jobs))


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/spend?by=weather", 400, "by: &#39;weather&#39; cannot be grouped by"),
        ("/spend?by=team,model,key", 400, "a group and a subgroup"),
        ("/spend?filter.taem=x", 400, "filter.taem"),
        ("/spend?metric=luck", 400, "metric"),
        ("/spend?top=7", 400, "top"),
        ("/spend?step=eon", 400, "step"),
        ("/spend?since=soon", 400, "soon"),
        ("/spend?tz=Mars", 400, "Mars"),
        ("/spend?csv=nothing", 404, "no table"),
        ("/calls?filter.colour=red", 400, "filter.colour"),
        ("/calls?filter.model=%00", 200, "Calls"),
        ("/calls/none", 404, "no call"),
        ("/sessions/none", 404, "no session"),
        ("/sessions?sort=luck", 400, "sort"),
        ("/sessions?next=nowhere", 400, "not a place"),
        ("/budgets/none", 404, "no budget"),
        ("/models?filter.x=1", 400, "filter.x"),
        ("/jobs?filter.x=1", 400, "filter.x"),
        ("/jobs?state=lost", 400, "state"),
        ("/jobs?state=running", 200, "No such job"),
    ],
)
def test_what_makes_no_sense_is_told_on_a_page(control: Control, path: str, status: int, said: str) -> None:
    answer = control.client.get(path)
    assert answer.status_code == status
    assert said in answer.text
    assert answer.headers["content-type"].startswith("text/html")


HOSTILE = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "{{ 7*7 }}", "x" * 400, "\u202egnp.exe"]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_asked_is_shown_as_text(control: Control, name: str) -> None:
    answer = control.client.get("/spend", params={"by": "team", "filter.team": name})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text
    assert ">49<" not in answer.text


# Changes


def test_a_key_is_made_shown_once_rotated_and_revoked(control: Control) -> None:
    browser = signed_in(control)
    csrf = token(browser.get("/keys").text)
    made = browser.post("/keys/new", data={"csrf": csrf, "name": "by the page", "team": "ops", "models": "gpt-5*, big"})
    (secret,) = re.findall(r"sk-tx-[\w-]{40,}", made.text)
    assert secret not in browser.get("/keys").text
    (row,) = [row for row in keys.list_keys(control.engine) if row["name"] == "by the page"]
    assert (row["team"], row["models"]) == ("ops", ["gpt-5*", "big"])

    rotated = browser.post(f"/keys/{row['id']}/rotate", data={"csrf": csrf, "grace": "1h"})
    (other,) = re.findall(r"sk-tx-[\w-]{40,}", rotated.text)
    assert other != secret
    both = [row for row in keys.list_keys(control.engine) if row["name"] == "by the page"]
    assert [bool(row["expires"]) for row in both] == [True, False]
    assert {row["team"] for row in both} == {"ops"}

    for row in both:
        assert browser.post(f"/keys/{row['id']}/revoke", data={"csrf": csrf}).status_code == 303
    assert [row for row in keys.list_keys(control.engine) if row["name"] == "by the page"] == []
    assert len(control.refreshed) == 4


def test_what_counters_at_rest_spent_together_leads_to_all_groups(control: Control) -> None:
    idle = {"budget": "teams", "group": "(idle)", "window_start": 0, "window_end": None, "measure": "tokens"}
    rows = [idle | {"limit": 0, "spent": 5, "reserved": 0}]
    assert control.link.answers is not None
    control.link.answers |= {"standing": rows, "fullest": {"rows": rows, "counts": {}}}
    for path in ("/budgets", "/budgets/teams"):
        links = re.findall(r'href="(/spend[^"]*)"', control.client.get(path).text)
        assert links
        assert not [link for link in links if "idle" in link]


def test_a_budget_is_raised_from_its_page(control: Control) -> None:
    browser = signed_in(control)
    csrf = token(browser.get("/budgets/day").text)
    answer = browser.post("/budgets/day/raise", data={"csrf": csrf, "by": "2.50"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/budgets/day")
    mine = [row for row in raises.in_force(control.engine) if row["budget"] == "day"]
    assert [row["by_amount"] for row in mine] == [2_500_000_000]
    assert "raise" in browser.get("/budgets/day").text
    raises.end_raise(control.engine, mine[0]["id"], mine[0]["created_at"] / 1e6)


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("/budgets/day/raise", {"by": "much"}, "must be a number"),
        ("/budgets/day/raise", {"by": "-1"}, "must be above 0"),
        ("/budgets/day/raise", {"by": "NaN"}, ""),
        ("/budgets/day/raise", {"by": "1", "until": "soon"}, ""),
        ("/budgets/teams/raise", {"by": "1"}, "name a group"),
        ("/budgets/teams/raise", {"by": "1", "group": "nobody knows"}, "no group"),
        ("/keys/new", {"name": ""}, ""),
        ("/keys/new", {"name": "configured"}, "has this name"),
        ("/keys/new", {"name": "x", "expires": "soon"}, "expires"),
        ("/keys/new", {"name": "x", "rpm": "9" * 5000}, "rpm"),
        ("/keys/new", {"name": "x", "tpm": "-1"}, "tpm"),
        ("/keys/new", {"name": "x", "budget_usd": "1e-400"}, "budget_usd"),
    ],
)
def test_a_form_that_makes_no_sense_changes_nothing(
    control: Control, path: str, fields: dict[str, str], said: str
) -> None:
    browser = signed_in(control)
    before = raises.in_force(control.engine), keys.list_keys(control.engine)
    answer = browser.post(path, data={"csrf": token(browser.get("/budgets/day").text)} | fields)
    assert answer.status_code in (400, 409)
    assert said in answer.text
    assert (raises.in_force(control.engine), keys.list_keys(control.engine)) == before


@pytest.mark.parametrize("action", [action.path.format(name="day", id="x", month="2026-09") for action in ACTIONS])
@pytest.mark.parametrize("csrf", ["", "0" * 64])
def test_no_change_without_the_forms_token(control: Control, action: str, csrf: str) -> None:
    before = raises.in_force(control.engine), keys.list_keys(control.engine)
    answer = signed_in(control).post(action, data={"csrf": csrf, "by": "1", "name": "x"})
    assert answer.status_code == 403
    assert (raises.in_force(control.engine), keys.list_keys(control.engine)) == before


def test_the_holder_of_a_key_sees_his_own_calls_and_nothing_else(control: Control) -> None:
    row, secret = keys.create_key(control.engine, "checkout")
    browser = signed_in(control, secret)
    try:
        shown = browser.get(f"/spend?{SINCE}&by=key&filter.key=search&csv=spend")
        assert [line["key"] for line in csv.DictReader(io.StringIO(shown.text))] == ["checkout"]
        calls = list(csv.DictReader(io.StringIO(browser.get(f"/calls?{SINCE}&csv=calls").text)))
        assert {line["key"] for line in calls} == {"checkout"}
        others = next(item for item in control.get("/api/requests", key="search")["items"])
        assert browser.get(f"/calls/{others['id']}").status_code == 404
        for path, midnight in {"/": "00:00:00", "/?tz=Asia/Tokyo": "15:00:00"}.items():
            for tile in ("Today", "This month"):  # leads to the calls of that time, not of the last day
                own = re.search(rf"<h2>{tile}</h2>((?:(?!<h2>).)*)", browser.get(path).text, re.DOTALL)
                assert own
                assert re.search(rf'href="/calls\?since=20[^"]*T{midnight}[.0]*Z', own[1]), (path, tile)
        for path in ("/sessions", "/budgets", "/keys", "/models", "/health", "/budgets/day"):
            assert browser.get(path).status_code == 403
        csrf = token(browser.get("/").text)
        assert browser.post("/keys/new", data={"csrf": csrf, "name": "mine"}).status_code == 403
        assert browser.get("/page/live").status_code == 401
        assert browser.get("/api/spend").status_code == 401
    finally:
        keys.revoke_key(control.engine, row["id"])
    assert browser.get("/").status_code == 303


def shape_of(link: str) -> tuple[str, ...]:
    """The same for links that differ in ids, times and whose calls they ask for, and not in what of these."""
    parts = urlsplit(link)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    kinds = {f"{name}={value}" if name in ("by", "csv", "order", "view") else name for name, value in asked}
    return *(re.sub(r".*\d.*", "ID", part) for part in parts.path.split("/")), *sorted(kinds)


@pytest.mark.long
def test_no_link_of_a_key_holders_pages_is_closed_to_him(control: Control) -> None:
    row, secret = keys.create_key(control.engine, "checkout")
    browser = signed_in(control, secret)
    mine = next(item for item in control.get("/api/requests", key="checkout", limit=200)["items"] if item["cost_lines"])
    asked: set[Any] = set()
    try:
        for path in (
            "/",
            f"/spend?{SINCE}&by=session",
            f"/spend?{SINCE}&by=model",
            f"/calls?{SINCE}",
            f"/calls?{SINCE}&filter.priced=no",
            f"/calls/{mine['id']}",
        ):
            links = set(re.findall(r'href="(/[^"#]*)', browser.get(path).text)) - {file_url("icon.svg")}
            assert len(links) > 3
            for link in map(html.unescape, links):
                if shape_of(link) not in asked:
                    asked.add(shape_of(link))
                    assert browser.get(link).status_code == 200, (path, link)
    finally:
        keys.revoke_key(control.engine, row["id"])


def test_a_mistyped_address_is_a_page_even_while_the_ledger_is_away(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, secret = keys.create_key(control.engine, "lost")
    browser = signed_in(control, secret)
    keys.revoke_key(control.engine, row["id"])

    def away(_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("away"))

    monkeypatch.setattr(keys, "identities", away)
    for path in ("/spending", "/keys/new"):  # the second is a form's way, reloaded by its address
        answer = browser.get(path, headers={"accept": "text/html"})
        assert answer.status_code == 404
        assert "There is no page of this name." in answer.text


@pytest.mark.parametrize("name", ["..%2findex.html", "layout.html", "uPlot.LICENSE"])
def test_only_the_pages_files_are_served(control: Control, name: str) -> None:
    assert control.client.get(f"/page/{name}").status_code == 404


def test_the_pages_files_are_compressed_for_who_can_read_that(control: Control) -> None:
    plain = control.client.get("/page/pages.css", headers={"accept-encoding": "identity, gzip;q=0"})
    small = control.client.get("/page/pages.css", headers={"accept-encoding": "gzip, br"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert small.content == plain.content
    assert 2 * int(small.headers["content-length"]) < int(plain.headers["content-length"])


def test_a_browser_keeps_a_pages_file_until_the_file_is_another(control: Control) -> None:
    """What a page names is kept for ever, since other content has another address; by its bare name it is asked for again."""
    page = control.client.get("/sign-in").text
    addresses = re.findall(r'(?:href|src)="(/page/[^"]+)"', page)
    assert len(addresses) > 3
    for address in addresses:
        answer = control.client.get(address)
        assert "immutable" in answer.headers["cache-control"], address
        again = control.client.get(address, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        for other in (address.partition("?")[0], address[:-1] + "~"):
            stale = control.client.get(other, headers={"if-none-match": 'W/"of another version"'})
            assert (stale.status_code, stale.headers["cache-control"]) == (200, "no-cache")
            assert stale.content == answer.content


def test_a_form_that_is_too_large_is_refused(control: Control) -> None:
    answer = signed_in(control).post("/keys/new", data={"name": "x" * 70_000})
    assert answer.status_code == 413


def test_what_the_data_plane_does_not_answer_is_told(control: Control) -> None:
    control.link.answers = None
    answer: Any = control.client.get("/budgets")
    assert answer.status_code == 503
    assert "No data plane answers" in answer.text


@pytest.mark.parametrize("form", [b"a=b&" * 101, b"&" * 60_000, b"=" * 60_000])
def test_a_form_of_more_fields_than_any_of_ours_is_refused(control: Control, form: bytes) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert control.client.post("/sign-in", content=form, headers=headers).status_code in (401, 413)


@pytest.mark.parametrize(
    "path", ["/api/capacity", "/api/reports/explain", "/api/reports/margin", "/api/reports/month", "/calls", "/jobs"]
)
@pytest.mark.parametrize(
    "since", ["999999w", "0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31", "9999-12-31T23:59:59-14:00"]
)
def test_a_time_outside_of_all_calendars_is_no_error_of_ours(control: Control, path: str, since: str) -> None:
    assert control.client.get(path, params={"since": since}).status_code in (200, 400)


def test_what_all_models_come_to_is_the_explorers_total(control: Control) -> None:
    page = control.client.get(f"/models?{SINCE}").text
    (total,) = re.findall(r'<tr class=" total".*?</tr>', page, re.DOTALL)
    calls = sum(
        item["requests"] for item in control.get("/api/spend", by="model", since="2026-11-23T00:00:00Z")["items"]
    )
    assert f">{calls:,}</a>" in total
