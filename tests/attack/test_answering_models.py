"""Another model than was asked for may answer, where the operator says which; whatever else answers is told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.control.metrics.observed import Observed
from proxy.ledger.entries.entry import entry_of
from tests.flow.house import House, whole

ROW = {"upstream": "up", "context_tokens": 8000, "max_output_tokens": 4000}
PRICES = [
    {"provider": "acme", "model": "m", "input": "1", "output": "2"},
    {"provider": "acme", "model": "big", "input": "10", "output": "30"},
    {"provider": "acme", "model": "other", "input": "20", "output": "90"},
]
BUDGETS = [{"name": "b", "limit_usd": "100", "window": "total"}]


def _house(folder: Path, answers: list[str] | None, **changes: Any) -> House:
    folder.mkdir(exist_ok=True)
    row = ROW if answers is None else ROW | {"answers": answers}
    return House(folder, **({"models": {"m": row}, "prices": PRICES, "budgets": BUDGETS} | changes))


def _only(house: House, kind: str) -> dict[str, Any]:
    (record,) = [record for record in house.records() if record["t"] == kind]
    return record


async def test_the_dearest_of_those_that_may_answer_is_reserved_and_its_bill_teaches_nothing(tmp_path: Path) -> None:
    plain, named = _house(tmp_path / "1", None), _house(tmp_path / "2", ["big"])
    usage = {"prompt_tokens": 100, "completion_tokens": 100}
    for house in (plain, named):
        await house.ask(whole(model="big", usage=usage))
    assert (
        _only(plain, "intent")["reserved_nanousd"]
        < 100 * 10_000 + 100 * 30_000
        == _only(plain, "settle")["cost_nanousd"]
    )
    assert _only(named, "intent")["reserved_nanousd"] >= _only(named, "settle")["cost_nanousd"] == 4_000_000
    assert _only(named, "settle")["flags"] == []
    assert named.plane.learned.factor("team:t", "acme", "m", 2e9) == 1


@pytest.mark.parametrize(
    ("served", "flags"),
    [
        ("m", []),
        ("BIG", []),
        ("models/big", []),
        ("big-2026-01-31", []),
        ("other", ["unexpected_model"]),
        ("bigger", ["unexpected_model", "fallback_price"]),
        (None, []),
    ],
)
async def test_a_model_that_is_not_named_is_flagged_and_counted(
    tmp_path: Path, served: str | None, flags: list[str]
) -> None:
    house = _house(tmp_path, ["big"])
    await house.ask(whole(model=served))
    assert [flag for flag in _only(house, "settle")["flags"] if flag != "fallback_price" or flag in flags] == flags
    observed = Observed(frozenset(), frozenset())
    observed.observe_entries([entry_of(_only(house, "intent"), _only(house, "settle"), "here")])
    told = sum(count for (name, _), count in observed.counters.items() if name == "unexpected_models_total")
    assert told == ("unexpected_model" in flags)


async def test_an_empty_list_means_the_model_itself_and_no_list_means_anybody(tmp_path: Path) -> None:
    nobody_else, anybody = _house(tmp_path / "1", []), _house(tmp_path / "2", None)
    for house in (nobody_else, anybody):
        await house.ask(whole(model="big"))
    assert _only(nobody_else, "settle")["flags"] == ["unexpected_model"]
    assert _only(anybody, "settle")["flags"] == []


async def test_the_largest_limits_of_those_that_may_answer_hold(tmp_path: Path) -> None:
    """gpt-4o-mini writes at most 16,384 tokens, gpt-5 128,000: what neither caps is bounded by the larger."""
    upstreams = {"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-up", "provider": "openai"}}
    models = {"m": {"upstream": "up", "model": "gpt-4o-mini", "answers": ["gpt-5"]}}
    house = _house(tmp_path, None, models=models, upstreams=upstreams, prices=[], budgets=[])
    await house.ask(
        whole(model="gpt-5-2025-08-07", usage={"prompt_tokens": 9, "completion_tokens": 100_000}), max_tokens=None
    )
    settled = _only(house, "settle")
    assert (settled["status"], settled["flags"]) == ("settled", [])
    assert settled["cost_nanousd"] <= _only(house, "intent")["reserved_nanousd"]


async def test_one_without_a_price_is_none_that_may_answer(tmp_path: Path) -> None:
    house = _house(tmp_path, ["nobody-knows"])
    told = await house.ask(whole())
    assert (told.status, told.code) == (402, "model_not_priced")


@pytest.mark.parametrize(("priced", "status"), [(("a", "b"), 200), (("a",), 400), (("b",), 400)])
async def test_a_dearer_tier_at_a_router_has_a_price_for_each_that_may_answer(
    tmp_path: Path, priced: tuple[str, ...], status: int
) -> None:
    row = {"provider": "openrouter", "input": "1", "output": "2"}
    dear = {"provider": "openrouter", "when": {"service_tier": "priority"}, "input": "10", "output": "20"}
    house = _house(
        tmp_path, ["b"],
        upstreams={"up": {"base_url": "http://127.0.0.1:1/v1", "provider": "openrouter"}},
        models={"m": ROW | {"model": "a", "answers": ["b"]}},
        prices=[*(row | {"model": model} for model in "ab"), *(dear | {"model": model} for model in priced)],
    )  # fmt: skip
    told = await house.ask(whole(model="b"), service_tier="priority")
    assert told.status == status, told.body
