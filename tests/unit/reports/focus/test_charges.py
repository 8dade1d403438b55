"""FOCUS rows: the columns of the specification, values that fit, and sums that are the ledger's to the nano-dollar."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import Entry
from proxy.reports.focus.charges import charges, daily_charges
from proxy.reports.focus.columns import VERSIONS, Version, meter_of
from proxy.reports.focus.rows import FocusQuestion, FocusShown, Row, focus_answer
from proxy.reports.reprice.repriced import reprice
from proxy.reports.spend import spend
from tests.support.bought import bought, with_row
from tests.support.machines import MORNING, simulate
from tests.support.made_up import START, fill, made_up
from tests.unit.reports.reprice.test_repriced import BOOK

DAY_US = 86_400_000_000
NANO = 1_000_000_000

# From the published column lists: mandatory columns, and which of them may be null.
_MANDATORY = (
    "BilledCost BillingAccountId BillingAccountName? BillingCurrency BillingPeriodStart BillingPeriodEnd ChargeCategory "
    "ChargeClass? ChargeDescription? ChargePeriodStart ChargePeriodEnd ContractedCost EffectiveCost InvoiceIssuerName ListCost "
    "PricingQuantity? PricingUnit? ServiceCategory ServiceName "
)
MANDATORY = {
    "1.4": (_MANDATORY + "HostProviderName? ServiceProviderName").split(),
    "1.2": (_MANDATORY + "ProviderName PublisherName").split(),
}
ALLOWED = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"Standard", "Dynamic", "Committed", "Other"},
    "BillingCurrency": {"USD"},
}
_DECIMAL = re.compile(r"-?\d+(\.\d+)?\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT00:00:00Z\Z")


@pytest.fixture
def ledger(database: str) -> Any:
    engine = open_ledger(database)
    yield engine
    engine.dispose()


def shown(engine: Engine, version: Version = "1.4", days: int = 30, **more: Any) -> FocusShown:
    answer = focus_answer(engine, FocusQuestion(version, START - DAY_US, START + days * DAY_US, **more), START).shown
    assert isinstance(answer, FocusShown)
    return answer


def billed(rows: Sequence[Row]) -> int:
    return int(sum(Decimal(row["BilledCost"] or "x") for row in rows) * NANO)


def check(rows: Sequence[Row], version: Version) -> None:
    """What the specification says of each row."""
    for row in rows:
        for name in MANDATORY[version]:
            assert name.rstrip("?") in row
            assert row[name.rstrip("?")] or name.endswith("?"), name
        for name, allowed in ALLOWED.items():
            assert row[name] is None or row[name] in allowed
        for name, value in row.items():
            if name.endswith(("Cost", "Quantity", "UnitPrice")):
                assert value is None or _DECIMAL.match(value), name
            if name.endswith(("Start", "End")):
                assert _TIME.match(value or ""), name
        assert (row["PricingQuantity"] is None) == (row["PricingUnit"] is None)
        assert (row["ConsumedQuantity"] is None) == (row["ConsumedUnit"] is None)
        if row["SkuPriceId"] is None:
            assert not any(
                row[name] for name in ("SkuPriceDetails", "ListUnitPrice", "PricingQuantity", "PricingCategory")
            )
        else:
            product = Decimal(row["ListUnitPrice"] or "x") * Decimal(row["PricingQuantity"] or "x")
            assert product == Decimal(row["ListCost"] or "x")
            assert product == Decimal(row["ContractedCost"] or "x")
            assert all(key.startswith("x_") for key in json.loads(row["SkuPriceDetails"] or ""))


@pytest.mark.long
def test_every_row_is_as_the_specification_says_and_all_add_up_to_the_ledger(ledger: Engine) -> None:
    fill(ledger, made_up(900))
    (total,) = spend(ledger, [], None, None)
    for version in VERSIONS:
        answer = shown(ledger, version)

        check(answer.rows, version)
        assert billed(answer.rows) == total.cost_nanousd
        assert (answer.billed_usd, answer.capacity_usd) == (answer.price_usd, "0")
        sources = {row["x_CostSource"] for row in answer.rows}
        assert sources == {"price", "unpriced", "ceiling", "correction"}
        keys = [json.dumps({**row, "BilledCost": "", "EffectiveCost": "", "ListCost": ""}) for row in answer.rows]
        assert len(set(keys)) == len(keys)


def test_a_row_is_a_day_an_owner_a_model_and_a_unit(ledger: Engine) -> None:
    """By hand: 3 calls of 1,000,001 tokens at 0.0731 and 7 at 0.4099 USD a million; each call costs 73,103 + 2.8693 nano-USD."""
    lines = [
        {"unit": "input", "quantity": "1000001", "price_usd": "0.0731", "per": 1000000, "cost_usd": "0.0731000731"},
        {"unit": "output", "quantity": "7", "price_usd": "0.4099", "per": 1000000, "cost_usd": "0.0000028693"},
    ]
    calls = [
        with_row(bought(START + number, "0.073102942", customer="acme"), cost_lines=json.dumps(lines))
        for number in range(3)
    ]
    fill(ledger, [*calls, bought(START + DAY_US, "1", user="ida"), bought(START, "2", key="other", team=None)])

    rows = shown(ledger).rows

    assert len(rows) == 4
    took = next(row for row in rows if row["SkuMeter"] == "Input Tokens")
    assert {name: took[name] for name in (
        "ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodStart", "BillingPeriodEnd", "ConsumedQuantity", "ConsumedUnit",
        "PricingQuantity", "PricingUnit", "ListUnitPrice", "ListCost", "x_PrincipalId", "x_ConsumerId", "SubAccountId",
    )} == {
        "ChargePeriodStart": "2026-11-23T00:00:00Z", "ChargePeriodEnd": "2026-11-24T00:00:00Z",
        "BillingPeriodStart": "2026-11-01T00:00:00Z", "BillingPeriodEnd": "2026-12-01T00:00:00Z",
        "ConsumedQuantity": "3000003", "ConsumedUnit": "Tokens", "PricingQuantity": "3.000003", "PricingUnit": "1000000 Tokens",
        "ListUnitPrice": "0.0731", "ListCost": "0.2193002193", "x_PrincipalId": "app", "x_ConsumerId": "acme",
        "SubAccountId": "shop",
    }  # fmt: skip
    assert json.loads(took["SkuPriceDetails"] or "") == {
        "x_TokenDirection": "Input", "x_TokenCacheAction": "Uncached", "x_ModelId": "small", "x_Unit": "input",
        "x_Provider": "openai",
    }  # fmt: skip
    assert billed(rows) == 3 * 73_102_942 + 3 * NANO


def test_what_is_corrected_unpriced_or_charged_at_its_ceiling_is_said(ledger: Engine) -> None:
    ceiling = with_row(bought(START, "0.25", usage={}), status="unconfirmed", cost_lines=None)
    fill(ledger, [bought(START, "0.5"), bought(START, None), ceiling])
    corrections = [item.correction for item in reprice(ledger, BOOK, START, START + DAY_US).items]
    fill(ledger, corrections)

    rows = shown(ledger).rows

    by_source = {row["x_CostSource"]: row for row in rows}
    assert {source: (row["BilledCost"], row["ChargeClass"]) for source, row in by_source.items()} == {
        "price": ("0.5", None), "unpriced": ("0", None), "ceiling": ("0.25", None), "correction": ("-0.494", "Correction"),
    }  # fmt: skip
    assert by_source["unpriced"]["x_ConsumedTokens"] == "1100"
    assert "no price" in (by_source["unpriced"]["ChargeDescription"] or "")
    check(rows, "1.4")


def odd_lines() -> list[Any]:
    good = {"unit": "input", "quantity": "1", "price_usd": "1", "per": 1, "cost_usd": "1"}
    return [
        [good | {"quantity": "many"}], [good | {"per": 0}], [good | {"price_usd": "NaN"}], [good | {"cost_usd": "2"}], [3],
        [good, good], {"unit": "input"}, [{**good, "price_usd": "-1", "cost_usd": "-1"}], "text",
    ]  # fmt: skip


@pytest.mark.parametrize("lines", odd_lines(), ids=str)
def test_lines_that_are_no_quantity_at_a_price_lose_no_money(ledger: Engine, lines: Any) -> None:
    fill(ledger, [with_row(bought(START, "1"), cost_lines=json.dumps(lines))])

    (row,) = shown(ledger).rows

    assert (row["BilledCost"], row["SkuPriceId"]) == ("1", None)
    check([row], "1.4")


@pytest.mark.long
def test_own_machines_are_rows_and_idle_time_is_one(ledger: Engine) -> None:
    simulate(ledger, 150, seed=3, minutes=130)  # the second hour is an idle one
    since, until = MORNING, MORNING + DAY_US
    (total,) = spend(ledger, [], since, until)

    answer = focus_answer(ledger, FocusQuestion("1.4", since, until), until).shown

    assert isinstance(answer, FocusShown)
    shares = [row for row in answer.rows if row["x_CostSource"] == "capacity"]
    idle = [row for row in answer.rows if row["x_CostSource"] == "idle"]
    assert billed(shares) == total.capacity_nanousd > 0
    assert billed(idle) > 0
    assert {row["ResourceId"] for row in [*shares, *idle]} == {"pool"}
    assert all(row["AllocatedResourceId"] for row in shares if row["SubAccountId"])
    assert billed(answer.rows) == int(Decimal(answer.price_usd) * NANO) + int(Decimal(answer.capacity_usd) * NANO)
    check(answer.rows, "1.4")


@pytest.mark.parametrize(
    ("unit", "meter"),
    [
        ("input", ("Input Tokens", "Tokens", "Input", "Uncached")),
        ("cache_read", ("Cache Read Input Tokens", "Tokens", "Input", "Read")),
        ("cache_write_1h", ("Cache Write Input Tokens", "Tokens", "Input", "Write")),
        ("output", ("Output Tokens", "Tokens", "Output", None)),
        ("reasoning", ("Reasoning Output Tokens", "Tokens", "Output", None)),
        ("token_hour", ("Context Cache Storage", "Token-Hours", None, None)),
        ("web_search", ("Web Searches", "Web Searches", None, None)),
        ("audio_second", ("Audio Seconds", "Seconds", None, None)),
        ("odd_thing", ("Odd Things", "Odd Things", None, None)),
    ],
)
def test_units_have_the_names_of_the_draft(unit: str, meter: tuple[str | None, ...]) -> None:
    assert meter_of(unit) == meter


def test_labels_become_tags_where_they_are_asked_for(ledger: Engine) -> None:
    fill(ledger, [bought(START, "1", labels={"plan": "pro", "trace": str(n)}) for n in range(3)])

    (without,) = shown(ledger).rows
    (row,) = shown(ledger, tags=("plan",)).rows
    (ahead,) = shown(ledger, ahead=True).rows

    assert (without["Tags"], row["Tags"], row["BilledCost"]) == (None, '{"plan":"pro"}', "3")
    assert "x_ModelId" in (row["SkuPriceDetails"] or "")
    assert json.loads(ahead["SkuPriceDetails"] or "")["ModelId"] == "small"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    fill(engine, evil())
    engine.dispose()
    file = tmp_path / "taximeter.yaml"
    file.write_text(json.dumps({"ledger": f"sqlite:///{tmp_path}/ledger.db"}))
    return file


def evil() -> list[Entry]:
    return [bought(START, "1", customer="=HYPERLINK(1)"), bought(START, "-0.5", customer="b")]


def focus(config: Path, *more: str) -> Any:
    asked = ["report", "focus", "--config", str(config), "--since", "2026-11-23", "--until", "2026-11-24"]
    return CliRunner().invoke(app, [*asked, *more])


def test_the_file_is_csv_without_formulas(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "focus.csv"

    done = focus(config, "--version", "1.2", "--out", str(out))

    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert done.stdout == "2 rows of FOCUS 1.2: 0.5 USD (calls 0.5, own capacity 0).\n"
    assert sorted((row["x_ConsumerId"], row["BilledCost"]) for row in rows) == [("'=HYPERLINK(1)", "1"), ("b", "-0.5")]
    assert {row["PublisherName"] for row in rows} == {"openai"}
    assert "ServiceProviderName" not in rows[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--out", "x.pdf"), "--out must end in .csv or .parquet"),
        (("--version", "1.3"), "'1.3' is not a version of FOCUS that can be written: 1.4 or 1.2"),
        (("--ahead", "2"), "--ahead must be 1.5"),
        (("--tags", ",".join("abcdefghijkl")), "tags: at most 10 labels"),
    ],
)
def test_what_makes_no_sense_is_told(config: Path, more: tuple[str, ...], said: str) -> None:
    done = focus(config, *more)

    assert (done.exit_code, done.stderr.strip()) == (2, f"error: {said}")


def test_parquet_without_pyarrow_says_how_to_get_it(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    done = focus(config, "--out", str(tmp_path / "focus.parquet"))

    assert done.exit_code == 1
    assert "pip install 'taximeter[parquet]'" in done.stderr


def test_days_one_after_the_other_are_the_whole(tmp_path: Path) -> None:
    """As a file is written: in the memory of a day, and in the order of the days."""
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    fill(engine, made_up(300, hours=100))
    since, until = START + 3_600_000_000, START + 90 * 3_600_000_000

    days = list(daily_charges(engine, since, until))

    assert len(days) == 4
    assert all(len({kind.day_at for kind in day}) <= 1 for day in days)
    merged = {kind: amount for day in days for kind, amount in day.items()}
    assert merged == charges(engine, since, until)
    engine.dispose()
