"""Margins: what customers pay beside what they cost, to the nano-dollar."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.config.plans import Plan
from proxy.config.reading import read_section
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import Entry
from proxy.ledger.notes.revenue import Paid, write_revenue
from proxy.reports.margin import margin
from proxy.reports.margin.answer import MarginShown, margin_answer
from proxy.reports.margin.margin import Question, margins, revenue_lines
from tests.support.bought import bought, with_row
from tests.support.made_up import fill

DAY_US = 86_400_000_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


NOVEMBER, DECEMBER, JANUARY = at("2026-11-01"), at("2026-12-01"), at("2027-01-01")
NOW = at("2026-11-16")
PRO = read_section(Plan, {"name": "pro", "match": {"label.plan": "pro"}, "usd_per_month": 20, "target_margin": "0.30"})


def calls(
    count: int, usd: str | None = "0.1", *, start: int = NOVEMBER, customer: str | None = "acme", **named: Any
) -> list[Entry]:
    named.setdefault("labels", {"plan": "pro"})
    return [bought(start + number * 1_000_000, usd, customer=customer, **named) for number in range(count)]


@pytest.fixture
def ledger(database: str) -> Any:
    engine = open_ledger(database)
    yield engine
    engine.dispose()


def answered(engine: Engine, plans: list[Plan], now: int = NOW, **question: Any) -> MarginShown:
    shown = margin_answer(engine, plans, Question(**question), now).shown
    assert isinstance(shown, MarginShown)
    return shown


def test_the_founding_example(ledger: Engine) -> None:
    """$20 at $0.10 a call: 200 calls, 140 at a target of 30 %; 1,000 calls lose $80."""
    fill(ledger, calls(1000), batch=1000)

    shown = answered(ledger, [PRO])

    (item,) = shown.items
    assert item.model_dump() == {
        "customer": "acme", "plan": "pro", "revenue_usd": "20", "fee_usd": "0", "cost_usd": "100", "capacity_usd": None,
        "margin_usd": "-80", "margin_rate": "-4", "calls": 1000, "cost_per_call_usd": "0.1", "break_even_calls": 200,
        "break_even_calls_at_target": 140, "calls_left": 0, "projected_cost_usd": "200", "unpriced_requests": 0,
    }  # fmt: skip
    (plan,) = shown.plans
    assert (plan.customers, plan.at_loss, plan.break_even_usd_per_month) == (1, 1, "100")
    assert (plan.break_even_calls, plan.break_even_calls_at_target) == (200, 140)


def test_a_fee_comes_off_before_the_calls_do(ledger: Engine) -> None:
    """20 x (1 - 0.029) = 19.42, so 194 calls of $0.10; with 30 % to be left 20 x 0.671 = 13.42, so 134."""
    fill(ledger, calls(100))
    plan = replace(PRO, fee=PRO.fee + 29 * PRO.target_margin / 300)

    (item,) = answered(ledger, [plan]).items

    assert (item.fee_usd, item.margin_usd, item.margin_rate) == ("0.58", "9.42", "0.471")
    assert (item.break_even_calls, item.break_even_calls_at_target, item.calls_left) == (194, 134, 94)


def test_loss_makers_come_first_and_who_pays_nothing_that_is_known_last(ledger: Engine) -> None:
    fill(ledger, [*calls(10, customer="good"), *calls(400, customer="bad"), *calls(900, customer="free", labels={})])

    shown = answered(ledger, [PRO])

    assert [(item.model_dump()["customer"], item.margin_usd) for item in shown.items] == [
        ("bad", "-20"), ("good", "19"), ("free", None),
    ]  # fmt: skip
    assert [item.plan for item in shown.items] == ["pro", "pro", None]
    assert shown.items[2].break_even_calls is None


def test_revenue_rows_count_in_place_of_the_plan_in_their_months(ledger: Engine) -> None:
    """November is paid by a row of 12 for two months (6 of it there, by 30 of 61 days); in December the row has the rest."""
    fill(ledger, [*calls(10), *calls(10, start=DECEMBER), *calls(10, start=JANUARY)])
    write_revenue(ledger, [Paid("acme", NOVEMBER, JANUARY, "", 12_200_000_000)], NOW)

    november = answered(ledger, [PRO], since=NOVEMBER, until=DECEMBER)
    december = answered(ledger, [PRO], since=DECEMBER, until=JANUARY)
    whole = answered(ledger, [PRO], since=NOVEMBER, until=at("2027-02-01"))

    assert [shown.items[0].revenue_usd for shown in (november, december, whole)] == ["6", "6.2", "32.2"]


@pytest.mark.long
@pytest.mark.parametrize("per", ["customer", "team"])
def test_one_customer_comes_to_what_he_does_among_all(
    ledger: Engine, per: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of him alone his calls are read, but for a plan that others pay for, too."""
    fill(
        ledger,
        [*calls(9), *calls(4, customer="globex", labels={}), *calls(3, customer=None), *calls(2, start=DECEMBER)],
    )
    paid = [Paid("silent", NOVEMBER, DECEMBER, "gold", 5_000_000_000), Paid("acme", NOVEMBER, JANUARY, "", 9)]
    write_revenue(ledger, paid, NOW)
    plans = [replace(PRO, per=per), Plan(name="rest", usd_per_month=Decimal(1))]

    def all_answers() -> list[Any]:
        answers: list[Any] = []
        for name in ("acme", "globex", "silent", "nobody", ""):
            asked = Question(("customer", "model"), NOVEMBER, JANUARY, only={"customer": name})
            answers += [margin_answer(ledger, plans, asked, NOW), revenue_lines(ledger, plans, asked, name, NOW)]
        return answers

    alone = all_answers()
    monkeypatch.setattr(margin, "_alone", lambda *_: None)

    assert alone == all_answers()


def test_a_customer_that_pays_and_calls_nothing_is_there(ledger: Engine) -> None:
    write_revenue(ledger, [Paid("silent", NOVEMBER, DECEMBER, "gold", 5_000_000_000)], NOW)

    shown = answered(ledger, [PRO])

    (item,) = shown.items
    assert (item.plan, item.revenue_usd, item.margin_usd, item.calls, item.break_even_calls) == (
        "gold",
        "5",
        "5",
        0,
        None,
    )
    assert [plan.plan for plan in shown.plans] == ["pro", "gold"]


def test_a_plans_price_is_that_of_its_month_and_due_in_every_month_between(ledger: Engine) -> None:
    dated = [
        replace(PRO, to=datetime(2026, 12, 1, tzinfo=UTC)),
        replace(PRO, from_=datetime(2026, 12, 1, tzinfo=UTC), usd_per_month=PRO.usd_per_month * 2),
    ]
    fill(ledger, [*calls(1), *calls(1, start=JANUARY)])

    (item,) = answered(ledger, dated, since=NOVEMBER, until=at("2027-02-01")).items

    assert item.revenue_usd == "80"  # November 20, December without a call 20, January 40


def test_an_unpriced_call_costs_what_nobody_knows(ledger: Engine) -> None:
    fill(ledger, [*calls(10), *calls(5, None)])

    shown = answered(ledger, [PRO])

    (item,) = shown.items
    assert (item.cost_usd, item.calls, item.unpriced_requests, item.cost_per_call_usd) == ("1", 15, 5, "0.1")
    assert any("5 calls have no price" in caveat for caveat in shown.about.caveats)


def test_own_capacity_is_a_cost_beside_the_price(ledger: Engine) -> None:
    made = [with_row(call, capacity_nanousd=100_000_000) for call in calls(10)]
    fill(ledger, made)

    (item,) = answered(ledger, [PRO]).items

    assert (item.cost_usd, item.capacity_usd, item.margin_usd, item.cost_per_call_usd) == ("1", "1", "18", "0.2")
    assert (item.break_even_calls, item.projected_cost_usd) == (100, "4")


@pytest.mark.parametrize("by", [("team",), ("label.plan",), ("plan",), ("team", "model"), ()])
def test_however_it_is_grouped_the_revenue_adds_up(ledger: Engine, by: tuple[str, ...]) -> None:
    made = [*calls(7), *calls(3, "0.37", team="desk"), *calls(11, "0.01", customer="beta", model="big")]
    fill(ledger, made)

    found = margins(ledger, [PRO], Question(by=by), NOW)

    assert sum(item.revenue or 0 for item in found.items) == 40_000_000_000
    assert sum(item.cost for item in found.items) == sum(entry.row.cost_nanousd for entry in made)
    assert sum(item.margin or 0 for item in found.items) == sum(payer.margin or 0 for payer in found.payers)


def _config(folder: Path, engine: Engine) -> str:
    file = folder / "taximeter.yaml"
    plans = [{"name": "pro", "match": {"label.plan": "pro"}, "usd_per_month": 20}]
    file.write_text(json.dumps({"ledger": engine.url.render_as_string(hide_password=False), "plans": plans}))
    return str(file)


def test_a_customers_revenue_is_the_sum_of_its_lines(ledger: Engine) -> None:
    """Of a plan's months, of imported rows in part, and of what a team pays for several customers."""
    team = read_section(Plan, {"name": "team", "match": {"team": "research"}, "per": "team", "usd_per_month": 30})
    fill(ledger, calls(3) + calls(2, start=DECEMBER) + calls(4, customer="globex") + calls(2, customer="initech"))
    fill(ledger, calls(3, customer="globex", team="research") + calls(1, "0.7", customer="initech", team="research"))
    write_revenue(ledger, [Paid("globex", at("2026-10-20"), at("2026-11-11"), "pro", 33_000_000_001)], NOW)
    question = Question(since=NOVEMBER, until=JANUARY)
    items = margins(ledger, [team, PRO], question, NOW).items
    for customer in ("acme", "globex", "initech"):
        lines = revenue_lines(ledger, [team, PRO], question, customer, NOW)
        wanted = sum(item.revenue or 0 for item in items if item.group["customer"] == customer)
        assert sum(line.amount for line in lines) == wanted
    assert {(line.plan, line.payer, line.paid is None) for line in lines} == {
        ("team", "research", True),
        ("pro", None, True),
    }
    (globex,) = revenue_lines(ledger, [team, PRO], question, "globex", NOW)
    assert (globex.plan, globex.month, globex.paid is None) == ("pro", "2026-11", False)
    acme = revenue_lines(ledger, [team, PRO], question, "acme", NOW)
    assert [(line.month, line.amount) for line in acme] == [("2026-11", 20_000_000_000), ("2026-12", 20_000_000_000)]


def test_a_filter_keeps_a_part_of_what_was_dealt_out(ledger: Engine) -> None:
    fill(ledger, calls(3, team="research") + calls(9, team="ops") + calls(2, customer="globex", team="ops"))
    whole = margins(ledger, [PRO], Question(by=("customer", "team")), NOW)
    kept = margins(ledger, [PRO], Question(by=("customer",), only={"team": "ops"}), NOW)
    assert {(item.group["customer"], item.revenue, item.cost) for item in kept.items} == {
        (item.group["customer"], item.revenue, item.cost) for item in whole.items if item.group["team"] == "ops"
    }
    assert not margins(ledger, [PRO], Question(only={"team": ""}), NOW).items


def test_the_command_line_imports_once_and_reports(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    fill(engine, calls(3, customer="=cmd()"))
    config = _config(tmp_path, engine)
    paid = tmp_path / "paid.csv"
    paid.write_text("customer,from,to,amount_usd,plan\n=cmd(),2026-11-01,2026-12-01,7.50,pro\n")

    first = CliRunner().invoke(app, ["revenue", "import", str(paid), "--config", config])
    again = CliRunner().invoke(app, ["revenue", "import", str(paid), "--config", config])
    asked = ["report", "margin", "--since", "2026-11-01", "--until", "2026-12-01", "--config", config]
    table = CliRunner().invoke(app, asked)
    shown = json.loads(CliRunner().invoke(app, [*asked, "--format", "json"]).stdout)
    (row,) = csv.DictReader(io.StringIO(CliRunner().invoke(app, [*asked, "--format", "csv"]).stdout))

    assert first.stdout == again.stdout == "1 rows of 1 customers, 7.5 USD in all\n"
    assert (shown["items"][0]["revenue_usd"], shown["items"][0]["margin_usd"]) == ("7.5", "7.2")
    assert row["customer"] == "'=cmd()"
    assert "Plan pro: 1 customers, 0 at a loss" in table.stdout
    assert "From: revenue" in table.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("customer,from,to\n", "the header lacks amount_usd"),
        ("customer,from,to,amount_usd\na,2026-11-01,2026-12-01,many\n", "line 2: amount_usd 'many' is not an amount"),
        ("customer,from,to,amount_usd\na,2026-11-01,2026-12-01,NaN\n", "is not an amount up to"),
        ("customer,from,to,amount_usd\na,2026-12-01,2026-12-01,1\n", "`to` is not later than `from`"),
        ("customer,from,to,amount_usd\na,soon,2026-12-01,1\n", "write a time such as"),
        ("customer,from,to,amount_usd\n,2026-11-01,2026-12-01,1\n", "names no customer"),
        ("customer,from,to,amount_usd\na,2026-11-01,2026-12-01,1e-10\n", "finer than a nano-dollar"),
        ("customer,from,to,amount_usd\n" + "a,2026-11-01,2026-12-01,1\n" * 2, "is the same row as line 2"),
        ("", "the header lacks customer"),
    ],
)
def test_a_bad_file_is_refused_whole(tmp_path: Path, text: str, said: str) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    paid = tmp_path / "paid.csv"
    paid.write_text(text)

    done = CliRunner().invoke(app, ["revenue", "import", str(paid), "--config", _config(tmp_path, engine)])

    assert done.exit_code == 1
    assert said in done.stderr
    assert answered(engine, []).items == []
