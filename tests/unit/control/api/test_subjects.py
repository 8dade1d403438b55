"""Each subject's answers: the contract's names, money as decimal strings, times as RFC 3339."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from proxy.ledger.schema import TOKEN_COLUMNS, entries
from proxy.reports.shapes import EntryShown, entry_shown
from tests.unit.control.conftest import Control

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?(Z|[+-]\d\d:\d\d)\Z")


def test_spend_has_the_groups_beside_the_sums(control: Control) -> None:
    (total,) = control.get("/api/spend")["items"]
    answer = control.get("/api/spend", by="team,label.plan")

    assert list(answer) == ["items", "next", "total", "entries_since"]
    assert (answer["next"], answer["entries_since"]) == (None, None)
    assert list(answer["items"][0]) == [
        "team",
        "label.plan",
        "requests",
        "usage",
        "cost_usd",
        "capacity_usd",
        "unpriced_requests",
    ]
    costs = [Decimal(item["cost_usd"]) for item in answer["items"]]
    assert costs == sorted(costs, reverse=True)
    assert sum(costs) == Decimal(total["cost_usd"]) > 0
    assert sum(item["requests"] for item in answer["items"]) == total["requests"] > 200


def test_spend_comes_in_pages_each_with_the_total(control: Control) -> None:
    whole = control.get("/api/spend", by="day,hour,model,key")["items"]
    pages: list[Any] = []
    totals: list[Any] = []
    after: dict[str, str] = {}
    while len(pages) <= len(whole):
        answer = control.get("/api/spend", by="day,hour,model,key", limit=40, **after)
        pages += answer["items"]
        totals.append(answer["total"])
        if answer["next"] is None:
            break
        after = {"next": answer["next"]}

    assert pages == whole
    one = control.get("/api/spend")["total"]
    assert all(total == one for total in totals)
    assert len(totals) == -(-len(whole) // 40) > 3
    for odd in ("x", "[]", '["", 1]', "null", '["", 1, [[1]]]', "[" * 5000):
        assert control.client.get("/api/spend", params={"by": "team", "next": odd}).status_code == 400, odd


@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("period", ["week", "month", "day", "hour"])
def test_spend_by_calendar_and_filter_is_what_the_command_says(control: Control, period: str, tz: str) -> None:
    params = {"by": f"{period},model", "tz": tz, "filter.team": "payments"}
    answer = control.get("/api/spend", **params)
    (payments,) = [item for item in control.get("/api/spend", by="team")["items"] if item["team"] == "payments"]

    assert answer["items"]
    assert answer["total"]["cost_usd"] == payments["cost_usd"]
    assert sum(item["requests"] for item in answer["items"]) == payments["requests"]


def test_an_empty_filter_is_what_has_no_value(control: Control) -> None:
    by_user = {item["user"]: item["requests"] for item in control.get("/api/spend", by="user")["items"]}

    assert control.get("/api/spend", **{"filter.user": ""})["total"]["requests"] == by_user.get(None, 0) > 0


@pytest.mark.parametrize("params", [{"filter.weather": "x"}, {"filter.": "x"}, {"filter.day": "x"}, {"tz": "Mars/Base"}, {"tz": "../x"}, {"team": "x"}, {"limit": "0"}])  # fmt: skip
def test_a_filter_or_zone_that_is_none_is_told(control: Control, params: dict[str, str]) -> None:
    answer = control.client.get("/api/spend", params=params)

    assert answer.status_code == 400
    assert next(iter(params)).removeprefix("filter.") in answer.text or "zone" in answer.text


def test_an_empty_span_is_a_total_of_nothing(control: Control) -> None:
    (total,) = control.get("/api/spend", since="2001-01-01", until="2001-01-02")["items"]

    assert total == {"requests": 0, "usage": {}, "cost_usd": "0", "capacity_usd": "0", "unpriced_requests": 0}


def test_requests_come_in_pages_without_a_gap(control: Control) -> None:
    whole = [item["id"] for item in control.get("/api/requests", limit=1000)["items"]]
    pages: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = control.get("/api/requests", limit=70, **after)
        pages += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"next": page["next"]}

    assert pages == whole == sorted(whole, reverse=True)


def test_an_entry_has_every_column_but_the_keys_hash(control: Control) -> None:
    """A column that the ledger gets must be shown, or left out here by name."""
    columns = {column.name for column in entries.columns} - set(TOKEN_COLUMNS.values()) - {"key_id"}
    shown = {re.sub("_nanousd$", "_usd", name) for name in columns} | {"cost_nanousd"}

    (item,) = control.get("/api/requests", limit=1)["items"]

    assert set(item) == shown == set(EntryShown.model_fields)
    assert RFC3339.match(item["started_at"])
    assert RFC3339.match(item["ended_at"])


def test_filters_are_exact(control: Control) -> None:
    items = control.get("/api/requests", team="payments", model="big", limit=1000)["items"]

    assert {(item["team"], item["model"]) for item in items} == {("payments", "big")}
    assert control.get("/api/requests", team="paymen")["items"] == []


def test_one_request_is_an_entry_and_several_are_attempts(control: Control) -> None:
    items = control.get("/api/requests", limit=1000)["items"]
    corrected = next(item for item in items if item["kind"] == "correction")
    by_request: dict[str, list[Any]] = {}
    for item in items:
        by_request.setdefault(item["request_id"], []).append(item)
    single = next(of for of in by_request.values() if len(of) == 1)[0]

    assert control.get(f"/api/requests/{single['id']}") == single
    several = control.get(f"/api/requests/{corrected['request_id']}")
    attempts = several.pop("attempts")
    assert attempts == sorted(by_request[corrected["request_id"]], key=lambda item: item["id"])
    assert several == attempts[0]


def test_a_session_is_a_tree_whose_sums_are_the_lists(control: Control) -> None:
    (listed,) = control.get("/api/sessions", limit=1, order="cost")["items"]
    tree = control.get(f"/api/sessions/{listed['session']}")

    assert set(listed) == {
        "session", "team", "requests", "cost_usd", "unpriced_requests", "started_at", "ended_at", "usage", "duration_s",
    }  # fmt: skip
    assert set(tree) == {
        "team", "key", "client", "source", "root_session", "session", "agent", "requests", "usage", "cost_usd",
        "unpriced_requests", "own_requests", "own_cost_usd", "started_at", "ended_at", "duration_s", "calls", "children",
    }  # fmt: skip
    assert (tree["session"], tree["requests"], tree["cost_usd"]) == (listed["session"], listed["requests"], listed["cost_usd"])  # fmt: skip
    assert tree["calls"]
    assert set(tree["calls"][0]) == set(EntryShown.model_fields)


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        (["day", "", 1_793_491_200, "usd", 450_000], {"name": "day", "group": "", "window_start": "2026-11-01T00:00:00.000000Z", "usd": "0.00045"}),
        (["teams", "ops", 0, "tokens", 1100], {"name": "teams", "group": "ops", "window_start": None, "tokens": 1100}),
        (["day", "", "soon", "usd", 1], ["day", "", "soon", "usd", 1]),
        ("odd", "odd"),
    ],
    ids=["usd", "tokens", "odd row", "odd"],
)  # fmt: skip
def test_what_an_entry_counted_in_has_names(kept: Any, shown: Any) -> None:
    entry = {
        "started_at": 0,
        "ended_at": 0,
        "key_id": "",
        "cost_nanousd": 1,
        "duration_ms": 84.49904000008246,
        "budgets": [kept],
    }
    told = entry_shown(entry)

    assert (told.budgets, told.duration_ms) == ([shown], 84.499)


def test_budgets_are_in_their_own_measures(control: Control) -> None:
    now = control.get("/api/budgets")["items"]
    day = next(item for item in now if item["name"] == "day")
    start = int(datetime.fromisoformat(day["window"]["start"]).timestamp())
    assert control.link.answers is not None
    control.link.answers["standing"] = [
        {"budget": "day", "group": "", "window_start": start, "spent": 1_500_000_000, "reserved": 250_000_000},
        {"budget": "teams", "group": "a", "window_start": 0, "spent": 10, "reserved": 5},
    ]

    spent = control.get("/api/budgets/day")
    teams = control.get("/api/budgets/teams")

    assert day == {
        "name": "day", "window": day["window"], "action": "block", "per": [], "limit_usd": "5", "spent_usd": "0",
        "reserved_usd": "0", "remaining_usd": "5", "groups": [],
    }  # fmt: skip
    assert (spent["spent_usd"], spent["reserved_usd"], spent["remaining_usd"]) == ("1.5", "0.25", "3.25")
    assert spent["groups"] == [{"group": "", "limit_usd": "5", "spent_usd": "1.5", "reserved_usd": "0.25"}]
    assert (teams["limit_tokens"], teams["spent_tokens"], teams["remaining_tokens"]) == (1000, 10, None)
    assert teams["groups"] == [{"group": "a", "limit_tokens": 1000, "spent_tokens": 10, "reserved_tokens": 5}]
    assert {name for name in now[2] if name.startswith("limit")} == {"limit_requests"}


@pytest.mark.parametrize(("budget", "by", "limit"), [("day", "2.5", "limit_usd"), ("calls", "3", "limit_requests")])
def test_a_raise_is_said_in_the_budgets_measure(control: Control, budget: str, by: str, limit: str) -> None:
    before = Decimal(control.get(f"/api/budgets/{budget}")[limit])

    answer = control.client.post(f"/api/budgets/{budget}/raises", json={"by_usd": by, "reason": "a demo"})

    assert answer.status_code == 201, answer.text
    made = answer.json()
    about = ["id", "budget", "group", "by_usd", "until", "created_at", "reason"]
    assert list(made) == [*about, "limit_before", "limit_after"]
    assert control.get(f"/api/budgets/{budget}/raises")["items"][-1]["reason"] == made["reason"] == "a demo"
    assert "a demo" in control.client.get(f"/budgets/{budget}").text
    assert (Decimal(made["limit_before"]), Decimal(made["limit_after"])) == (before, before + Decimal(by))
    assert (made["budget"], made["group"], made["by_usd"]) == (budget, None, by)
    assert RFC3339.match(made["until"])
    assert Decimal(control.get(f"/api/budgets/{budget}")[limit]) == before + Decimal(by)
    assert control.refreshed


@pytest.mark.parametrize(
    "body",
    [
        {"by_usd": "0"}, {"by_usd": "1e-10"}, {"by_usd": "NaN"}, {"by_usd": "Infinity"}, {"by_usd": "1e999999"},
        {"by_usd": "1", "until": "9999-12-31T23:59:59-23:59"}, {"by_usd": "1", "until": "2030-01-01T00:00:00"},
        {"by_usd": "1", "until": "1971-01-01T00:00:00Z"}, {"by_usd": "1", "group": "x"},
    ],
)  # fmt: skip
def test_a_raise_that_makes_no_sense_is_refused_and_kept_nowhere(control: Control, body: dict[str, str]) -> None:
    before = control.get("/api/budgets/day")

    assert control.client.post("/api/budgets/day/raises", json=body).status_code == 400
    assert control.get("/api/budgets/day") == before


def test_a_raise_is_listed_lowered_and_ended(control: Control) -> None:
    path = "/api/budgets/day/raises"
    others = [row["id"] for row in control.get(path)["items"]]
    limit = Decimal(control.get("/api/budgets/day")["limit_usd"])
    made = control.client.post(path, json={"by_usd": "500"}).json()
    assert [row["id"] for row in control.get(path)["items"]] == [*others, made["id"]]

    assert control.client.patch(f"{path}/{made['id']}", json={"by_usd": "600"}).status_code == 400
    lowered = control.client.patch(f"{path}/{made['id']}", json={"by_usd": "2"}).json()
    assert (Decimal(lowered["limit_before"]), Decimal(lowered["limit_after"])) == (limit + 500, limit + 2)
    assert lowered["until"] == made["until"]
    assert control.client.delete(f"/api/budgets/teams/raises/{lowered['id']}").status_code == 404

    ended = control.client.delete(f"{path}/{lowered['id']}").json()
    assert (Decimal(ended["limit_before"]), Decimal(ended["limit_after"])) == (limit + 2, limit)
    assert [row["id"] for row in control.get(path)["items"]] == others
    assert control.client.delete(f"{path}/{lowered['id']}").status_code == 404


def test_a_group_that_nobody_knows_is_raised_only_when_that_is_meant(control: Control) -> None:
    standing = {"budget": "teams", "group": "busy", "window_start": 0, "window_end": None, "measure": "tokens"}
    assert control.link.answers is not None
    control.link.answers["standing"] = [standing | {"limit": 1000, "spent": 0, "reserved": 5}]
    body = {"by_usd": "5", "group": "nosuch"}

    assert control.client.post("/api/budgets/teams/raises", json=body).status_code == 400
    for group in ("busy", "ops"):
        assert control.client.post("/api/budgets/teams/raises", json=body | {"group": group}).status_code == 201
    assert control.client.post("/api/budgets/teams/raises", json=body | {"new_group": True}).status_code == 201


def test_groups_come_in_pages_those_with_most_spent_first(control: Control) -> None:
    standing = {
        "budget": "teams",
        "window_start": 0,
        "window_end": None,
        "measure": "tokens",
        "limit": 1000,
        "reserved": 0,
    }
    assert control.link.answers is not None
    control.link.answers["standing"] = [standing | {"group": f"t{n:02}", "spent": n // 2} for n in range(25)]
    groups, following, names = [], None, []
    while True:
        page = control.get("/api/budgets", limit=7, **({"next": following} if following else {}))
        names += [item["name"] for item in page["items"]]
        groups += [group["group"] for item in page["items"] for group in item["groups"]]
        assert sum(len(item["groups"]) for item in page["items"]) <= 7
        following = page["next"]
        if following is None:
            break

    assert names == ["day", "teams", "teams", "teams", "teams", "calls"]
    assert groups == sorted((f"t{n:02}" for n in range(25)), key=lambda group: (-(int(group[1:]) // 2), group))
    assert {item["spent_tokens"] for item in control.get("/api/budgets", limit=7)["items"][1:2]} == {
        sum(n // 2 for n in range(25))
    }
    for wrong in ("x", "[]", '["none","1","x"]', '["teams","x","x"]', "[" * 500):
        assert control.client.get("/api/budgets", params={"next": wrong}).status_code == 400


def test_a_key_with_limits_is_made_by_the_api_and_by_the_page(control: Control) -> None:
    asked: dict[str, Any] = {"budget_usd": "20.5", "budget_window": "month", "rpm": 60, "tpm": 9000}
    made = control.client.post("/api/keys", json={"name": "held", **asked}).json()
    assert {name: made[name] for name in asked} == asked
    for wrong in (
        {"budget_usd": -1},
        {"budget_usd": "much"},
        {"budget_window": "year"},
        {"rpm": 0},
        {"tpm": 1.5},
        {"rpm": True},
    ):
        assert control.client.post("/api/keys", json={"name": "wrong", **wrong}).status_code == 400, wrong
    page = control.client.get("/keys").text
    assert "$20.5 a month, 60 calls a minute, 9,000 tokens a minute" in page
    assert 'href="/budgets/key%3Amonth?group=held"' in page
    assert control.client.delete(f"/api/keys/{made['id']}").status_code == 204


def test_a_key_is_shown_once_and_revoked_for_good(control: Control) -> None:
    asked = {
        "name": "new",
        "team": "t",
        "labels": {"plan": "pro"},
        "models": ["gpt-*"],
        "expires": "2040-01-01T00:00:00Z",
    }

    answer = control.client.post("/api/keys", json=asked)

    made = answer.json()
    assert answer.status_code == 201
    limits = ["budget_usd", "budget_window", "rpm", "tpm"]
    about = ["id", "name", "team", "user", "customer", "labels", "models", "expires", *limits, "created_at", "key"]
    assert list(made) == about
    assert made.pop("key").startswith("sk-tx-")
    assert (made["labels"], made["models"]) == ({"plan": "pro"}, ["gpt-*"])
    items = control.get("/api/keys")["items"]
    unused = {"last_used": None, "requests": 0, "cost_usd": "0", "unpriced_requests": 0}
    nothing = {"user": None, "customer": None, "labels": {}, "models": None, "expires": None}
    nothing |= dict.fromkeys(limits)
    assert items == [
        unused | {"id": None, "name": "configured", "team": "ops", **nothing, "configured": True},
        unused | made,
    ]
    rotated = control.client.post("/api/keys/new/rotate", json={"grace_s": 60}).json()
    assert rotated.pop("key") != made.get("key")
    assert {name: rotated[name] for name in ("name", "team", "labels", "models")} == {
        name: made[name] for name in ("name", "team", "labels", "models")
    }
    assert control.client.post("/api/keys/nosuch/rotate", json={}).status_code == 404
    assert control.client.post("/api/keys", json=asked).status_code == 409
    assert control.client.post("/api/keys", json={"name": "configured"}).status_code == 409
    assert control.client.delete(f"/api/keys/{made['id']}").status_code == 204
    assert control.client.delete(f"/api/keys/{made['id']}").status_code == 404
    assert control.client.delete("/api/keys/new").status_code == 204
    assert len(control.refreshed) == 4


@pytest.mark.parametrize("expires", ["2020-01-01T00:00:00Z", "1971-01-01T00:00:00+01:00"])
def test_a_key_that_is_over_already_is_not_made(control: Control, expires: str) -> None:
    answer = control.client.post("/api/keys", json={"name": "late", "expires": expires})

    assert (answer.status_code, "is over already" in answer.text) == (400, True)


@pytest.mark.parametrize("expires", ["0001-01-01T00:00:00", "9999-12-31T23:59:59-23:59", "1900-01-01T00:00:00Z", 1e17])
def test_a_key_whose_end_could_not_be_shown_is_not_made(control: Control, expires: Any) -> None:
    """It would be in the ledger, and the list of keys would never be answered again."""
    assert control.client.post("/api/keys", json={"name": "odd", "expires": expires}).status_code == 400
    assert len(control.get("/api/keys")["items"]) == 1
