"""What calls add to the budgets: those that add the same to each counter are told by their text, and nothing else is taken for it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from msgspec import Raw

from proxy.ledger.entries import amounts
from proxy.ledger.entries.amounts import Known, SameAmount, budget_amounts, plain_amounts

COUNTERS = [["company", "", 0, "usd"], ["each", "bench", 1796022903, "usd"]]


def stated(cost: int, counters: Any = COUNTERS) -> Raw:
    return Raw(orjson.dumps([[*counter, cost] for counter in counters]))


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amounts, "_known", {})


class Kind:
    stated: Known | None = None


def said_by(raw: Raw, cost: int | None, kind: Kind | None = None) -> tuple[str | None, Any]:
    """The text and the amounts of one call; kind: of the calls before."""
    ([text], [each]) = plain_amounts([raw], [cost], [kind or Kind()])
    return text, each


def test_the_same_counters_are_one_object() -> None:
    kind = Kind()
    _, first = said_by(stated(7), 7, kind)
    assert kind.stated is not None
    (text, guessed), (_, looked_up) = said_by(stated(-12), -12, kind), said_by(stated(9), 9)
    assert list(guessed) == [("company", "", 0, "usd", -12), ("each", "bench", 1796022903, "usd", -12)]
    assert orjson.loads(text or "") == [list(each) for each in guessed]
    for each in (first, guessed, looked_up):
        assert isinstance(each, SameAmount)
        assert each.counters is first.counters
        assert len(each) == 2


def test_calls_of_several_kinds_are_told_apart() -> None:
    one, other, none = Kind(), Kind(), Kind()
    calls = [
        (stated(7), 7, one),
        (stated(8, COUNTERS[:1]), 8, other),
        (Raw(b"[]"), 9, none),
        (stated(5), None, one),
    ] * 2
    texts, each = plain_amounts(*map(list, zip(*calls, strict=True)))  # type: ignore[arg-type]
    assert texts == [str(raw, "utf-8") if raw != Raw(b"[]") else None for raw, _, _ in calls]
    assert [[list(amount) for amount in amounts] for amounts in each] == [
        orjson.loads(bytes(raw)) for raw, _, _ in calls
    ]


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
    kind = Kind()
    said_by(stated(7), 7, kind)
    for _ in range(2):
        text, read = said_by(Raw(orjson.dumps(said)), 7, kind)
        assert [list(each) for each in read] == said
        assert text == (orjson.dumps(said).decode() if said else None)


@pytest.mark.parametrize(
    "said", [b"null", b"{}", b"7", b'["a"]', b'[["a","",0,"usd",1.5]]', b'[["a","",0,"usd",99999999999999999]]']
)
def test_what_cannot_be_added_is_left_to_who_looks(said: bytes) -> None:
    for cost in (7, None):
        with pytest.raises(ValueError):
            said_by(Raw(said), cost)


def test_sums_are_those_of_each_entry_by_itself() -> None:
    other = [("company", "", 0, "usd", 3), ("x", "", 0, "tokens", 5)]
    alike = [said_by(stated(cost), cost)[1] for cost in (7, 8)]
    each: Any = [*alike, other]
    assert budget_amounts(each) == {
        ("company", "", 0, "usd"): 18, ("each", "bench", 1796022903, "usd"): 15, ("x", "", 0, "tokens"): 5,
    }  # fmt: skip
