"""Each report on the office's month: three of its numbers worked out again, by sums over the entries and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.engine import Engine

from pricing.load import load_book
from pricing.operator import parse_rows
from proxy.config.plans import Plan
from proxy.config.reading import read_section
from proxy.ledger.database import open_ledger
from proxy.reports.explain.answer import ExplainQuestion, explain_answer
from proxy.reports.focus.rows import FocusQuestion, focus_answer
from proxy.reports.margin.answer import margin_answer
from proxy.reports.margin.margin import Question
from proxy.reports.month.answer import month_answer
from proxy.reports.month.charged import MonthQuestion
from proxy.reports.months import month_named
from proxy.reports.reconcile.answer import ReconcileQuestion, reconcile_answer
from proxy.reports.reprice.repriced import reprice
from proxy.reports.what_if.alternatives import Change, swap_of
from proxy.reports.what_if.answer import what_if_answer
from tests.support.made_up import fill
from tests.support.month import DAY_US, END, START, november

NANO = 1_000_000_000
BOOK = load_book().with_operator(parse_rows([{"provider": "vllm", "model": "*", "input": "0.10", "output": "0.40"}])[0])
MIDDLE = START + 15 * DAY_US


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('november')}/ledger.db")
    fill(engine, november(), batch=2000)
    yield engine
    engine.dispose()


def rows(**wanted: Any) -> list[dict[str, Any]]:
    return [e.row._asdict() for e in november() if all(getattr(e.row, name) == value for name, value in wanted.items())]


def cost(of: list[dict[str, Any]]) -> int:
    return sum(row["cost_nanousd"] or 0 for row in of)


def test_margin(ledger: Engine) -> None:
    plans = [read_section(Plan, {"name": "pro", "match": {"label.plan": "pro"}, "usd_per_month": 20, "fee": "0.029"})]

    shown: Any = margin_answer(ledger, plans, Question(since=START, until=END), END).shown

    acme = rows(customer="acme")
    item = next(item for item in shown.items if item.model_dump()["customer"] == "acme")
    priced = sum(row["cost_nanousd"] is not None for row in acme)
    assert Decimal(item.cost_usd) * NANO == cost(acme)
    assert Decimal(item.margin_usd) == Decimal("19.42") - Decimal(cost(acme)) / NANO
    assert item.break_even_calls == 19_420_000_000 * priced // cost(acme)
    assert shown.plans[0].at_loss == sum(cost(rows(customer=name)) > 19_420_000_000 for name in ("acme", "globex"))


def test_explain(ledger: Engine) -> None:
    shown: Any = explain_answer(
        ledger, BOOK, ExplainQuestion(since=MIDDLE, until=END, against=(START, MIDDLE)), END
    ).shown

    now = [row for row in rows() if row["started_at"] >= MIDDLE]
    was = [row for row in rows() if row["started_at"] < MIDDLE]
    new = {(row["customer"], row["model"]) for row in now} - {(row["customer"], row["model"]) for row in was}
    assert Decimal(shown.difference_usd) * NANO == cost(now) - cost(was)
    assert sum(map(Decimal, shown.parts.model_dump().values())) == Decimal(shown.difference_usd)
    assert Decimal(shown.parts.new) * NANO == cost([row for row in now if (row["customer"], row["model"]) in new])
    assert Decimal(shown.parts.volume) > 0


def test_what_if(ledger: Engine) -> None:
    """Sonnet's calls at Haiku's prices: 1, 0.10 and 5 USD a million (anthropic.com/pricing), the same tokenizer."""
    swaps = (swap_of("claude-sonnet-4-6=anthropic/claude-haiku-4-5", BOOK, END // 1_000_000),)

    shown: Any = what_if_answer(ledger, BOOK, Change(swaps=swaps), START, END, {}, END).shown

    sonnet = rows(model="claude-sonnet-4-6")
    item = next(item for item in shown.items if item.model == "claude-sonnet-4-6")
    by_hand = sum(
        row["input_tokens"] * 1000
        + row["cache_read_tokens"] * 100
        + (row["output_tokens"] + row["reasoning_tokens"]) * 5000
        for row in sonnet
    )
    assert Decimal(item.cost_usd) * NANO == cost(sonnet)
    assert Decimal(item.what_if_usd) * NANO == by_hand
    assert (item.low_usd, item.high_usd) == (item.what_if_usd, item.what_if_usd)
    assert Decimal(shown.cost_usd) * NANO == cost(rows())
    assert any(name.startswith("a-model-without-a-price") for name in shown.left_out)


def test_month(ledger: Engine) -> None:
    zone = ZoneInfo("UTC")
    question = MonthQuestion(month_named("2026-11", zone), ("team",), Decimal("0.1"), None, zone)

    shown: Any = month_answer(ledger, question, END).shown

    item = next(item for item in shown.items if item.model_dump()["team"] == "research")
    assert Decimal(item.cost_usd) * NANO == cost(rows(team="research"))
    assert abs(Decimal(item.charge_usd) - Decimal(cost(rows(team="research"))) * Decimal("1.1") / NANO) < Decimal(
        "0.01"
    )
    assert Decimal(shown.total_usd) == round(Decimal(cost(rows())) * Decimal("1.1") / NANO, 2)
    assert sum(Decimal(item.charge_usd) for item in shown.items) == Decimal(shown.total_usd)


def test_reprice(ledger: Engine) -> None:
    """Nothing is wrong with it; and with a price for the model that had none, each of its calls gets that one."""
    now_priced = parse_rows([
        {"provider": "mistral", "model": "a-model-without-a-price", "input": "1", "output": "2"},
        {"provider": "vllm", "model": "*", "input": "0.10", "output": "0.40"},
    ])[0]  # fmt: skip

    assert reprice(ledger, BOOK, START, END).items == []
    found = reprice(ledger, load_book().with_operator(now_priced), START, END)

    unpriced = rows(model="a-model-without-a-price")
    by_hand = {
        r["id"]: r["input_tokens"] * 1000 + (r["output_tokens"] + r["reasoning_tokens"]) * 2000 for r in unpriced
    }
    assert {item.id: item.new for item in found.items} == by_hand
    assert {item.why for item in found.items} <= {"it had no price"}
    assert found.looked_at == len(rows())


def lines(**wanted: Any) -> dict[tuple[str, str, str], tuple[int, Decimal]]:
    """By day, model and the provider's word for a line: tokens, and USD."""
    words = {"cache_read": "cached input", "reasoning": "output"}
    sums: dict[tuple[str, str, str], tuple[int, Decimal]] = {}
    for row in rows(**wanted):
        day = f"{datetime.fromtimestamp(row['started_at'] / 1e6, UTC):%Y-%m-%d}"
        for line in json.loads(row["cost_lines"] or "[]"):
            key = (day, row["model"], words.get(line["unit"], line["unit"]))
            tokens, usd = sums.get(key, (0, Decimal(0)))
            sums[key] = tokens + int(line["quantity"]), usd + Decimal(line["cost_usd"])
    return sums


def test_reconcile(ledger: Engine) -> None:
    """OpenAI's costs, as our own lines come to, with 1.5 USD of a model that nobody called here and a credit of 0.4."""
    results: dict[str, list[dict[str, Any]]] = {}
    for (day, model, line), (tokens, usd) in lines(provider="openai").items():
        amount = {"value": float(usd), "currency": "usd"}
        item = {"line_item": f"{model}, {line}", "amount": amount, "quantity": tokens, "quantity_unit": "tokens"}
        results.setdefault(day, []).append(item)
    results["2026-11-03"] += [
        {"line_item": "gpt-5-nano, input", "amount": {"value": 1.5, "currency": "usd"}},
        {"line_item": "credit", "amount": {"value": -0.4, "currency": "usd"}},
    ]
    days = {day: int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()) for day in results}
    text = json.dumps({"data": [{"start_time": days[day], "results": items} for day, items in results.items()]})

    shown: Any = reconcile_answer(ledger, BOOK, ReconcileQuestion("openai", text), END).answer.shown

    causes = {cause.name: Decimal(cause.usd) for cause in shown.causes}
    assert Decimal(shown.ours_usd) * NANO == cost(rows(provider="openai"))
    assert (causes.pop("not through us"), causes.pop("credits")) == (Decimal("1.5"), Decimal("-0.4"))
    assert set(causes) <= {"rounding"}
    assert Decimal(shown.theirs_usd) == Decimal(shown.ours_usd) + Decimal("1.1") + sum(causes.values())
    assert abs(sum(causes.values())) < Decimal("0.001")
    assert shown.unexplained_usd == "0"


def test_focus(ledger: Engine) -> None:
    shown: Any = focus_answer(ledger, FocusQuestion(since=START, until=END), END).shown

    cached = [row for row in shown.rows if row["SkuMeter"] == "Cache Read Input Tokens"]
    by_hand = [amount for (_, _, line), amount in lines().items() if line == "cached input"]
    assert (
        Decimal(shown.billed_usd) * NANO == sum(Decimal(row["BilledCost"]) for row in shown.rows) * NANO == cost(rows())
    )
    assert sum(Decimal(row["ConsumedQuantity"]) for row in cached) == sum(tokens for tokens, _ in by_hand)
    assert sum(Decimal(row["ListCost"]) for row in cached) == sum(usd for _, usd in by_hand)
