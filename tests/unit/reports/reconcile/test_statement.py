"""What a file's rows may look like, whoever wrote it: what would be read wrongly is refused with what to do."""

from __future__ import annotations

import pytest

from proxy.reports.calendar import zone_named
from proxy.reports.reconcile.stated import Stated
from proxy.reports.reconcile.statement import read_statement
from proxy.times import BadQuestion

LA = "America/Los_Angeles"


def line(text: str, provider: str = "other", zone: str = "UTC") -> Stated:
    return read_statement(text, provider, zone_named(zone)).lines[0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("date,model,cost\n2026-11-23,a,1,234.56\n", "line 2: the row has more columns than the head"),
        ("date,model,cost\n2026-11-23,a,1\n2026-11-24,a", "line 3: the row has fewer columns than the head"),
        ("date,model,cost,Cost ($)\n2026-11-23,a,5,6\n", "the file has the column cost 2 times"),
        ("date,model,cost,currency\n2026-11-23,a,1,EUR\n", "amounts are in 'EUR'"),
        ("date,model,usage,Currency\n2026-11-23,a,1,EUR\n", "amounts are in 'EUR'"),
        ('["a"]', "the file is JSON without objects"),
        ('{"data": ["a"]}', "the file is JSON without objects"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(text: str, what: str) -> None:
    with pytest.raises(BadQuestion, match=what):
        line(text)


def test_a_separator_behind_the_last_column_and_lines_before_the_head_do_not_matter() -> None:
    assert line("\n\r\ndate,model,cost\n2026-11-23,a,1,\n").usd == 1


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        ("2026-11-23T23:30:00-05:00", "UTC", "2026-11-24"),
        ("2026-11-23T02:30:00Z", LA, "2026-11-22"),
        ("2026-11-23 02:30:00.123456+00", LA, "2026-11-22"),
        ("2026-11-23 02:30:00", LA, "2026-11-23"),
        ("1795393800", LA, "2026-11-22"),
    ],
)
def test_a_moment_is_of_the_day_of_the_zone(moment: str, zone: str, day: str) -> None:
    """Its offset had been cut off."""
    assert line(f"created_at,model,cost\n{moment},a,1\n", zone=zone).day == day


@pytest.mark.parametrize(
    ("provider", "text"),
    [
        ("other", "date,model,cost\n2026-11-23,a,-1\n"),
        ("openrouter", "generation_id,created_at,cost_total,model_permaslug\ng,2026-11-23 01:00:00,-1,a\n"),
        ("azure", "date,meterName,chargeType,costInUsd,meterCategory\n11/23/2026,gpt Tokens,Usage,-1,Azure OpenAI\n"),
        ("other", "ChargePeriodStart,BilledCost,BillingCurrency,ResourceName\n2026-11-23,-1,USD,a\n"),
        ("anthropic", "usage_date_utc,model,cost_usd\n2026-11-23,Claude Haiku 4.5,-1\n"),
        ("openai", 'start_time,amount_value,amount_currency,line_item\n1795392000,-1,usd,"gpt-5, input"\n'),
    ],
)
def test_less_than_nothing_is_a_credit(provider: str, text: str) -> None:
    """And no call that cost less than its ceiling."""
    assert line(text, provider).kind == "credit"
