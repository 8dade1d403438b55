"""Exports of providers' consoles and clouds: each is told by its columns, read line by line, and compared with our own calls.

The files are written as their documentation and published files have them; every value is made up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from pricing.load import load_book
from proxy.ledger.database import open_ledger
from proxy.reports.calendar import zone_named
from proxy.reports.reconcile.answer import ReconcileQuestion, ReconcileShown, reconcile_answer
from proxy.reports.reconcile.stated import Stated, tier_named
from proxy.reports.reconcile.statement import read_statement
from proxy.times import BadQuestion
from tests.support.bought import bought, with_row
from tests.support.made_up import START, fill
from tests.support.rows import each_row

from .test_comparison import DAY_US, LATER, adds_up, at_its_ceiling, call, causes

BOOK = load_book()
OPENAI_COSTS = (
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,quantity_unit,line_item,user_id,"
    "api_key_id,project_id,organization_id,project_name,organization_name,user_email,api_source\n"
)
OPENAI_USAGE = (
    "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,batch,service_tier,"
    "input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens,input_text_tokens,output_text_tokens\n"
)
CONSOLE_COSTS = (
    "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type,"
    "inference_geo,speed,api_key_id,api_key_status\n"
)
CONSOLE_USAGE = (
    "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
    "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,"
    "web_search_count,inference_geo,speed\n"
)
OPENROUTER_DAYS = "Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens,Completion Tokens,Reasoning Tokens\n"
OPENROUTER_CALLS = (
    "generation_id,created_at,cost_total,cost_web_search,cost_cache,cost_file_processing,byok_usage_inference,tokens_prompt,"
    "tokens_completion,tokens_reasoning,tokens_cached,model_permaslug,provider_name,variant,cancelled,streamed,user\n"
)
AZURE = (
    "invoiceId,billingPeriodEndDate,date,serviceFamily,consumedService,meterId,meterName,meterCategory,meterSubCategory,"
    "ProductName,effectivePrice,quantity,unitOfMeasure,chargeType,billingCurrency,pricingCurrency,costInBillingCurrency,"
    "costInPricingCurrency,costInUsd,paygCostInBillingCurrency,paygCostInUsd\n"
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Engine]:
    engine = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield engine
    engine.dispose()


def answer(engine: Engine, provider: str, text: str) -> ReconcileShown:
    shown = reconcile_answer(engine, BOOK, ReconcileQuestion(provider, text), LATER).answer.shown
    assert isinstance(shown, ReconcileShown)
    adds_up(shown)
    return shown


def lines(provider: str, text: str, zone: str = "UTC") -> list[tuple[Any, ...]]:
    stated = read_statement(text, provider, zone_named(zone)).lines
    return [
        (line.day, line.model, line.line, str(line.usd), str(line.quantity), line.kind, line.tier) for line in stated
    ]


def openai_cost(usd: str, quantity: str, item: str) -> str:
    ends = "2026-11-23T00:00:00+00:00,2026-11-24T00:00:00+00:00"
    return f'1795392000,1795478400,{ends},{usd},usd,{quantity},tokens,"{item}",,,,org-1,,Personal,,\n'


def console_cost(usd: str, token_type: str, listed: str | None = None, usage_type: str = "message") -> str:
    return f"2026-11-23,Claude Haiku 4.5,Default,app,{usage_type},≤ 200k,{token_type},{usd},{listed or usd},token,global,,apikey_1,active\n"


def azure(meter: str, usd: str, quantity: str = "", sub: str = "Azure OpenAI", **more: str) -> str:
    row = {
        "date": "11/23/2026", "serviceFamily": "AI + Machine Learning", "consumedService": "Microsoft.CognitiveServices",
        "meterName": meter, "meterCategory": "Foundry Models", "meterSubCategory": sub, "quantity": quantity,
        "unitOfMeasure": "1K", "chargeType": "Usage", "billingCurrency": "USD", "costInBillingCurrency": usd, "costInUsd": usd,
    } | more  # fmt: skip
    return ",".join(row.get(name, "") for name in AZURE.strip().split(",")) + "\n"


# What is in each file


def test_openais_dashboard_has_costs_by_line_and_days_without_any() -> None:
    empty = "1795305600,1795392000,2026-11-22T00:00:00+00:00,2026-11-23T00:00:00+00:00,,,,,,,,,,,,,\n"
    text = OPENAI_COSTS + empty + openai_cost("0.00383598000000000000000000", "1000", "gpt-5-nano-2025-08-07, input")
    text += openai_cost("0.02", "3", "web search tool calls") + openai_cost("-0.5", "", "credit grant")
    assert lines("openai", text) == [
        ("2026-11-23", "gpt-5-nano-2025-08-07", "input", "0.00383598000000000000000000", "1000", "charge", None),
        ("2026-11-23", None, "web_search", "0.02", "3", "charge", None),
        ("2026-11-23", None, "credit grant", "-0.5", "None", "credit", None),
    ]


def test_openais_dashboard_has_usage_with_its_batches() -> None:
    begins = "1795392000,1795478400,2026-11-23T00:00:00+00:00,2026-11-24T00:00:00+00:00"
    text = (
        OPENAI_USAGE
        + f"{begins},proj_1,8.0,user-1,key_1,gpt-5-2025-08-07,TRUE,default,46264.0,60000.0,8192.0,38072.0,1,1\n"
    )
    text += f"{begins},,,,,,,,,,,,,\n"
    assert [line[1:] for line in lines("openai", text)] == [
        ("gpt-5-2025-08-07", "input", "None", "38072.0", "charge", "batch"),
        ("gpt-5-2025-08-07", "cache_read", "None", "8192.0", "charge", "batch"),
        ("gpt-5-2025-08-07", "cache_write", "None", "0", "charge", "batch"),
        ("gpt-5-2025-08-07", "output", "None", "60000.0", "charge", "batch"),
    ]


def test_anthropics_console_has_costs_under_the_names_that_people_read() -> None:
    text = CONSOLE_COSTS + console_cost("0.05", "input_no_cache") + console_cost("0.10", "input_cache_read", "1.00")
    text += console_cost("0.30", "input_cache_write_5m") + console_cost("0.02", "output", usage_type="batch")
    text += "2026-11-23,Claude 3.5 Sonnet 2024-10-22,Default,app,message,,,0.01,0.01,web_search,,,apikey_1,active\n"
    assert [line[1:] for line in lines("anthropic", text)] == [
        ("claude-haiku-4-5", "input", "0.05", "None", "charge", None),
        ("claude-haiku-4-5", "cache_read", "0.10", "None", "charge", None),
        ("claude-haiku-4-5", "cache_write", "0.30", "None", "charge", None),
        ("claude-haiku-4-5", "output", "0.02", "None", "charge", "batch"),
        ("claude-3-5-sonnet-20241022", "web_search", "0.01", "None", "charge", None),
    ]
    assert [str(line.listed) for line in read_statement(text, "anthropic").lines][:2] == ["0.05", "1.00"]


def test_anthropics_console_has_usage() -> None:
    text = CONSOLE_USAGE + "2026-11-23,claude-opus-4-6,app,Default,standard,≤ 200k,46981,15969,5,7,16932,2,global,\n"
    assert [line[2:5] for line in lines("anthropic", text)] == [
        ("input", "None", "46981"), ("cache_read", "None", "7"), ("cache_write", "None", "15969"),
        ("cache_write", "None", "5"), ("output", "None", "16932"), ("web_search", "None", "2"),
    ]  # fmt: skip


def test_openrouters_page_has_days_and_calls() -> None:
    days = OPENROUTER_DAYS + '"2026-11-23 00:00:00","openai/gpt-5","430.07","0","4115","70965665","3009973","0"\n'
    calls = OPENROUTER_CALLS + (
        "gen-1,2026-11-23 23:46:57.713,0.0123,,,,0,10389,137,,,openai/gpt-5,OpenAI,standard,false,true,\n"
        "gen-2,2026-11-23T10:00:00Z,0,,,,0,12,7,,,openai/gpt-oss-120b,Groq,free,false,true,\n"
    )
    assert lines("openrouter", days) == [("2026-11-23", "openai/gpt-5", None, "430.07", "73975638", "charge", None)]
    assert [line[:5] for line in lines("openrouter", calls)] == [
        ("2026-11-23", "openai/gpt-5", None, "0.0123", "10526"),
        ("2026-11-23", "openai/gpt-oss-120b:free", None, "0", "19"),
    ]
    assert [line[0] for line in lines("openrouter", calls, "Europe/Berlin")] == ["2026-11-24", "2026-11-23"]


def test_azures_meters_are_models_lines_and_tiers() -> None:
    text = AZURE + "".join(
        (
            azure("gpt 4.1 nano cached Inp glbl Tokens", "0.5", "20000"),
            azure("5.4 opt Dz 1M Tokens", "3", "0.2", "Azure OpenAI GPT5", unitOfMeasure="1M"),
            azure("GPT 5 Batch Inpt Glbl 1M Tokens", "1.25", "2", "Azure OpenAI GPT5", unitOfMeasure="1M"),
            azure("o4-mini 0416 PP Inp glbl Tokens", "-2", "1", chargeType="Refund", date="2026-11-24"),
            azure("D2s v5", "99", "24", sub="Dsv5 Series", meterCategory="Virtual Machines"),
        )
    )
    assert lines("azure", text) == [
        ("2026-11-23", "gpt 4.1 nano cached Inp glbl", "cache_read", "0.5", "20000000", "charge", None),
        ("2026-11-23", "gpt 5.4 opt Dz", "output", "3", "200000.0", "charge", None),
        ("2026-11-23", "GPT 5 Batch Inpt Glbl", "input", "1.25", "2000000", "charge", "batch"),
        ("2026-11-24", "o4-mini 0416 PP Inp glbl", "input", "-2", "None", "credit", "priority"),
    ]


def test_cost_explorer_by_usage_type_and_by_service() -> None:
    by_type = (
        '"Usage type","USE1-NovaPro-input-tokens($)","USE1-NovaPro-output-tokens-batch($)","BoxUsage:m7i.large($)","Total costs($)"\n'
        '"Usage type total","0.8","0.1","12","12.9"\n"2026-11-23","0.8","","12","12.8"\n"2026-11-24","","0.1","","0.1"\n'
    )
    assert [(*line[:4], line[6]) for line in lines("aws", by_type)] == [
        ("2026-11-23", "USE1-NovaPro-input-tokens", "input", "0.8", None),
        ("2026-11-24", "USE1-NovaPro-output-tokens-batch", "output", "0.1", "batch"),
    ]
    of_services = '"Service","Bedrock($)","Claude Sonnet 4.5 (Amazon Bedrock Edition)($)","Tax($)","Total costs($)"\n"Service total","1","2","3","6"\n'
    assert [line[1:4] for line in lines("aws", of_services + '"2026-11-23","1","2","3","6"\n')] == [
        (None, None, "1"),
        (None, None, "2"),
    ]
    alone = of_services.replace('"Bedrock($)",', "").replace('"1",', "", 1)
    assert lines("aws", alone + '"2026-11-23","2","3","5"\n')[0][1] == "Claude Sonnet 4.5 (Amazon Bedrock Edition)"


@each_row(
    ("text", "said"),
    [
        ('Service,Bedrock($),Total costs($)\nService total,1,1\n2026-10-01,1,1\n2026-11-01,1,1\n', "daily granularity"),
        ('Region,us-east-1($),Total costs($)\nRegion total,1,1\n2026-11-23,1,1\n', "group it by Service"),
        ('Service,Bedrock(€),Total costs(€)\nService total,1,1\n2026-11-23,1,1\n', "'€'; only USD"),
        ("Service,EC2-Instances($),Total costs($)\nService total,1,1\n2026-11-23,1,1\n", "no line with a cost or a usage of aws"),
        ("foo,bar\n1,2\n", "none of the exports that are known: it has foo, bar; known are a FOCUS table"),
        ("usage_date_utc,model\n2026-11-23,x\n", "it has usage_date_utc, model; costs of Anthropic's Console would be nearest, and has also cost_usd"),
        ("date,cost\n2026-11-23,1\n", "it has date, cost; a table of days, models and costs would be nearest, and has also model or"),
        ('{"data": [{"start_time": 1, "things": []}]}', "it has start_time, things; OpenAI's costs or usage would be nearest, and has also results"),
        ("date,model,cost\n2026-11-23,x,1\n2026-11-23,y,much\n", "cannot be read at line 3: 'much' is not a number"),
        ('[{"start_time": 1795392000, "results": []}, {"start_time": 1795392000}]', "at item 2: 'results' is not there"),
        (AZURE + azure("GPT 5 Inpt Glbl Tokens", "1", costInUsd="", billingCurrency="EUR"), "'EUR'; only USD"),
        (AZURE + azure("GPT 5 Inpt Glbl Tokens", "1", date="23/11/2026"), "at line 2: month must be in 1..12"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_with_what_was_seen(text: str, said: str) -> None:
    with pytest.raises(BadQuestion) as refused:
        read_statement(text, "aws")
    assert said in str(refused.value)


def test_a_table_with_days_models_and_costs_will_do() -> None:
    assert read_statement("day,model,cost\n2026-11-23,gpt-5,1.5\n", "openai").lines == [
        Stated("2026-11-23", "gpt-5", None, read_statement("day,model,cost\n2026-11-23,x,1.5\n", "x").lines[0].usd)
    ]


@pytest.mark.parametrize("between", [";", "\t"])
def test_a_table_that_a_spreadsheet_wrote_again_is_read(between: str) -> None:
    text = "day,model,cost\n2026-11-23,gpt-5,1.5\n"
    assert lines("openai", text.replace(",", between)) == lines("openai", text)
    with pytest.raises(BadQuestion, match="at line 2: '1,5' has a comma"):
        read_statement(text.replace(",", between).replace("1.5", "1,5"), "openai")


def test_googles_export_in_another_currency_has_its_rate() -> None:
    row = {
        "service": {"description": "Vertex AI"}, "sku": {"description": "Gemini 2.5 Pro Text Input - Batch Predictions"},
        "usage_start_time": "2026-11-23 05:00:00 UTC", "cost": 1.2, "currency": "EUR", "currency_conversion_rate": 0.8,
        "cost_type": "regular", "credits": [{"name": "Promotion", "amount": -0.4}], "usage": {"amount": 7, "unit": "count"},
    }  # fmt: skip
    assert [line[2:] for line in lines("google-vertex", json.dumps(row))] == [
        ("input", "1.5", "7", "charge", "batch"),
        ("input", "-0.5", "None", "credit", None),
    ]


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        ("USE1-NovaPro-input-tokens-batch", "batch"),
        ("priority", "priority"),
        ("FlexTier", "flex"),
        ("default", None),
        (None, None),
    ],
)
def test_tiers_are_told_by_their_words(text: str | None, tier: str | None) -> None:
    assert tier_named(text) == tier


# Compared with our own


def haiku(**used: tuple[int, str]) -> Any:
    return call(START, "anthropic", "claude-haiku-4-5-20251001", **used)


def test_a_console_to_the_cent_is_compared_by_model_and_line(ledger: Engine) -> None:
    fill(ledger, [haiku(input=(1_234_567, "1"), output=(10_000, "5"))])
    shown = answer(
        ledger, "anthropic", CONSOLE_COSTS + console_cost("1.23", "input_no_cache") + console_cost("0.05", "output")
    )
    assert (shown.unexplained_usd, causes(shown)) == ("0", {"rounding": "-0.004567"})
    assert [(item.model, item.line_item) for item in shown.items] == [
        ("claude-haiku-4-5", "input"),
        ("claude-haiku-4-5", "output"),
    ]


@pytest.mark.parametrize("quantities", [True, False])
def test_tokens_that_only_the_provider_has_as_cached_are_named(ledger: Engine, quantities: bool) -> None:
    """We have 1,000,000 + 400,000, they have 900,000 + 500,000: 0.125 less and 0.0125 more."""
    fill(ledger, [call(START, "openai", "gpt-5", input=(1_000_000, "1.25"), cache_read=(400_000, "0.125"))])
    text = OPENAI_COSTS + openai_cost("1.125", "900000" if quantities else "", "gpt-5-2025-08-07, input")
    shown = answer(
        ledger, "openai", text + openai_cost("0.0625", "500000" if quantities else "", "gpt-5-2025-08-07, cached input")
    )
    assert (shown.unexplained_usd, causes(shown)) == ("0", {"cached tokens": "-0.1125"})


def test_cached_tokens_that_we_never_saw_need_the_files_quantities(ledger: Engine) -> None:
    fill(ledger, [call(START, "openai", "gpt-5", input=(1_000_000, "1.25"))])
    text = (
        OPENAI_COSTS
        + openai_cost("0.75", "600000", "gpt-5, input")
        + openai_cost("0.05", "400000", "gpt-5, cached input")
    )
    assert causes(answer(ledger, "openai", text)) == {"cached tokens": "-0.45"}


def test_a_difference_of_cached_tokens_that_does_not_add_up_is_none(ledger: Engine) -> None:
    fill(ledger, [call(START, "openai", "gpt-5", input=(1_000_000, "1.25"), cache_read=(400_000, "0.125"))])
    text = OPENAI_COSTS + openai_cost("1.125", "", "gpt-5, input") + openai_cost("0.25", "", "gpt-5, cached input")
    assert "cached tokens" not in causes(answer(ledger, "openai", text))


def test_a_batch_that_we_had_at_the_standard_price_is_named(ledger: Engine) -> None:
    fill(ledger, [haiku(output=(1_000_000, "5"))])
    half = CONSOLE_COSTS + console_cost("2", "output") + console_cost("1.5", "output", usage_type="batch")
    assert causes(answer(ledger, "anthropic", half)) == {"batch tier": "-1.5"}
    less = CONSOLE_COSTS + console_cost("1", "output") + console_cost("1.5", "output", usage_type="batch")
    shown = answer(ledger, "anthropic", less)
    assert (causes(shown), shown.unexplained_usd) == ({"batch tier": "-1.5"}, "1")


def test_a_priority_call_that_we_had_at_the_standard_price_is_named(ledger: Engine) -> None:
    fill(ledger, [call(START, "azure", "gpt-5", input=(1_000_000, "1.25"))])
    text = AZURE + azure("GPT 5 PP Inpt Glbl 1M Tokens", "2.5", "1", "Azure OpenAI GPT5", unitOfMeasure="1M")
    shown = answer(ledger, "azure", text)
    assert (causes(shown), shown.items[0].model) == ({"priority tier": "1.25"}, "gpt-5")


def test_a_price_that_differs_in_the_same_tier_is_left_unexplained(ledger: Engine) -> None:
    made = with_row(call(START, "azure", "gpt-5", input=(1_000_000, "2.5")), service_tier="priority")
    fill(ledger, [made])
    text = AZURE + azure("GPT 5 PP Inpt Glbl 1M Tokens", "2.7", "1", "Azure OpenAI GPT5", unitOfMeasure="1M")
    shown = answer(ledger, "azure", text)
    assert (causes(shown), shown.unexplained_usd) == ({}, "0.2")
    standard = AZURE + azure("GPT 5 Inpt Glbl 1M Tokens", "2.7", "1", "Azure OpenAI GPT5", unitOfMeasure="1M")
    assert causes(answer(ledger, "azure", standard)) == {}


def test_an_accounts_discount_is_named_up_to_what_the_file_says(ledger: Engine) -> None:
    fill(ledger, [haiku(output=(1_000_000, "5"))])
    shown = answer(ledger, "anthropic", CONSOLE_COSTS + console_cost("4", "output", "4.5"))
    assert (causes(shown), shown.unexplained_usd) == ({"discount": "-0.5"}, "0.5")


def test_calls_without_a_price_are_no_calls_past_us(ledger: Engine) -> None:
    unpriced = with_row(
        bought(START, "0", {"output": 1_000_000}, provider="anthropic", model="claude-haiku-4-5"),
        cost_nanousd=None,
        cost_lines=None,
    )
    fill(ledger, [unpriced])
    text = CONSOLE_COSTS + console_cost("5", "output")
    shown = answer(ledger, "anthropic", text)
    assert causes(shown) == {"no price here": "5"}
    assert [(item.ours_usd, item.difference_usd) for item in shown.items] == [(None, None)], "not 0: nobody knows it"
    assert (shown.ours_usd, shown.difference_usd, shown.unexplained_usd) == (None, None, "0")
    fill(ledger, [call(START, "anthropic", "claude-haiku-4-5", input=(1_000_000, "1"))])
    assert answer(ledger, "anthropic", text).ours_usd == "1", "what is known of it"
    assert answer(ledger, "openrouter", "Date,Model,Cost\n2026-11-23,a,5\n").ours_usd == "0", "no call at all"


def test_a_bill_of_somebody_else_is_refused(ledger: Engine) -> None:
    fill(ledger, [call(START, "openai", "gpt-5", output=(1_000_000, "5"))])
    with pytest.raises(
        BadQuestion, match="is costs of Anthropic's Console, which is no bill of openai: name anthropic"
    ):
        answer(ledger, "openai", CONSOLE_COSTS + console_cost("5", "output"))
    assert not answer(ledger, "openai", "day,model,cost\n2026-11-23,gpt-5,5\n").about.caveats


def test_what_somebody_else_bills_for_a_provider_of_ones_own_settles_nothing(ledger: Engine) -> None:
    """What it lacks of our calls is no sign that they cost nothing."""
    fill(
        ledger,
        [call(START, "gateway", "gpt-5", output=(1_000_000, "5")), at_its_ceiling(START, "0.6", "gateway", "o3")],
    )
    text = OPENAI_COSTS + openai_cost("5", "", "gpt-5, output")
    shown = answer(ledger, "gateway", text)
    assert "the file is OpenAI's costs, of its dashboard, and was compared with calls to gateway" in shown.about.caveats
    assert (shown.settled, [left.why for left in shown.not_settled]) == ([], ["the file is no bill of gateway"])
    ours = call(START, "openai", "gpt-5", output=(1_000_000, "5"))
    fill(ledger, [ours, at_its_ceiling(START, "0.6", "openai", "gpt-5")])
    assert len(answer(ledger, "openai", text).settled) == 1


def test_cost_explorer_is_compared_with_bedrocks_calls(ledger: Engine) -> None:
    fill(ledger, [call(START + n * DAY_US, "aws", "amazon.nova-pro-v1:0", input=(1_000_000, "0.8")) for n in range(2)])
    text = "Usage type,USE1-NovaPro-input-tokens($),Total costs($)\nUsage type total,1.6,1.6\n2026-11-23,0.8,0.8\n2026-11-24,0.8,0.8\n"
    shown = answer(ledger, "bedrock", text)
    assert (shown.ours_usd, shown.theirs_usd, shown.unexplained_usd, causes(shown)) == ("1.6", "1.6", "0", {})
