"""Why the bill changed: what a person reads, and that it adds up to the ledger."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from pricing.load import load_book
from pricing.operator import parse_rows
from proxy.cli.main import app
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import Entry
from proxy.reports.explain.answer import ExplainQuestion, ExplainShown, against_of, explain_answer, periods
from proxy.reports.explain.split import PARTS
from proxy.reports.spend import spend
from proxy.times import BadQuestion
from tests.support.bought import bought
from tests.support.made_up import START, fill, made_up

DAY_US = 86_400_000_000
PRICES = [{"provider": "openai", "model": "small", "input": "2", "cache_read": "0.2", "output": "10"}]
BOOK = load_book().with_operator(parse_rows(PRICES)[0])


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


OCTOBER, NOVEMBER, DECEMBER = at("2026-10-01"), at("2026-11-01"), at("2026-12-01")


@pytest.fixture
def ledger(database: str) -> Any:
    engine = open_ledger(database)
    yield engine
    engine.dispose()


def explained(engine: Engine, **question: Any) -> ExplainShown:
    asked = ExplainQuestion(**{"since": NOVEMBER, "until": DECEMBER, "against": (OCTOBER, NOVEMBER)} | question)
    shown = explain_answer(engine, BOOK, asked, DECEMBER).shown
    assert isinstance(shown, ExplainShown)
    return shown


def calls(count: int, start: int, usd: str | None, customer: str = "acme", **usage: int) -> list[Entry]:
    return [bought(start + number * 1_000_000, usd, dict(usage), customer=customer) for number in range(count)]


def changed(shown: ExplainShown) -> dict[str, str]:
    return {part: amount for part, amount in shown.parts.model_dump().items() if amount != "0"}


def test_more_calls_and_a_better_cache_are_told_apart(ledger: Engine) -> None:
    """October: 10 calls of 1,000 fresh tokens at $2 a million = $0.02. November: 20 calls, half of each from the cache at $0.20,
    so $0.0011 a call and $0.022. Volume: half of 10 x 0.002 at the old cache and half of 10 x 0.0011 at the new one."""
    fill(ledger, [*calls(10, OCTOBER, "0.002", input=1000), *calls(20, NOVEMBER, "0.0011", input=500, cache_read=500)])

    shown = explained(ledger)

    assert (shown.cost_usd, shown.previous_usd, shown.difference_usd) == ("0.022", "0.02", "0.002")
    assert changed(shown) == {"volume": "0.0155", "cache": "-0.0135"}
    assert shown.sentence == (
        "The period cost $0.022000, $0.002000 (10 %) more than the $0.020000 before: more calls (+$0.015500), "
        "more from the cache (-$0.013500). What moved it most: customer acme, model small (+$0.002000)."
    )


def test_of_nothing_no_reason_is_told(ledger: Engine) -> None:
    assert explained(ledger).sentence == "Neither period has a cost."


def test_new_gone_and_unpriced_are_apart(ledger: Engine) -> None:
    fill(ledger, calls(5, OCTOBER, "1", "left", input=100))
    fill(ledger, [*calls(3, NOVEMBER, "1", "came", input=100), *calls(4, OCTOBER, "1", "both", input=100)])
    fill(ledger, [*calls(3, NOVEMBER, "1", "both", input=100), *calls(1, NOVEMBER, None, "both", input=100)])

    shown = explained(ledger)

    assert changed(shown) == {"new": "3", "gone": "-5", "unpriced": "-1"}
    assert shown.unpriced_requests == (1, 0)
    assert [(mover.model_dump()["customer"], mover.difference_usd) for mover in shown.movers] == [
        ("left", "-5"), ("came", "3"), ("both", "-1"),
    ]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("by", [("model",), ("customer", "model"), ("team",), ("label.plan",)])
def test_it_adds_up_to_the_ledger_however_it_is_asked(ledger: Engine, by: tuple[str, ...]) -> None:
    fill(ledger, made_up(600, hours=24 * 8))
    middle, end = START + 4 * DAY_US, START + 8 * DAY_US
    (now,), (was,) = spend(ledger, [], middle, end), spend(ledger, [], START, middle)

    shown = explained(ledger, by=by, since=middle, until=end, against=None)
    back = explained(ledger, by=by, since=START, until=middle, against=(middle, end))

    parts = {part: Decimal(value) for part, value in shown.parts.model_dump().items()}
    assert sum(parts.values()) * 1_000_000_000 == now.cost_nanousd - was.cost_nanousd
    assert all(
        sum(map(Decimal, mover.parts.model_dump().values())) == Decimal(mover.difference_usd) for mover in shown.movers
    )
    turned = {part: -Decimal(value) for part, value in back.parts.model_dump().items()}
    assert parts == turned | {"new": turned["gone"], "gone": turned["new"]}


def test_periods_that_nobody_names() -> None:
    now = at("2026-11-11")
    assert periods(ExplainQuestion(), now) == ((NOVEMBER, now), (OCTOBER, at("2026-10-11")))
    assert periods(ExplainQuestion(since=at("2026-11-08")), now) == (
        (at("2026-11-08"), now),
        (at("2026-11-05"), at("2026-11-08")),
    )
    with pytest.raises(BadQuestion):
        periods(ExplainQuestion(since=now, until=now), now)
    with pytest.raises(BadQuestion):
        against_of("2026-10-01", 0)
    assert against_of("2026-10-01..2026-11-01", 0) == (OCTOBER, NOVEMBER)


def test_the_command_line(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    fill(engine, [*calls(1, OCTOBER, "1", input=100), *calls(2, NOVEMBER, "1", input=100)])
    config = tmp_path / "taximeter.yaml"
    config.write_text(json.dumps({"ledger": str(engine.url), "prices": PRICES}))
    asked = ["report", "explain", "--config", str(config), "--since", "2026-11-01", "--until", "2026-12-01"]
    asked += ["--against", "2026-10-01..2026-11-01"]

    table = CliRunner().invoke(app, asked)
    shown = json.loads(CliRunner().invoke(app, [*asked, "--format", "json"]).stdout)
    wrong = CliRunner().invoke(app, [*asked[:-1], "yesterday"])

    assert "more calls (+$1.00)" in table.stdout
    assert list(shown)[:6] == ["cost_usd", "previous_usd", "difference_usd", "parts", "movers", "sentence"]
    assert tuple(shown["parts"]) == PARTS
    assert (wrong.exit_code, "C..D" in wrong.stderr) == (2, True)
