"""What calls would have cost otherwise, by hand; never without what it rests on."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from pricing.load import load_book
from pricing.operator import parse_rows
from proxy.ceilings.learned import Learned
from proxy.cli.main import app
from proxy.config.typed_price import before_others, typed_price
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.corrections import repricing_of
from proxy.reports.what_if import answer as what_if
from proxy.reports.what_if.alternatives import SAME, Change, band, swap_of
from proxy.reports.what_if.answer import WhatIfShown, cache_share, learned_ratios, what_if_answer
from proxy.times import BadQuestion
from tests.support.bought import bought
from tests.support.made_up import START, fill

DAY_US = 86_400_000_000
PRICES: list[dict[str, Any]] = [
    {"provider": "openai", "model": "gpt-small", "input": "2", "cache_read": "0.2", "output": "10"},
    {"provider": "openai", "model": "gpt-plain", "input": "1", "output": "1"},
    {"provider": "anthropic", "model": "claude-x", "input": "3", "output": "15"},
]  # fmt: skip
BOOK = load_book().with_operator(parse_rows(PRICES)[0])
AT_S = START // 1_000_000


@pytest.fixture(params=["each call", "mean calls"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ten calls of 1,000 tokens in and 100 out: $0.003 each."""
    if request.param == "mean calls":
        monkeypatch.setattr(what_if, "EACH_UP_TO", 0)
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    fill(engine, [bought(START + number, "0.003", model="gpt-small") for number in range(10)])
    yield engine
    engine.dispose()


def asked(engine: Engine, learned: dict[str, float] | None = None, **change: Any) -> WhatIfShown:
    given = Change(**change)
    shown = what_if_answer(engine, BOOK, given, START, START + DAY_US, learned or {}, START + DAY_US).shown
    assert isinstance(shown, WhatIfShown)
    return shown


def swap(text: str) -> tuple[Any, ...]:
    return (swap_of(text, BOOK, AT_S),)


def test_another_model_with_its_band(ledger: Engine) -> None:
    """At 3 and 15 USD: $0.0045 a call with as many tokens; Claude's tokenizer makes 1 to 1.4 of one, 1.2 taken."""
    shown = asked(ledger, swaps=swap("gpt-small=claude-x"))

    assert (shown.cost_usd, shown.low_usd, shown.what_if_usd, shown.high_usd) == ("0.03", "0.045", "0.054", "0.063")
    (item,) = shown.items
    assert (item.model, item.to) == ("gpt-small", "anthropic/claude-x")
    assert any("1.00 to 1.40 tokens" in caveat for caveat in item.caveats)
    assert any("as long answers" in caveat for caveat in item.caveats)


def test_a_swap_of_a_model_that_was_not_called_is_told(ledger: Engine) -> None:
    told = "no call of the period is gpt-plain's, so that swap changes nothing"

    assert told in asked(ledger, swaps=(*swap("gpt-plain=claude-x"), *swap("gpt-sm*=claude-x"))).about.caveats
    assert not [one for one in asked(ledger, swaps=swap("gpt-sm*=claude-x")).about.caveats if "no call" in one]


def test_the_band_reaches_as_far_as_bills_have_shown(ledger: Engine, tmp_path: Path) -> None:
    learned = Learned(tmp_path / "learned-data-0.json")
    learned.counted("claude", 1800, 1000)

    shown = asked(ledger, learned_ratios(tmp_path), swaps=swap("gpt-small=claude-x"))

    assert (shown.what_if_usd, shown.high_usd) == ("0.054", "0.081")  # 1.8 x 0.045


def test_within_a_family_there_is_no_band(ledger: Engine) -> None:
    shown = asked(ledger, swaps=swap("gpt-sm*=openai/gpt-plain"))

    assert (shown.low_usd, shown.what_if_usd, shown.high_usd) == ("0.011",) * 3
    assert band("gpt-5", "gpt-4.1", {}) == SAME


def test_tier_and_cache_are_scaled_from_what_was_paid(ledger: Engine) -> None:
    assert asked(ledger, tier="batch").what_if_usd == "0.015"  # half, as the provider says
    # 800 of the 1,000 at $0.20: 0.00016 + 0.0004 + 0.001 = 0.00156 a call
    assert asked(ledger, cache=Decimal("0.8")).what_if_usd == "0.0156"
    assert "scaled from what was really paid" in asked(ledger, tier="batch").items[0].caveats


def test_what_cannot_be_compared_is_named_and_in_no_sum(ledger: Engine) -> None:
    fill(ledger, [bought(START, "1", model="gpt-plain"), bought(START, None, model="gpt-free", customer="c")])

    tier, cache = asked(ledger, tier="flex"), asked(ledger, cache=Decimal("0.5"))
    swapped = asked(ledger, swaps=swap("gpt-small=claude-x"))

    assert (tier.items, tier.cost_usd, tier.what_if_usd) == ([], "0", "0")
    assert "gpt-small (0.03 USD): gpt-small has no flex price of its own" in tier.left_out
    assert "gpt-plain (1 USD): gpt-plain has no price for reading from a cache" in cache.left_out
    assert [(item.model, item.what_if_usd) for item in swapped.items] == [("gpt-plain", "1"), ("gpt-small", "0.054")]
    assert any("1 call has no price of its own" in name for name in swapped.left_out)


def test_calls_whose_price_was_corrected_are_what_they_really_cost(ledger: Engine) -> None:
    """One that had cost 3 was corrected to 0.003, one that had no price to 0.004: 0.0035 in a batch, and 0.015 of the ten others."""
    wrong, unpriced = (bought(START + 20 + number, usd, model="gpt-small") for number, usd in enumerate(("3", None)))
    corrections = [
        repricing_of(one.row._asdict(), {"cost_lines": None, "price_version": "v"}, nano, was, 0)
        for one, nano, was in ((wrong, 3_000_000, 3_000_000_000), (unpriced, 4_000_000, None))
    ]
    fill(ledger, [wrong, unpriced, *corrections])

    shown = asked(ledger, tier="batch")

    assert (shown.cost_usd, shown.what_if_usd, shown.left_out) == ("0.037", "0.0185", [])


def test_a_price_file_prices_what_it_names(ledger: Engine) -> None:
    fill(ledger, [bought(START, "1", model="gpt-plain")])
    rows = [{"provider": "openai", "model": "gpt-small", "input": "4", "output": "0"}]

    shown = asked(ledger, file=load_book().with_operator(parse_rows(rows)[0]))

    assert (shown.cost_usd, shown.what_if_usd) == ("0.03", "0.04")
    assert shown.left_out == ["gpt-plain (1 USD): the file has no price for it"]


def typed(model: str, **prices: str) -> Any:
    """The operator's book with a typed price before it."""
    price = typed_price("", model, prices)
    assert price is not None
    return load_book().with_operator(before_others(price, parse_rows(PRICES)[0]))


def test_a_price_that_is_typed_is_this_models_and_no_other_ones(ledger: Engine) -> None:
    """Ten calls of 1,000 in and 100 out: at $4 and the configuration's $10, 0.004 + 0.001 each; all else stays as it was."""
    fill(ledger, [bought(START, "1", model="gpt-plain"), bought(START, "2", model="nobody-prices-it-now")])

    shown = asked(ledger, own=typed("gpt-small", input="4"))

    assert (shown.cost_usd, shown.what_if_usd, shown.low_usd, shown.high_usd) == ("3.03", *["3.05"] * 3)
    what = {item.model: (item.cost_usd, item.what_if_usd, item.unpriced) for item in shown.items}
    assert what == {"gpt-plain": ("1", "1", 0), "gpt-small": ("0.03", "0.05", 0), "nobody-prices-it-now": ("2", "2", 0)}
    assert "at the price that was typed" in next(item for item in shown.items if item.model == "gpt-small").caveats
    assert shown.left_out == []
    assert asked(ledger, own=typed("gpt-small", input="0", output="0")).what_if_usd == "3"


def test_calls_without_a_price_come_to_what_is_typed(ledger: Engine) -> None:
    """Two calls of 1,000 in and 100 out at $5 and $50: 0.005 + 0.005 each; with the input's price alone nobody knows."""
    fill(ledger, [bought(START + number, None, model="gpt-new", customer="c") for number in (1, 2)])

    shown = asked(ledger, own=typed("gpt-new", input="5", output="50"))
    half = asked(ledger, own=typed("gpt-new", input="5"))

    (new,) = [item for item in shown.items if item.model == "gpt-new"]
    assert (new.cost_usd, new.what_if_usd, new.unpriced) == ("0", "0.02", 2)
    assert "2 of its calls have no price, and are nothing in its cost" in new.caveats
    assert (shown.cost_usd, shown.what_if_usd, shown.left_out) == ("0.03", "0.05", [])
    assert (half.what_if_usd, [item.model for item in half.items]) == ("0.03", ["gpt-small"])
    assert "gpt-new: gpt-new has no price for output" in half.left_out
    assert "gpt-new: 2 calls have no price of their own" in half.left_out


def test_calls_that_were_given_a_price_later_do_not_lack_one(ledger: Engine) -> None:
    call = bought(START, None, model="gpt-new")
    later = repricing_of(call.row._asdict(), {"cost_lines": "[]", "price_version": "v"}, 5_000_000, None, 0)
    fill(ledger, [call, later])

    shown = asked(ledger, own=typed("gpt-new", input="5", output="50"))

    assert not [said for said in shown.left_out if "no price of" in said]


def test_a_swap_to_a_model_that_only_the_typed_price_knows(ledger: Engine) -> None:
    own = typed("gpt-tomorrow", input="1", output="5")
    with pytest.raises(BadQuestion, match="has no price"):
        swap("gpt-small=gpt-tomorrow")

    shown = asked(ledger, own=own, swaps=(swap_of("gpt-small=gpt-tomorrow", own, AT_S),))

    assert (shown.cost_usd, shown.what_if_usd) == ("0.03", "0.015")


def test_what_makes_no_sense_is_refused(ledger: Engine) -> None:
    for text in ("gpt-small", "=claude-x", "gpt-small=nobody-sells-this"):
        with pytest.raises(BadQuestion):
            swap(text)
    for share in ("2", "-0.1", "half", "NaN", "1e-999999999"):
        with pytest.raises(BadQuestion):
            cache_share(share)
    with pytest.raises(BadQuestion, match="say what"):
        asked(ledger)
    with pytest.raises(BadQuestion, match="not a tier"):
        asked(ledger, tier="slow")


def test_the_command_line(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    fill(engine, [bought(START, "0.003", model="gpt-small")])
    config, file = tmp_path / "taximeter.yaml", tmp_path / "prices.yaml"
    config.write_text(json.dumps({"ledger": str(engine.url), "data_dir": str(tmp_path / "d"), "prices": PRICES}))
    file.write_text('- {provider: openai, model: gpt-small, input: "4", output: "0"}\n')
    asking = ["report", "what-if", "--config", str(config), "--since", "2026-11-23", "--until", "2026-11-24"]

    table = CliRunner().invoke(app, [*asking, "--swap", "gpt-small=claude-x"])
    shown = json.loads(CliRunner().invoke(app, [*asking, "--prices", str(file), "--format", "json"]).stdout)
    file.write_text("- {provider: openai, model: gpt-small, input: 0.1}\n")
    wrong = CliRunner().invoke(app, [*asking, "--prices", str(file)])

    assert "What cost $0.003 would have cost $0.0054 ($0.0045 to $0.0063)." in table.stdout
    assert list(shown)[:6] == ["cost_usd", "what_if_usd", "low_usd", "high_usd", "items", "left_out"]
    assert shown["what_if_usd"] == "0.004"
    assert (wrong.exit_code, "prices[0].input" in wrong.stderr) == (1, True)
