"""What holds for any usage: costs never fall as usage grows, add up where no tier applies, and stay under the ceiling."""

from __future__ import annotations

import math
import random
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.load import load_book
from pricing.money import fine, to_nanousd_up
from pricing.operator import parse_rows
from pricing.usage import Reading
from tests.support.examples import examples, tried
from tests.support.prices import at

BOOK = load_book()
UNITS = [
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_in",
    "image_in",
    "web_search",
]
FLAT = [
    ("openai", "gpt-4o"),
    ("anthropic", "claude-opus-5"),
    ("groq", "openai/gpt-oss-120b"),
    ("mistral", "mistral-large-2512"),
]
TIERED = [
    ("openai", "gpt-5.4"),
    ("anthropic", "claude-haiku-5-5"),
    ("xai", "grok-4.20"),
    ("google", "gemini-3.1-pro-preview"),
]
MOMENTS = [at("2026-11-23T02:30:00"), at("2026-12-01"), at("2025-01-01"), at("2027-06-01")]

usages = st.dictionaries(st.sampled_from(UNITS[:-1]), st.integers(0, 300_000), min_size=1)
tiers = st.sampled_from([{}, {"service_tier": "priority"}, {"service_tier": "flex"}, {"geo": "us"}])


def cost(provider: str, model: str, usage: dict[str, int], at_s: int, conditions: dict[str, str]) -> Decimal:
    reading = Reading(usage=usage, source="provider", conditions=conditions)
    found = BOOK.cost(reading, provider=provider, model=model, at_s=at_s).cost_usd
    assert found is not None
    return found


@given(
    st.sampled_from([*FLAT, *TIERED]),
    usages,
    st.sampled_from(UNITS[:-1]),
    st.integers(1, 300_000),
    st.sampled_from(MOMENTS),
    tiers,
)
def test_more_of_a_unit_never_costs_less(
    name: tuple[str, str], usage: dict[str, int], unit: str, more: int, at_s: int, conditions: dict[str, str]
) -> None:
    larger = usage | {unit: usage.get(unit, 0) + more}
    assert cost(*name, usage, at_s, conditions) <= cost(*name, larger, at_s, conditions)


@given(st.sampled_from(FLAT), usages, usages, st.sampled_from(MOMENTS), tiers)
def test_costs_add_up_where_no_tier_applies(
    name: tuple[str, str], one: dict[str, int], other: dict[str, int], at_s: int, conditions: dict[str, str]
) -> None:
    both = {unit: one.get(unit, 0) + other.get(unit, 0) for unit in {*one, *other}}
    parts = cost(*name, one, at_s, conditions) + cost(*name, other, at_s, conditions)
    assert cost(*name, both, at_s, conditions) == parts


@examples(300)
@given(
    st.sampled_from([*FLAT, *TIERED, ("deepseek", "deepseek-v4-pro"), ("google", "gemini-4-argon")]),
    st.integers(0, 400_000),
    st.integers(0, 100_000),
    st.lists(
        st.sampled_from(["cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h", "input"]),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["output", "reasoning"]),
    st.sampled_from(MOMENTS),
    st.integers(0, 3600),
    tiers,
)
def test_no_bill_is_above_its_ceiling(
    name: tuple[str, str],
    given_tokens: int,
    taken: int,
    kinds: list[str],
    made: str,
    at_s: int,
    later: int,
    conditions: dict[str, str],
) -> None:
    provider, model = name
    ceiling = BOOK.ceiling_nanousd(
        {"input": given_tokens, "output": taken}, provider=provider, model=model, at_s=at_s, until_s=at_s + 3600
    )
    assert ceiling is not None
    share = given_tokens // len(kinds)
    usage = dict.fromkeys(kinds, share) | {made: taken}
    reading = Reading(usage=usage, source="provider", conditions=conditions)
    bill = BOOK.cost(reading, provider=provider, model=model, at_s=at_s + later).cost_nanousd
    assert bill is not None
    assert bill <= ceiling


PRICES = st.sampled_from(["0.01", "0.4", "1", "3", "40"])
OWN_ROWS = st.lists(
    st.fixed_dictionaries(
        {"model": st.sampled_from(["exact", "*", "begin"]), "output": PRICES},
        optional={
            "input": PRICES,
            "cache_read": PRICES,
            "cache_write_1h": PRICES,
            "from": st.sampled_from(["2025-01-01T00:30:00Z", "2026-12-01T00:20:00Z"]),
            "to": st.sampled_from(["2026-12-01T00:10:00Z", "2027-06-01T00:59:00Z"]),
            "when": st.sampled_from([{"service_tier": "priority"}, {"geo": "us"}]),
        },
    ),
    min_size=1,
    max_size=4,
)


@examples(200)
@given(
    st.sampled_from([*FLAT, *TIERED]),
    OWN_ROWS,
    st.integers(0, 400_000),
    st.integers(0, 100_000),
    st.sampled_from(["cache_read", "cache_write_5m", "cache_write_1h", "input"]),
    st.sampled_from(MOMENTS),
    st.integers(0, 3600),
    tiers,
    st.sampled_from([None, "-2026-05-01"]),
)
def test_no_bill_is_above_its_ceiling_by_the_operators_own_prices(
    name: tuple[str, str],
    rows: list[dict[str, object]],
    given_tokens: int,
    taken: int,
    kind: str,
    at_s: int,
    later: int,
    conditions: dict[str, str],
    snapshot: str | None,
) -> None:
    provider, model = name
    patterns = {"exact": model, "*": "*", "begin": model[:4] + "*"}
    own = [row | {"provider": provider, "model": patterns[str(row["model"])]} for row in rows]
    book = BOOK.with_operator(parse_rows(own)[0])
    usage = {"input": given_tokens, "output": taken}
    ceiling = book.ceiling_nanousd(usage, provider=provider, model=model, at_s=at_s, until_s=at_s + 3600)
    assert ceiling is not None
    served = model + snapshot if snapshot is not None else None
    reading = Reading({kind: given_tokens, "output": taken}, source="provider", model=served, conditions=conditions)
    bill = book.cost(reading, provider=provider, model=model, at_s=at_s + later).cost_nanousd
    assert bill is not None
    assert bill <= ceiling


CONDITIONS: list[dict[str, str]] = [{}, {"service_tier": "priority"}, {"region": "eu"}]


@pytest.mark.long
def test_whichever_snapshot_answers_the_bill_is_within_the_ceiling_of_the_name_that_was_asked_for() -> None:
    """Every name of the book (with few `EXAMPLES` some) with every snapshot of it, whichever is dearer."""
    at_s, usage = MOMENTS[0], {"input": 1000, "output": 1000, "request": 1}
    pairs = 0
    names = [(provider, model) for provider in BOOK.catalog.lines for model in BOOK.catalog.provider(provider).models]
    for provider, model in random.sample(names, min(tried(len(names)), len(names))):
        ceiling = BOOK.ceiling_nanousd(usage, provider=provider, model=model, at_s=at_s, until_s=at_s + 600)
        for served in BOOK.catalog.snapshots(provider, model, at_s):
            pairs += served != model
            for conditions in CONDITIONS:
                reading = Reading(usage, source="provider", model=served, conditions=conditions)
                bill = BOOK.cost(reading, provider=provider, model=model, at_s=at_s).cost_nanousd
                assert bill is None or (ceiling is not None and bill <= ceiling), (provider, model, served)
    assert pairs > (400 if tried(10) >= 10 else 0)


@given(
    st.sampled_from([*FLAT, *TIERED]),
    st.integers(0, 2_000_000),
    st.integers(0, 100_000),
    st.sampled_from(MOMENTS),
    st.integers(0, 7200),
    st.sampled_from([1, 60, 3600, 5000]),
    st.integers(0, 3600),
)
def test_a_ceiling_grows_with_its_input_as_its_rate_says(
    named: tuple[str, str], tokens: int, written: int, moment: int, beyond_s: int, longest_s: int, later_s: int
) -> None:
    """For as long as the rate holds, from the moment when it was made."""
    of = {"provider": named[0], "model": named[1]}
    at_s = moment + beyond_s
    rate = BOOK.ceiling_rate(
        {"input": 7, "request": 1, "output": written},
        **of,
        at_s=at_s,
        until_s=at_s + longest_s,
        fixed={},
        without=frozenset(),
    )
    assert rate is None or rate.last_s >= at_s
    assert rate is not None or named in TIERED
    if rate is not None:
        at_s = min(at_s + later_s, rate.last_s)
        usage = {"input": tokens, "request": 1, "output": written}
        assert to_nanousd_up(rate.fixed + rate.each * tokens) == BOOK.ceiling_nanousd(
            usage, **of, at_s=at_s, until_s=at_s + longest_s
        )


@given(st.decimals(0, 1000, allow_nan=False, allow_infinity=False), st.integers(0, 10**7))
def test_whole_numbers_come_to_what_decimals_do(usd: Decimal, count: int) -> None:
    with localcontext(prec=200):
        assert to_nanousd_up(fine(usd) * count) == math.ceil(usd * count * 10**9)
