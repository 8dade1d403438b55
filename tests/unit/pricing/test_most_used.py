"""Our prices of the 100 models used most, against genai-prices and LiteLLM: equal, or explained in corrections.toml.

`litellm_most_used.json` is cut out of LiteLLM's data file (MIT); a name without prices is one that it lacks.
"""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path

from pricing.load import DATA, load_book
from pricing.usage import Reading
from tests.support.prices import at
from tests.support.rows import each_row

HERE = Path(__file__).parent
BOOK = load_book()
LITELLM = json.loads((HERE / "litellm_most_used.json").read_text(), parse_float=Decimal)["models"]
CORRECTIONS = tomllib.loads((DATA / "corrections.toml").read_text())
GENAI_NAMES = {"xai": "x-ai", "moonshot": "moonshotai"}
DAY = "2026-11-23T12:00:00Z"
FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
}


def explained(provider: str, model: str) -> bool:
    """Whether corrections.toml says anything of that model."""
    entries = [*CORRECTIONS.get("price", ()), *CORRECTIONS.get("settled", ())]
    return any(
        entry["provider"] == provider
        and any(
            fnmatchcase(model, name)
            for name in (entry["model"] if isinstance(entry["model"], list) else [entry["model"]])
            if name != "*"
        )
        for entry in entries
    )


def ours(provider: str, model: str, usage: dict[str, int]) -> Decimal | None:
    reading = Reading(usage=usage, source="provider")
    return BOOK.cost(reading, provider=provider, model=model, at_s=at(DAY)).cost_usd


def test_there_are_a_hundred_of_them() -> None:
    assert len(LITELLM) == 100


@each_row("name", LITELLM)
def test_against_genai_prices(name: str) -> None:
    # Slow to import: for the worker that runs these tests.
    from genai_prices import Usage  # noqa: PLC0415
    from genai_prices.data import providers  # noqa: PLC0415

    provider, _, model = name.partition("/")
    theirs = next(one for one in providers if one.id == GENAI_NAMES.get(provider, provider)).find_model(model)
    if theirs is None:
        assert ours(provider, model, {"input": 1}) is not None
        return
    time = datetime.fromisoformat(DAY).astimezone(UTC)
    have = theirs.get_prices(time)
    cached = 0 if have.cache_read_mtok is None else 300
    made = 0 if have.output_mtok is None else 50
    usage = Usage(input_tokens=1000, cache_read_tokens=cached, output_tokens=made)
    owner = next(one for one in providers if one.id == GENAI_NAMES.get(provider, provider))
    price = theirs.calc_price(usage, owner, genai_request_timestamp=time)
    cost = ours(provider, model, {"input": 1000 - cached, "cache_read": cached, "output": made})
    assert cost == price.total_price or explained(provider, model), f"{cost} against {price.total_price}"


@each_row("name", LITELLM)
def test_against_litellm(name: str) -> None:
    provider, _, model = name.partition("/")
    for unit, field in FIELDS.items():
        theirs = Decimal(LITELLM[name].get(field, 0)) * 10**6
        if not theirs:
            continue  # a 0 there is a gap
        cost = ours(provider, model, {unit: 1_000_000 if unit == "output" else 1000})
        assert cost is not None
        each = cost if unit == "output" else cost * 1000
        assert abs(each - theirs) <= theirs / 100 or explained(provider, model), f"{unit}: {each} against {theirs}"
