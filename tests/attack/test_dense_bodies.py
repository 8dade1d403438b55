"""A body that takes many times its bytes once it is parsed counts as what it takes, so that memory stays bounded."""

from __future__ import annotations

import gc
import tracemalloc

import orjson
import pytest

from proxy.downstream.weighing import weighed
from proxy.wire.json_weight import parsed_bytes
from tests.attack.test_shares import OTHER, TWO_KEYS
from tests.flow.house import Build

DENSE = {
    "lists": [[]] * 100_000,
    "nested": [[[[]]]] * 50_000,
    "objects": [{}] * 100_000,
    "small objects": [{"a": 1}] * 100_000,
    "numbers": list(range(1000, 200_000)),
    "strings": ["ab"] * 100_000,
    "pairs": {str(number): number for number in range(100_000)},
}


def taken(text: bytes) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        value = orjson.loads(text)
        return tracemalloc.get_traced_memory()[0] if value else 0
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", DENSE)
def test_a_dense_text_is_weighed(name: str) -> None:
    """Near enough: what it says is at least a third of what parsing takes, and at most four times that."""
    text = orjson.dumps(DENSE[name])
    told = parsed_bytes(text) or len(text)
    assert taken(text) / 3 <= told + len(text) <= 4 * taken(text) + len(text)


@pytest.mark.parametrize("copies", [1, 4], ids=["afterwards", "beforehand"])
@pytest.mark.parametrize("name", DENSE)
def test_a_dense_body_is_held_by_what_it_takes(name: str, copies: int) -> None:
    """Of one that cannot take much, once it is parsed; of a longer one, before."""
    dense = DENSE[name]
    part = dict(list(dense.items())[:50_000]) if isinstance(dense, dict) else dense[:100_000]
    text = orjson.dumps([part] * copies)
    assert (len(text) < 1_048_576) == (copies == 1)
    told: list[int] = []
    assert weighed(text, orjson.loads, told.append)
    assert taken(text) / 3 <= sum(told) + len(text) <= 4 * taken(text) + len(text)


def test_what_is_not_dense_is_not_held_twice() -> None:
    prose = orjson.dumps({"messages": [{"role": "user", "content": "prose, [with] {marks} " * 20_000}]})
    told: list[int] = []
    assert weighed(prose, orjson.loads, told.append) == orjson.loads(prose)
    assert told == []


def test_who_may_not_hold_it_does_not_get_it() -> None:
    def full(_: int) -> None:
        raise MemoryError

    for size in (50_000, 500_000):
        with pytest.raises(MemoryError):
            weighed(orjson.dumps([[]] * size), orjson.loads, full)


def test_where_python_counts_nothing_it_is_estimated_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.getallocatedblocks", lambda: 0)
    told: list[int] = []
    weighed(orjson.dumps([[]] * 50_000), orjson.loads, told.append)
    assert told == [parsed_bytes(orjson.dumps([[]] * 50_000))]


def test_python_counts_its_memory_only_for_a_body_that_takes_longer_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("sys.getallocatedblocks", lambda: asked.append(1) or len(asked))
    text = orjson.dumps([[]] * 20_000)
    told: list[int] = []
    weighed(text[:-1] + b"," + text[1:-1] + b"]", orjson.loads, told.append)
    assert (told, asked) == ([], [1, 1])
    weighed(text, orjson.loads, told.append)
    assert (told, asked) == ([parsed_bytes(text)], [1, 1])


@pytest.mark.parametrize(
    "content",
    [
        "prose, with commas, and [brackets] here and there. " * 2000,
        orjson.dumps(DENSE["small objects"]).decode()[:300_000],
        '"' * 50_000,
        "\\" * 50_000 + '"[],' * 1000,
    ],
    ids=["prose", "JSON in a string", "quotes", "escapes"],
)
def test_what_lies_in_strings_weighs_nothing(content: str) -> None:
    assert parsed_bytes(orjson.dumps({"messages": [{"role": "user", "content": content}]})) < 1000


async def test_a_dense_body_counts_against_the_bytes_in_flight(build: Build) -> None:
    house = build(**TWO_KEYS, server={"max_inflight_mb": 2, "max_body_mb": 1})
    told = await house.ask(x=[[]] * 100_000)
    assert (told.status, told.code) == (429, "too_many_in_flight")
    assert house.sent == []
    assert house.plane.load.bytes.total == 0
    house.answers.clear()
    assert (await house.ask(key=OTHER, x="[]," * 100_000)).status == 200
