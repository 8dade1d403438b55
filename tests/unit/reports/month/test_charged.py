"""A month charged back: cents that add up, closed months that stay, later truths in the next open month."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.ledger.database import open_ledger
from proxy.ledger.notes.closings import Closing, close
from proxy.ledger.notes.reconciliations import Reconciliation, keep_reconciliation
from proxy.reports.calls import requests
from proxy.reports.month.answer import MonthShown, close_month, month_answer
from proxy.reports.month.charged import Mapped, MonthQuestion, in_cents, mapping_of, mark_up_of
from proxy.reports.months import month_named
from proxy.reports.reconcile.reconciled import reconciled
from proxy.reports.spend import spend
from proxy.times import BadQuestion
from tests.support.bought import bought
from tests.support.made_up import fill

UTC_ZONE = ZoneInfo("UTC")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


OCTOBER, NOVEMBER, DECEMBER, NOW = at("2026-10-01"), at("2026-11-01"), at("2026-12-01"), at("2027-03-01")


@pytest.fixture
def ledger(database: str) -> Any:
    engine = open_ledger(database)
    yield engine
    engine.dispose()


def asked(name: str, **more: Any) -> MonthQuestion:
    return MonthQuestion(**{"month": month_named(name, UTC_ZONE), "by": ("team",)} | more)


def month(engine: Engine, name: str, **more: Any) -> MonthShown:
    shown = month_answer(engine, asked(name, **more), NOW).shown
    assert isinstance(shown, MonthShown)
    return shown


def charges(shown: MonthShown) -> dict[str | None, str]:
    return {item.model_dump()["team"]: item.charge_usd for item in shown.items}


def test_the_first_minutes_of_a_month_are_compared_as_its_own(ledger: Engine) -> None:
    """In Kathmandu it begins a quarter past an hour of UTC; sums are of whole hours."""
    zone = ZoneInfo("Asia/Kathmandu")
    begins, ends = (int(datetime(2026, number, 1, tzinfo=zone).timestamp() * 1_000_000) for number in (11, 12))
    fill(ledger, [bought(begins - 60_000_000, "7"), bought(begins + 60_000_000, "2"), bought(ends - 60_000_000, "1")])

    (compared,) = reconciled(ledger, begins, ends, zone)
    assert compared.cost_nanousd == 3_000_000_000
    assert compared.missing == [("2026-11-01", "2026-11-01"), ("2026-11-30", "2026-11-30")]


def test_what_has_no_price_is_compared_with_nothing_known(ledger: Engine) -> None:
    """Of a provider none of whose calls has a price."""
    fill(ledger, [bought(NOVEMBER, None)])
    keep_reconciliation(ledger, Reconciliation("openai", "bill.csv", DECEMBER, NOVEMBER, DECEMBER, 0, 5, 0))

    (compared,) = reconciled(ledger, NOVEMBER, DECEMBER, UTC_ZONE)

    assert (compared.provider, compared.cost_nanousd) == ("openai", None)


def test_cents_add_up_to_the_total(ledger: Engine) -> None:
    """Three thirds of ten cents: 3.33… each, so 4, 3 and 3."""
    fill(ledger, [bought(NOVEMBER, "0.033333333", team=team) for team in ("a", "b", "c")])
    fill(ledger, [bought(OCTOBER, "0.05", team="a"), bought(OCTOBER, "1", team="left")])

    shown = month(ledger, "2026-11")

    assert (shown.total_usd, shown.cost_usd, shown.closed) == ("0.10", "0.099999999", False)
    assert charges(shown) == {"a": "0.04", "b": "0.03", "c": "0.03", "left": "0.00"}
    assert [item.change_usd for item in shown.items] == ["-0.016666667", "0.033333333", "0.033333333", "-1"]
    assert shown.items[0].share == "0.333333"


def test_a_mark_up_is_charged_and_not_a_cost(ledger: Engine) -> None:
    fill(ledger, [bought(NOVEMBER, "10", team="a"), bought(NOVEMBER, "0.05", team=None)])

    shown = month(ledger, "2026-11", mark_up=mark_up_of("0.10"))

    assert (shown.cost_usd, shown.total_usd) == ("10.05", "11.06")  # 11.055, half to even
    assert charges(shown) == {"a": "11.00", None: "0.06"}


def test_every_way_of_rounding_adds_up() -> None:
    for count in (1, 2, 3, 7, 50):
        for cost in (1, 4_999_999, 5_000_000, 9_999_999, -3_333_333):
            costs = {(str(number),): cost + number for number in range(count)}
            made = in_cents("m", costs, Decimal("0.07"))
            total = sum(costs.values()) * 107
            assert abs(sum(charge.cents for charge in made) * 1_000_000_000 - total) <= 500_000_000
            assert all(abs(charge.cents * 10_000_000 - charge.cost * 1.07) <= 10_000_000 for charge in made)


def test_a_month_that_runs_is_not_closed(ledger: Engine) -> None:
    fill(ledger, [bought(NOVEMBER, "1", team="a")])
    with pytest.raises(BadQuestion, match="2026-11 is not over yet"):
        close_month(ledger, asked("2026-11"), DECEMBER - 1)
    assert not month(ledger, "2026-11").closed
    assert close_month(ledger, asked("2026-11"), DECEMBER)


def test_a_closed_month_stays_and_what_comes_later_is_adjusted_once(ledger: Engine) -> None:
    fill(ledger, [bought(NOVEMBER, "1", team="a"), bought(DECEMBER, "2", team="a")])
    before = month(ledger, "2026-11", mark_up=Decimal("0.5"))
    assert close_month(ledger, asked("2026-11", mark_up=Decimal("0.5")), NOW)
    assert not close_month(ledger, asked("2026-11"), NOW)
    fill(ledger, [bought(NOVEMBER, "0.25", team="a"), bought(NOVEMBER, "0.5", team="late")])

    november, december = month(ledger, "2026-11"), month(ledger, "2026-12")

    assert november.closed
    assert (november.items, november.total_usd) == (before.items, "1.50")
    assert [item.model_dump() for item in december.adjustments] == [
        {"team": "late", "month": "2026-11", "cost_usd": "0.5", "charge_usd": "0.75"},
        {"team": "a", "month": "2026-11", "cost_usd": "0.25", "charge_usd": "0.37"},
    ]
    assert (december.items_usd, december.adjustments_usd, december.total_usd) == (
        "2.00",
        "1.12",
        "3.12",
    )  # 1.125, half to even
    assert december.items[0].change_usd == "1"  # against what November was closed with
    *rows, total = month_answer(ledger, asked("2026-12", mark_up=Decimal("0.5")), NOW).rows
    for name in ("cost_usd", "charge_usd", "change_usd"):
        assert sum(Decimal(row.get(name) or 0) for row in rows) == Decimal(total[name]), name
    assert month(ledger, "2027-01").adjustments == []  # December is open: they are its

    assert close_month(ledger, asked("2026-12"), NOW)
    fill(ledger, [bought(NOVEMBER, "0.1", team="late"), bought(DECEMBER, "0.2", team="a")])

    assert month(ledger, "2026-12").total_usd == "3.12"
    assert [item.model_dump() for item in month(ledger, "2027-01").adjustments] == [
        {"team": "a", "month": "2026-12", "cost_usd": "0.2", "charge_usd": "0.20"},
        {"team": "late", "month": "2026-11", "cost_usd": "0.1", "charge_usd": "0.15"},
    ]


def test_cost_centres_come_from_labels_or_a_mapping(ledger: Engine) -> None:
    fill(ledger, [bought(NOVEMBER, "1", team="a", labels={"cost_centre": "4711"}), bought(NOVEMBER, "2", team="b")])

    by_label = month(ledger, "2026-11", by=("label.cost_centre",))
    by_map = month(ledger, "2026-11", mapped=Mapped("team", "cost_centre", {"a": "0815", "other": "1"}))

    assert [item.model_dump()["label.cost_centre"] for item in by_label.items] == [None, "4711"]
    assert [(item.model_dump()["cost_centre"], item.charge_usd) for item in by_map.items] == [
        (None, "2.00"),
        ("0815", "1.00"),
    ]


def test_what_makes_no_sense_is_refused(ledger: Engine) -> None:
    for lines in ([], ["team\n"], ["team,cost_centre\n", "a,1\n", "a,2\n"], ["team,month\n"], ["team,cost centre,x\n"]):
        with pytest.raises(BadQuestion):
            mapping_of(lines)
    for text in ("-1", "many", "NaN", "1e9", "1e-999999999", "0e-999999999"):
        with pytest.raises(BadQuestion):
            mark_up_of(text)
    with pytest.raises(BadQuestion, match="has not begun"):
        month(ledger, "2027-04")
    assert mapping_of(["team,cost_centre\n", "a, 4711\n"]) == Mapped("team", "cost_centre", {"a": "4711"})


def test_the_command_line_closes(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    fill(engine, [bought(at("2024-11-01"), "1.234", team="a")])
    config, mapping = tmp_path / "taximeter.yaml", tmp_path / "map.csv"
    config.write_text(json.dumps({"ledger": str(engine.url)}))
    mapping.write_text("team,cost_centre\na,4711\n")
    asking = ["report", "month", "2024-11", "--config", str(config), "--map", str(mapping), "--format", "json"]

    first = json.loads(CliRunner().invoke(app, asking).stdout)
    closed = json.loads(CliRunner().invoke(app, [*asking, "--close", "--mark-up", "0.1"]).stdout)
    again = CliRunner().invoke(app, [*asking, "--close"])

    assert [list(first)[:4], first["closed"], first["total_usd"]] == [
        ["month", "closed", "closed_at", "total_usd"],
        False,
        "1.23",
    ]
    assert (closed["closed"], closed["total_usd"], closed["items"][0]["cost_centre"]) == (True, "1.36", "4711")
    assert "was closed before" in again.stderr
    assert json.loads(again.stdout) == closed


def without_team() -> list[Any]:
    """Some clients say no team, and some an empty one."""
    return [bought(NOVEMBER, "1", team=None), bought(NOVEMBER, "0.5", team=""), bought(NOVEMBER, "2", team="a")]


def test_calls_without_a_team_are_one_group(ledger: Engine) -> None:
    fill(ledger, without_team())
    assert charges(month(ledger, "2026-11")) == {"a": "2.00", None: "1.50"}
    assert len(month(ledger, "2026-11").items) == 2
    for rolled in (True, False):
        rows = spend(ledger, ["team"], None, None, rolled=rolled)
        assert [(row.group["team"], row.requests, row.cost_nanousd) for row in rows] == [
            ("a", 1, 2_000_000_000),
            (None, 2, 1_500_000_000),
        ]
    ranges: dict[str, Any] = {"limit": 10, "before": None, "since": None, "until": None}
    assert len(requests(ledger, filters={"team": None}, **ranges)) == 2
    mapped = Mapped("team", "centre", {"a": "1", "": "2"})
    assert [item.model_dump()["centre"] for item in month(ledger, "2026-11", mapped=mapped).items] == ["1", "2"]


def test_a_month_that_was_closed_with_two_groups_of_them_needs_no_adjustment(ledger: Engine) -> None:
    fill(ledger, without_team())
    item = {"charge_usd": "1.00", "share": "0.5", "change_usd": "0"}
    items = [item | {"team": team, "cost_usd": usd} for team, usd in (("a", "2"), (None, "1"), ("", "0.5"))]
    close(ledger, Closing("2026-11", "team", "UTC", "0", items, [], NOW))

    assert month(ledger, "2026-12").adjustments == []
