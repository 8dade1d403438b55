"""AWS's Cost and Usage Report and Google Cloud's billing export against our own calls."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from pricing.load import load_book
from proxy.ledger.database import open_ledger
from proxy.reports.reconcile.answer import ReconcileQuestion, ReconcileShown, reconcile_answer
from proxy.reports.reconcile.model_names import namer
from proxy.reports.reconcile.statement import read_statement
from proxy.times import BadQuestion
from tests.support.made_up import START, fill
from tests.support.rows import each_row

from .test_comparison import call

BOOK = load_book()
DAY = f"{datetime.fromtimestamp(START // 1_000_000, UTC):%Y-%m-%d}"
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Engine]:
    engine = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield engine
    engine.dispose()


def answer(engine: Engine, provider: str, text: str) -> ReconcileShown:
    shown = reconcile_answer(engine, BOOK, ReconcileQuestion(provider, text), START + 90 * 86_400_000_000).answer.shown
    assert isinstance(shown, ReconcileShown)
    return shown


def table(*rows: dict[str, Any]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def aws(usage: str, usd: str, amount: str = "", **more: Any) -> dict[str, Any]:
    return {
        "line_item_usage_start_date": f"{DAY}T05:00:00Z", "line_item_product_code": "AmazonBedrock", "line_item_line_item_type": "Usage",
        "line_item_usage_type": usage, "line_item_usage_amount": amount, "line_item_unblended_cost": usd, "pricing_unit": "1K tokens",
        "line_item_currency_code": "USD", "line_item_resource_id": "", "product": "{}",
    } | more  # fmt: skip


def google(service: str, sku: str, cost: float, **more: Any) -> dict[str, Any]:
    return {
        "service": {"id": "C7E2-9256-1C43", "description": service}, "sku": {"id": "A121", "description": sku},
        "usage_start_time": f"{DAY} 05:00:00 UTC", "cost": cost, "currency": "USD", "cost_type": "regular", "credits": [],
        "usage": {"amount": 1.0, "unit": "count", "amount_in_pricing_units": 1.0},
    } | more  # fmt: skip


def sonnet_and_nova() -> list[Any]:
    used: dict[str, tuple[int, str]] = {
        "input": (1_000_000, "3"),
        "cache_read": (500_000, "0.3"),
        "output": (100_000, "15"),
    }
    nova: dict[str, tuple[int, str]] = {"input": (1_000_000, "0.8"), "output": (100_000, "3.2")}
    return [
        call(START, "aws", SONNET, **used),
        call(START, "aws", "anthropic.claude-sonnet-4-5-20250929-v1:0", **used),
        call(START, "aws", "eu.amazon.nova-pro-v1:0", **nova),
    ]


_EDITION = {
    "product": json.dumps({"product_name": "Claude Sonnet 4.5 (Amazon Bedrock Edition)"}),
    "pricing_unit": "Units",
}
_CUR = (
    aws("USE1-MP:USE1_InputTokenCount-Units", "6", line_item_product_code="7g37a2j", **_EDITION),
    aws("USE1-MP:USE1_CacheReadInputTokenCount-Units", "0.3", line_item_product_code="7g37a2j", **_EDITION),
    aws("USE1-MP:USE1_OutputTokenCount-Units", "3", line_item_product_code="7g37a2j", **_EDITION),
    aws("EUC1-NovaPro-input-tokens", "0.8", "1000"),
    aws("EUC1-NovaPro-output-tokens", "0.32", "100"),
    aws("BoxUsage:m7i.large", "99", line_item_product_code="AmazonEC2"),
)


def test_a_cost_and_usage_report_is_compared_by_model_and_line(ledger: Engine) -> None:
    fill(ledger, sonnet_and_nova())
    shown = answer(ledger, "bedrock", table(*_CUR))
    assert (shown.ours_usd, shown.theirs_usd, shown.unexplained_usd) == ("10.42", "10.42", "0")
    assert {(item.model, item.line_item) for item in shown.items} == {
        ("claude-sonnet-4-5", "input"), ("claude-sonnet-4-5", "cache_read"), ("claude-sonnet-4-5", "output"),
        ("nova-pro", "input"), ("nova-pro", "output"),
    }  # fmt: skip


def test_its_credits_taxes_and_calls_past_us_are_named(ledger: Engine) -> None:
    fill(ledger, sonnet_and_nova())
    more = (
        aws("EUC1-NovaPro-input-tokens", "-0.5", line_item_line_item_type="Credit"),
        aws("", "1.9", line_item_line_item_type="Tax"),
        aws("EUC1-NovaPro-input-tokens", "0.4", "500"),
    )
    causes = {
        cause.name: cause.usd for item in answer(ledger, "aws", table(*_CUR, *more)).items for cause in item.causes
    }
    assert causes["credits"] == "-0.5"
    assert causes["not through us"] == "0.4"


def test_the_older_report_has_other_names(ledger: Engine) -> None:
    fill(ledger, sonnet_and_nova())
    names = {
        "line_item_usage_start_date": "lineItem/UsageStartDate", "line_item_product_code": "lineItem/ProductCode",
        "line_item_line_item_type": "lineItem/LineItemType", "line_item_usage_type": "lineItem/UsageType",
        "line_item_usage_amount": "lineItem/UsageAmount", "line_item_unblended_cost": "lineItem/UnblendedCost",
        "pricing_unit": "pricing/unit", "line_item_currency_code": "lineItem/CurrencyCode",
        "line_item_resource_id": "lineItem/ResourceId", "product": "product/ProductName",
    }  # fmt: skip
    older = [{names[name]: value for name, value in row.items()} for row in _CUR]
    for row in older[:3]:
        row["product/ProductName"] = "Claude Sonnet 4.5 (Amazon Bedrock Edition)"
    shown = answer(ledger, "aws", table(*older))
    assert (shown.theirs_usd, shown.unexplained_usd) == ("10.42", "0")


def test_google_clouds_export_line_by_line_as_json_and_csv(ledger: Engine) -> None:
    used: dict[str, tuple[int, str]] = {
        "input": (1_000_000, "1.25"),
        "output": (50_000, "10"),
        "reasoning": (50_000, "10"),
    }
    lite: dict[str, tuple[int, str]] = {"input": (1_000_000, "0.1"), "output": (100_000, "0.4")}
    fill(
        ledger,
        [
            call(START, "google-vertex", "gemini-2.5-pro", **used),
            call(START, "google-vertex", "gemini-2.5-flash-lite", **lite),
        ],
    )
    rows = (
        google("Vertex AI", "Gemini 2.5 Pro Text Input - Predictions", 1.25),
        google("Vertex AI", "Gemini 2.5 Pro Text Output - Predictions", 0.5),
        google(
            "Vertex AI",
            "Gemini 2.5 Pro Thinking Text Output - Predictions",
            0.5,
            credits=[{"name": "Promotion", "amount": -0.2}],
        ),
        google("Vertex AI", "Gemini 2.5 Flash Lite Text Input - Predictions", 0.1),
        google("Vertex AI", "Gemini 2.5 Flash Lite Text Output - Predictions", 0.04),
        google("Compute Engine", "N2 Instance Core", 12.0),
    )
    for text in ("\n".join(json.dumps(row) for row in rows), json.dumps(rows)):
        shown = answer(ledger, "vertex_ai", text)
        assert (shown.ours_usd, shown.theirs_usd, shown.unexplained_usd) == ("2.39", "2.19", "0")
        assert {cause.name for item in shown.items for cause in item.causes} == {"credits"}
    flat = [
        {
            "service.description": row["service"]["description"], "sku.description": row["sku"]["description"],
            "usage_start_time": row["usage_start_time"], "cost": row["cost"], "cost_type": "regular",
        }
        for row in rows
    ]  # fmt: skip
    assert answer(ledger, "vertex_ai", table(*flat)).theirs_usd == "2.39"


@each_row(
    ("provider", "said", "model"),
    [
        ("aws", "Claude Sonnet 4.5 (Amazon Bedrock Edition)", "claude-sonnet-4-5"),
        (
            "aws",
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
            "claude-sonnet-4-5",
        ),
        ("aws", "USE1-Nova2.0Lite-input-tokens", "nova-2-lite"),
        ("aws", "regional.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("google-vertex", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("google-vertex", "Gemini 2.5 Flash Image Input - Predictions", "gemini-2.5-flash"),
        ("aws", "USE1-Llama3-70B-input-tokens", "llama3-70b"),
        ("aws", "USW2-NovaLite-input-tokens", "nova-lite"),
        ("aws", "USE1-TitanTextG1-Lite-input-tokens", "titan-text-lite"),
        ("aws", "Claude 2.1 (Amazon Bedrock Edition)", "claude"),
        ("aws", "Cohere Rerank 3.5", "rerank-v3-5"),
        ("google-vertex", "Gemini 2.5 Flash Lite Text Output - Predictions", "gemini-2.5-flash-lite"),
        ("google", "Generate content output token count gemini 2.5 flash text output", "gemini-2.5-flash"),
        ("openai", "a-model-of-tomorrow", "a-model-of-tomorrow"),
    ],
)
def test_one_name_for_a_model(provider: str, said: str, model: str) -> None:
    assert namer(BOOK, provider, START)(said) == model


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("aws", "Claude Sonnet 4.97 (Amazon Bedrock Edition)"),
        ("aws", "USE1-Nova97Pro-input-tokens"),
        ("azure", "Claude 3.5 Sonnet v2"),
        ("azure", "gpt 5.97 inp Glbl"),
        ("google", "Gemini 97.5 Pro Text Input"),
    ],
)
def test_a_model_of_tomorrow_is_none_of_its_elder_sisters(provider: str, said: str) -> None:
    assert namer(BOOK, provider, START)(said) == said.lower()


@pytest.mark.parametrize("currency", ["EUR", "jpy"])
def test_amounts_in_another_currency_are_refused(currency: str) -> None:
    with pytest.raises(BadQuestion, match=currency):
        read_statement(table(aws("EUC1-NovaPro-input-tokens", "1", line_item_currency_code=currency)), "aws")
    with pytest.raises(BadQuestion, match=currency):
        read_statement(
            json.dumps([google("Vertex AI", "Gemini 2.5 Pro Text Input", 1.0, currency=currency)]), "google-vertex"
        )


def test_a_cost_tables_currency_stands_in_its_head() -> None:
    def cost_table(head: str) -> str:
        return f'Service description,SKU description,Usage start date,{head}\nVertex AI,Gemini 2.5 Pro Text Input,{DAY},"1,234.5"\n'

    for head in ("Cost ($)", "Unrounded Cost (US$)", "Cost (USD)", "Cost"):
        (line,) = read_statement(cost_table(head), "google-vertex").lines
        assert str(line.usd) == "1234.5"
    for head in ("Cost (€)", "Unrounded Cost (EUR)", "Cost (CA$)"):
        with pytest.raises(BadQuestion, match="only USD can be compared"):
            read_statement(cost_table(head), "google-vertex")
    with pytest.raises(BadQuestion, match="no column `cost`"):
        read_statement(cost_table("List cost"), "google-vertex")


@pytest.mark.parametrize("cost", ["0,25", "1.234,50", "12,34", "1,2,3", "0,123"])
def test_a_decimal_comma_is_no_hundred_times_as_much(cost: str) -> None:
    with pytest.raises(BadQuestion, match="comma"):
        read_statement(table(aws("EUC1-NovaPro-input-tokens", cost)), "aws")


@pytest.mark.parametrize("moment", ["1e999999999", "-1e999999999", "1e40", "1e-999999999"])
def test_a_moment_of_any_size_is_worked_with_at_once(moment: str) -> None:
    text = f'{{"data": [{{"start_time": {moment}, "results": [{{"input_tokens": 1}}]}}]}}'
    with pytest.raises(BadQuestion):
        read_statement(text, "openai")


@pytest.mark.parametrize("between", ["\u2028", "\x0b", "\x85", "\x1c"])
def test_what_only_looks_like_a_lines_end_is_in_its_row(between: str) -> None:
    row = aws("EUC1-NovaPro-input-tokens", "0.4", line_item_line_item_description=f"Amazon Bedrock{between}tokens")
    (line,) = read_statement(table({"line_item_line_item_description": ""} | row), "aws").lines
    assert (str(line.usd), line.day) == ("0.4", DAY)
