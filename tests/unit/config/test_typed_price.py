"""A price that is typed: what is wrong with it is named, and it comes before all that the operator says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pricing.load import load_book
from pricing.operator import parse_rows
from pricing.usage import Reading
from proxy.config.typed_price import TYPED, before_others, typed_price
from proxy.times import BadQuestion
from tests.support.rows import each_row

AT_S = 1_795_392_000
OTHERS: list[dict[str, Any]] = [
    {
        "provider": "openai",
        "model": "gpt-own",
        "input": "5",
        "output": "7",
        "from": "2026-01-01",
        "tiers": [{"over_input_tokens": 10, "input": "8", "output": "70"}],
    },
    {"provider": "*", "model": "gpt-*", "cache_read": "3", "input": "9"},
    {"provider": "openai", "model": "gpt-own", "input": "6", "when": {"service_tier": "flex"}},
    {"provider": "openai", "model": "*", "multiplier": "0.5"},
    {"provider": "anthropic", "model": "claude-own", "input": "4"},
]


def cost(
    provider: str, model: str, typed: dict[str, str], usage: dict[str, int], **conditions: str
) -> tuple[Any, set[str | None]]:
    price = typed_price("", "gpt-own", typed)
    assert price is not None
    book = load_book().with_operator(before_others(price, parse_rows(OTHERS)[0]))
    reading = Reading(usage=usage, source="provider", conditions=conditions)
    priced = book.cost(reading, provider=provider, model=model, at_s=AT_S)
    return priced.cost_usd, {line.source for line in priced.lines}


def test_nothing_typed_is_no_price() -> None:
    assert typed_price("", "", {}) is None


@each_row(
    ("asked", "said"),
    [
        (("", "", {"input": "1"}), "model: name the one"),
        (("openai", "", {}), "model: name the one"),
        (("", "m", {}), "price: say what"),
        (("", "m", {"inptu": "1"}), "price.inptu: is not a unit; use one of input, "),
        (("", "m", {"multiplier": "0"}), "price.multiplier: is not a unit"),
        (("", "m", {"from": "2026-01-01"}), "price.from: is not a unit"),
        (("", "m", {"input": "-1"}), "price.input: must be a decimal"),
        (("", "m", {"input": "1e9"}), "price.input: must be a decimal"),
        (("", "m", {"input": "NaN", "output": "much"}), "price.input: must be a decimal.*; price.output: must be"),
        (("", "m", {"input": "9" * 5000}), "price.input: must be a decimal"),
        (("", "a*b", {"input": "1"}), "model: may hold"),
        (("*x*", "m", {"input": "1"}), "provider: may hold"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(asked: tuple[str, str, dict[str, str]], said: str) -> None:
    with pytest.raises(BadQuestion, match=said):
        typed_price(*asked)


def test_it_comes_before_whatever_the_operator_says_of_the_same_unit() -> None:
    """At half, as the configuration's own factor says for all of OpenAI's models."""
    million = {"input": 1_000_000}
    for conditions in ({}, {"service_tier": "flex"}):
        assert cost("openai", "gpt-own", {"input": "2"}, million, **conditions) == (Decimal(1), {TYPED})
    assert cost("openai", "gpt-own", {"input": "0"}, million) == (0, {TYPED})


def test_what_is_not_typed_stays_as_the_operator_has_it() -> None:
    usage = {"input": 5, "output": 1_000_000}
    total, sources = cost("openai", "gpt-own", {"input": "0"}, usage)
    assert (total, sources) == (Decimal("3.5"), {TYPED, "prices[0]"})
    assert cost("openai", "gpt-own", {"input": "0"}, usage | {"input": 11})[0] == Decimal(35), "its tier is kept"
    assert cost("anthropic", "claude-own", {"input": "2"}, {"input": 1_000_000})[0] == Decimal(4), "another model's"
