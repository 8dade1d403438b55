"""Ours against providers' exports: planted gaps are named, each by its own name, and a clean file is clean."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from pricing.load import load_book
from proxy.cli.main import app
from proxy.cli.reports import reconcile
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import Entry
from proxy.ledger.notes.reconciliations import Reconciliation, keep_reconciliation, reconciliations_of
from proxy.reports.calendar import zone_named
from proxy.reports.reconcile.answer import ReconcileQuestion, ReconcileShown, reconcile_answer, tolerance_of
from proxy.reports.reconcile.stated import line_named
from proxy.reports.reconcile.statement import read_statement
from proxy.times import BadQuestion
from tests.support.bought import bought, with_row
from tests.support.made_up import START, fill
from tests.support.rows import each_row

FILES = Path(__file__).parents[3] / "fixtures" / "statements"
DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
BOOK = load_book()
LATER = START + 90 * DAY_US


def call(at: int, provider: str, model: str, **used: tuple[int, str]) -> Entry:
    """used: unit -> how many, and the price of a million."""
    lines = [
        {"unit": unit, "quantity": str(amount), "price_usd": price, "per": 1_000_000,
         "cost_usd": str(Decimal(price) * amount / 1_000_000)}
        for unit, (amount, price) in used.items()
    ]  # fmt: skip
    usd = str(sum(Decimal(line["cost_usd"]) for line in lines))
    usage = {unit: amount for unit, (amount, _) in used.items()}
    made = bought(at, usd, usage, provider=provider, model=model, model_requested=model)
    return with_row(made, cost_lines=json.dumps(lines))


def gpt(at: int, provider: str = "openai", model: str = "gpt-5") -> Entry:
    return call(at, provider, model, input=(1_000_000, "1.25"), cache_read=(400_000, "0.125"), output=(100_000, "10"))


def at_its_ceiling(at: int, usd: str, provider: str, model: str) -> Entry:
    made = bought(at, usd, {}, provider=provider, model=model, model_requested=model)
    return with_row(made, status="unconfirmed", cost_lines=None)


def openai() -> list[Entry]:
    return [gpt(START + n * DAY_US) for n in range(3)]


def haiku(at: int) -> list[Entry]:
    model = "claude-haiku-4-5"
    first = call(
        at, "anthropic", model, input=(700_000, "1"), cache_read=(1_000_000, "0.1"), cache_write_5m=(100_000, "1.25"),
        output=(80_000, "5"), reasoning=(20_000, "5"),
    )  # fmt: skip
    return [first, call(at + 23 * HOUR_US, "anthropic", model, input=(300_000, "1"))]


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield engine
    engine.dispose()


def compared(engine: Engine, provider: str, name: str, zone: str = "UTC") -> tuple[ReconcileShown, Fraction]:
    text = (FILES / name).read_text()
    found = reconcile_answer(engine, BOOK, ReconcileQuestion(provider, text, zone=zone_named(zone)), LATER)
    assert isinstance(found.answer.shown, ReconcileShown)
    return found.answer.shown, found.share


def causes(shown: ReconcileShown) -> dict[str, str]:
    return {cause.name: cause.usd for cause in shown.causes}


def adds_up(shown: ReconcileShown) -> None:
    for item in shown.items:
        explained = sum(Decimal(cause.usd) for cause in item.causes) + Decimal(item.unexplained_usd)
        assert Decimal(item.theirs_usd) - Decimal(item.ours_usd or 0) == explained
        assert item.difference_usd is None or Decimal(item.difference_usd) == explained
        assert (item.ours_usd is None) == (item.difference_usd is None)
    assert sum(Decimal(item.ours_usd or 0) for item in shown.items) == Decimal(shown.ours_usd or 0)


def test_a_clean_file_is_clean(ledger: Engine) -> None:
    """3 x (1.25 + 0.05 + 1) = 6.9; the file has 0.0000004 more a day, which is rounding."""
    fill(ledger, [*openai(), gpt(START, provider="azure"), gpt(START - DAY_US)])

    shown, share = compared(ledger, "openai", "openai_costs_clean.json")

    assert (shown.ours_usd, shown.theirs_usd, shown.unexplained_usd, share) == ("6.9", "6.9000012", "0", 0)
    assert causes(shown) == {"rounding": "0.0000012"}
    assert len(shown.items) == 9
    adds_up(shown)


def test_openai_costs_credits_unconfirmed_calls_and_calls_past_us(ledger: Engine) -> None:
    """The ceiling of 0.6 came to 200,000 x 1.25 a million = 0.25; 150,000 output tokens at 10 a million = 1.5 went past us."""
    fill(ledger, [*openai(), at_its_ceiling(START + DAY_US, "0.6", "openai", "gpt-5")])

    shown, share = compared(ledger, "openai", "openai_costs.json")

    assert causes(shown) == {"credits": "-0.4", "unconfirmed": "-0.35", "not through us": "1.5"}
    assert (shown.ours_usd, shown.theirs_usd, shown.unexplained_usd, share) == ("7.5", "8.25", "0", 0)
    past = next(item for item in shown.items if any(cause.name == "not through us" for cause in item.causes))
    assert (past.day, past.model, past.line_item, past.difference_usd) == ("2026-11-25", "gpt-5", "output", "1.5")
    adds_up(shown)


def test_a_provider_that_no_call_went_to_is_told(ledger: Engine) -> None:
    fill(ledger, [*openai(), gpt(START, provider="azure")])

    shown, _ = compared(ledger, "opnai", "openai_costs.json")

    assert "no call of that time went to opnai; calls went to azure, openai" in shown.about.caveats
    assert not [
        caveat for caveat in compared(ledger, "openai", "openai_costs.json")[0].about.caveats if "no call" in caveat
    ]


def test_openai_usage_is_valued_at_what_it_cost_us(ledger: Engine) -> None:
    fill(ledger, openai())

    shown, _ = compared(ledger, "openai", "openai_usage.json")

    assert causes(shown) == {"not through us": "0.5"}
    assert (shown.theirs_usd, shown.unexplained_usd) == ("7.4", "0")
    assert "quantities are valued" in shown.about.caveats[0]
    adds_up(shown)


def test_anthropics_cents_and_a_day_that_ends_elsewhere(ledger: Engine) -> None:
    """Its 23rd ends before our last call of 300,000 tokens: 0.3 is on its 24th."""
    fill(ledger, [entry for n in range(3) for entry in haiku(START + n * DAY_US)])

    shown, share = compared(ledger, "anthropic", "anthropic_cost_report.json")

    zoned = [(item.day, cause.usd) for item in shown.items for cause in item.causes if cause.name == "zone"]
    assert zoned == [("2026-11-23", "-0.3"), ("2026-11-24", "0.3")]
    assert (shown.ours_usd, shown.theirs_usd, shown.unexplained_usd, share) == ("5.175", "5.175", "0", 0)
    adds_up(shown)


def test_openrouter_to_the_cent_and_a_model_that_we_do_not_know(ledger: Engine) -> None:
    model = "openai/gpt-5"
    fill(
        ledger,
        [
            call(START + n * DAY_US, "openrouter", model, input=(1_000_000, "1.2515"), output=(100_000, "10"))
            for n in range(3)
        ],
    )

    shown, share = compared(ledger, "openrouter", "openrouter_activity.csv")

    assert causes(shown) == {"rounding": "-0.0045", "not through us": "0.75"}
    assert share == 0
    assert {item.line_item for item in shown.items} == {None}
    adds_up(shown)


def test_a_focus_file_with_a_correction_and_a_tax(ledger: Engine) -> None:
    """No call of ours has a tax: it is named, and counts as nothing unexplained. Other services of the cloud are none of ours."""
    model = "claude-sonnet-4-5"
    fill(
        ledger,
        [call(START + n * DAY_US, "aws", model, input=(1_000_000, "3"), output=(100_000, "15")) for n in range(3)],
    )

    shown, share = compared(ledger, "aws", "focus_bedrock.csv")

    assert causes(shown) == {"late corrections": "-0.2", "taxes": "0.9"}
    assert Decimal(shown.theirs_usd) == Decimal("14.2")
    assert (shown.unexplained_usd, share) == ("0", 0)
    adds_up(shown)


def test_a_price_that_differs_is_left_unexplained(ledger: Engine) -> None:
    fill(ledger, [call(START + n * DAY_US, "openai", "gpt-5", input=(1_000_000, "1.2"), cache_read=(400_000, "0.125"), output=(100_000, "10")) for n in range(3)])  # fmt: skip

    shown, share = compared(ledger, "openai", "openai_costs_clean.json")

    assert (shown.unexplained_usd, causes(shown)) == ("0.15", {"rounding": "0.0000012"})
    assert share == Fraction("0.15") / Fraction("6.9000012")


def test_round_amounts_are_not_rounded_ones(ledger: Engine) -> None:
    """A file whose amounts happen to have one decimal is no file that is rounded to ten cents."""
    fill(ledger, [call(START, "openai", "gpt-5", input=(1_000_000, "1.27"))])
    rows = [{"amount": {"value": 1.3, "currency": "usd"}, "line_item": "gpt-5, input"}]
    text = json.dumps({"data": [{"start_time": START // 1_000_000, "results": rows}]})

    shown = reconcile_answer(ledger, BOOK, ReconcileQuestion("openai", text), LATER).answer.shown

    assert isinstance(shown, ReconcileShown)
    assert (shown.unexplained_usd, shown.causes) == ("0.03", [])


def test_our_own_focus_file_is_what_we_have(ledger: Engine, tmp_path: Path) -> None:
    fill(ledger, [*openai(), at_its_ceiling(START, "0.6", "openai", "gpt-5")])
    (tmp_path / "taximeter.yaml").write_text(json.dumps({"ledger": str(ledger.url)}))
    common = ["--config", str(tmp_path / "taximeter.yaml")]
    out = str(tmp_path / "focus.csv")
    period = ["--since", "2026-11-23", "--until", "2026-11-26"]
    assert CliRunner().invoke(app, ["report", "focus", *common, *period, "--out", out]).exit_code == 0

    done = CliRunner().invoke(app, ["report", "reconcile", "openai", out, *common, "--format", "json"])

    shown = json.loads(done.stdout)
    assert (done.exit_code, shown["ours_usd"], shown["theirs_usd"]) == (0, "7.5", "7.5")
    assert shown["unexplained_usd"] == "0"


def test_the_exit_code_is_what_is_unexplained(ledger: Engine, tmp_path: Path) -> None:
    fill(ledger, [call(START, "openai", "gpt-5", input=(1_000_000, "1.2"))])
    (tmp_path / "taximeter.yaml").write_text(json.dumps({"ledger": str(ledger.url)}))
    body = {"data": [{"start_time": START // 1_000_000, "results": [{"amount": {"value": 1.3, "currency": "usd"}, "line_item": "gpt-5, input"}]}]}  # fmt: skip
    file = tmp_path / "costs.json"
    file.write_text(json.dumps([body]))
    asked = ["report", "reconcile", "openai", str(file), "--config", str(tmp_path / "taximeter.yaml")]

    strict, lax = CliRunner().invoke(app, asked), CliRunner().invoke(app, [*asked, "--tolerance", "8%"])
    file.write_bytes(gzip.compress(file.read_bytes()))
    packed = CliRunner().invoke(app, asked)
    for name, others in (("one", ()), ("two", ("readme.txt",))):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("costs.json", json.dumps([body]))
            for other in others:
                archive.writestr(other, "")
    zipped, several = (
        CliRunner().invoke(app, [*asked[:3], str(tmp_path / f"{name}.zip"), *asked[4:]]) for name in ("one", "two")
    )
    file.write_bytes(file.read_bytes()[:-9])
    cut = CliRunner().invoke(app, asked)
    file.write_text('{"data": [{"start_time": "never", "results": [{}]}]}')
    broken = CliRunner().invoke(app, asked)

    assert (strict.exit_code, lax.exit_code, broken.exit_code) == (1, 0, 2)
    assert (packed.exit_code, packed.stdout) == (zipped.exit_code, zipped.stdout) == (1, strict.stdout)
    assert (several.exit_code, "has 2 files (costs.json, readme.txt)" in several.stderr) == (2, True)
    assert (cut.exit_code, cut.stdout) == (2, "")
    assert "0.1 USD unexplained, 7.6923 % of theirs" in lax.stdout
    assert broken.stderr.startswith("error: the file ")


@pytest.mark.parametrize("packing", ["none", "gzip", "zip"])
def test_a_file_of_more_text_than_memory_is_for_is_refused(
    ledger: Engine, tmp_path: Path, packing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed, it need not be large: no more than that is unpacked."""
    monkeypatch.setattr(reconcile, "_MOST_BYTES", 2**20)
    (tmp_path / "taximeter.yaml").write_text(json.dumps({"ledger": str(ledger.url)}))
    file, text = tmp_path / "bill", b"day,model,cost\n" + b"\n" * 2**20
    if packing == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("costs.csv", text)
    else:
        file.write_bytes(gzip.compress(text) if packing == "gzip" else text)

    done = CliRunner().invoke(
        app, ["report", "reconcile", "openai", str(file), "--config", str(tmp_path / "taximeter.yaml")]
    )

    assert (done.exit_code, "is more than 1 MiB of text; export fewer days" in done.stderr) == (2, True)


@pytest.mark.parametrize("packing", ["none", "gzip", "zip"])
def test_a_file_may_be_a_pipe(ledger: Engine, tmp_path: Path, packing: str) -> None:
    """As of `<(aws s3 cp … -)`: it has no way back."""
    (tmp_path / "taximeter.yaml").write_text(json.dumps({"ledger": str(ledger.url)}))
    fill(ledger, [call(START, "openai", "gpt-5", input=(1_000_000, "1.2"))])
    rows = [{"amount": {"value": 1.2, "currency": "usd"}, "line_item": "gpt-5, input"}]
    file, text = tmp_path / "bill", json.dumps({"data": [{"start_time": START // 1_000_000, "results": rows}]}).encode()
    if packing == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("costs.json", text)
    else:
        file.write_bytes(gzip.compress(text) if packing == "gzip" else text)
    asked, config = ["report", "reconcile", "openai"], ["--config", str(tmp_path / "taximeter.yaml")]

    there = CliRunner().invoke(app, [*asked, str(file), *config])
    ours, theirs = os.pipe()
    os.write(theirs, file.read_bytes())
    os.close(theirs)
    piped = CliRunner().invoke(app, [*asked, f"/dev/fd/{ours}", *config])
    os.close(ours)

    assert (piped.exit_code, piped.stdout) == (there.exit_code, there.stdout)
    assert there.exit_code == 0


@each_row(
    ("text", "line"),
    [
        ("input", "input"), ("cached input", "cache_read"), ("input_tokens", "input"), ("output_tokens", "output"),
        ("uncached_input_tokens", "input"), ("cache_creation.ephemeral_1h_input_tokens", "cache_write"),
        ("Cache Read Input Tokens", "cache_read"), ("Reasoning Output Tokens", "output"), ("web search tool calls", "web_search"),
        ("file search tool calls", "file_search"), ("audio input", "audio input"), ("", None), (None, None),
    ],
)  # fmt: skip
def test_what_providers_call_a_line(text: str | None, line: str | None) -> None:
    assert line_named(text) == line


@each_row(
    "text",
    [
        "", "{}", "[]", "[3]", "null", "{", '{"data": 3}', '{"data": [{"a": 1}]}', "a,b\n1,2\n", "date,model\n2026-11-23,x\n",
        '{"data": [{"starting_at": "soon", "results": [{"amount": "1"}]}]}',
        '{"data": [{"starting_at": "2026-11-23T00:00:00Z", "results": [{"amount": "1", "currency": "EUR"}]}]}',
        '{"data": [{"starting_at": "2026-11-23T00:00:00Z", "results": [{"amount": "NaN", "currency": "USD"}]}]}',
        '{"data": [{"date": "2026-11-23", "usage": {}}]}', "BilledCost,ChargePeriodStart\nmuch,2026-11-23T00:00:00Z\n",
        "BilledCost\n1\n", "[" * 100_000,
        *(f"BilledCost,ChargePeriodStart\n{usd},2026-11-23T00:00:00Z\n" for usd in ("1e999999999", "1e-999999999", "0." + "1" * 9999)),
        *(f"BilledCost,ChargePeriodStart\n1,{day}T00:00:00Z\n" for day in ("0001-01-01", "9999-12-31")),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_file_that_is_none_is_told(text: str) -> None:
    with pytest.raises(BadQuestion, match="the file"):
        read_statement(text, "openai")


@pytest.mark.parametrize(
    ("rows", "said"), [(["1,2001-01-01", "1,2026-11-23"], "days"), (["10000000000,2026-11-23"], "amounts")]
)
def test_a_file_that_is_beyond_a_bill_is_told(ledger: Engine, rows: list[str], said: str) -> None:
    text = "\n".join(["BilledCost,ChargePeriodStart", *(f"{row}T00:00:00Z" for row in rows)])
    with pytest.raises(BadQuestion, match=said):
        reconcile_answer(ledger, BOOK, ReconcileQuestion("openai", text), LATER)


@pytest.mark.parametrize(("text", "share"), [("0.5%", "0.005"), ("0.005", "0.005"), ("0", "0"), (" 2 %", "0.02")])
def test_tolerances(text: str, share: str) -> None:
    assert tolerance_of(text) == Fraction(share)


@pytest.mark.parametrize("text", ["much", "-1%", "nan", "", "inf", "1e-999999999", "1e999999999%"])
def test_no_tolerances(text: str) -> None:
    with pytest.raises(BadQuestion):
        tolerance_of(text)


def test_a_comparison_of_the_same_time_takes_the_place_of_those_before(ledger: Engine) -> None:
    """Whoever compares every hour keeps one line, not one for each hour; other times and other providers stay."""

    def kept() -> list[tuple[str, int, int, int]]:
        runs = reconciliations_of(ledger, 0, 2**60)
        return sorted((run.provider, run.since_at, run.until_at, run.ran_at) for run in runs)

    for ran_at, provider, since, until in (
        (1000, "openai", 10, 20), (1001, "openai", 10, 20), (1002, "openai", 15, 30), (1003, "anthropic", 10, 20),
        (1004, "openai", 15, 20),
    ):  # fmt: skip
        keep_reconciliation(ledger, Reconciliation(provider, "f.csv", ran_at, since, until, 1, 1, 0))
    assert kept() == [
        ("anthropic", 10, 20, 1003), ("openai", 10, 20, 1001), ("openai", 15, 20, 1004), ("openai", 15, 30, 1002),
    ]  # fmt: skip
    keep_reconciliation(ledger, Reconciliation("openai", "f.csv", 1005, 5, 40, 1, 1, 0))
    assert kept() == [("anthropic", 10, 20, 1003), ("openai", 5, 40, 1005)]
