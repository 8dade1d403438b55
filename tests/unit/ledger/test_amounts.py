"""What calls add to the budgets: those that add the same to each counter are told by their text, and nothing else is taken for it."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from msgspec import Raw

from proxy.ledger import amounts
from proxy.ledger.amounts import SameAmount, budget_amounts, plain_amounts

COUNTERS = [["company", "", 0, "usd"], ["each", "bench", 1796022903, "usd"]]


def stated(cost: int, counters: Any = COUNTERS) -> Raw:
    return Raw(orjson.dumps([[*counter, cost] for counter in counters]))


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amounts, "_known", {})


def test_the_same_counters_are_one_object() -> None:
    first = plain_amounts(stated(7), 7, None)
    assert first is not None
    guessed, looked_up = plain_amounts(stated(-12), -12, first.known), plain_amounts(stated(9), 9, None)
    assert guessed is not None
    assert looked_up is not None
    assert list(guessed.amounts) == [("company", "", 0, "usd", -12), ("each", "bench", 1796022903, "usd", -12)]
    assert orjson.loads(guessed.text) == [list(each) for each in guessed.amounts]
    for each in (first, guessed, looked_up):
        assert isinstance(each.amounts, SameAmount)
        assert each.amounts.counters is first.amounts.counters  # type: ignore[union-attr]
        assert len(each.amounts) == 2


@pytest.mark.parametrize(
    "said",
    [
        [["company", "", 0, "usd", 7], ["each", "bench", 1796022903, "usd", 8]],
        [["company", "", 0, "usd", 7]],
        [["company", "", 0, "usd", 7], ["each", "bench", 1796022903, "tokens", 7]],
        [["company,7]", "", 0, "usd", 7], ["each", "bench", 1796022903, "usd", 7]],
        [["company,]", "", 0, "usd", 7], ["each", "bench", 1796022903, "usd", 7]],
        [],
    ],
)
def test_another_text_is_read(said: list[Any]) -> None:
    known = plain_amounts(stated(7), 7, None)
    assert known is not None
    text = orjson.dumps(said)
    for _ in range(2):
        read = plain_amounts(Raw(text), 7, known.known)
        assert read is not None
        assert [list(each) for each in read.amounts] == said
        assert read.text == text.decode()


@pytest.mark.parametrize(
    "said", [b"null", b"{}", b"7", b'["a"]', b'[["a","",0,"usd",1.5]]', b'[["a","",0,"usd",99999999999999999]]']
)
def test_what_cannot_be_added_is_left_to_who_looks(said: bytes) -> None:
    for cost in (7, None):
        with contextlib.suppress(ValueError):
            assert plain_amounts(Raw(said), cost, None) is None


def test_sums_are_those_of_each_entry_by_itself() -> None:
    other = [("company", "", 0, "usd", 3), ("x", "", 0, "tokens", 5)]
    alike = [plain_amounts(stated(cost), cost, None) for cost in (7, 8)]
    entries: Any = [SimpleNamespace(budgets=each.amounts) for each in alike if each] + [SimpleNamespace(budgets=other)]
    assert budget_amounts(entries) == {
        ("company", "", 0, "usd"): 18, ("each", "bench", 1796022903, "usd"): 15, ("x", "", 0, "tokens"): 5,
    }  # fmt: skip
