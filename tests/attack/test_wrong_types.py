"""Any value in any field of any dialect: refused with the field's name, or accepted; never a 500, never an open INTENT.

`FUZZ=n` tries so many random bodies for each dialect beside the systematic ones (`make fuzz` sets it for about an hour).
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attack.bodies import FULL, WRONG, paths, with_value
from tests.attack.houses import PATHS, house_of
from tests.flow.house import Answer, House, Told

EXAMPLES = int(os.environ.get("FUZZ", "40"))
UNITS = ("input", "output", "web_search", "grounding", "image", "character", "code_session", "file_search", "request")
GUARDED: dict[str, Any] = {
    "prices": [{"provider": "acme", "model": "*"} | dict.fromkeys(UNITS, "1")],
    "models": {"m": {"upstream": "up", "context_tokens": 8000, "max_output_tokens": 4000}},
    "budgets": [{"name": "b", "limit_usd": "1000000", "window": "total"}],
    "guards": {"loop": {"repeats": 10**6, "within_s": 60}, "max_requests": 10**9},
}
_NAMED_NOWHERE = ("deep", "JSON", "object", "URL", "has no bound")
HEADERS = {"x-session-id": "s-1"}


async def _ask(house: House, operation: str, body: Any, instead: tuple[str, str] = ("", "")) -> Told:
    if operation not in ("generate", "count", "embed") and "model" not in body:
        body = body | {"model": "m"}
    house.answers = [Answer(orjson.dumps({"usage": {"input_tokens": 1, "output_tokens": 1}}))]
    raw = json.dumps(body).replace(*instead).encode()
    return await house.ask(house.answers.pop(), path=PATHS[operation], headers=HEADERS, raw=raw)


def _check(told: Told, named: set[str], body: object) -> None:
    assert told.status < 500, body
    if told.status == 400:
        text = told.body.decode()
        assert any(name in text for name in (*named, *_NAMED_NOWHERE)), (text, body)


def _is_closed(house: House) -> None:
    records = house.records()
    begun = {record["id"] for record in records if record["t"] == "intent"}
    assert begun <= {record["id"] for record in records if record["t"] in ("settle", "void", "refused")}
    assert house.reserved() == 0


@pytest.mark.parametrize("operation", sorted(FULL))
async def test_any_value_in_any_field(tmp_path: Path, operation: str, caplog: pytest.LogCaptureFixture) -> None:
    house = house_of(tmp_path, operation, **GUARDED)
    full = FULL[operation]
    told = await _ask(house, operation, full)
    assert told.status == 200, told.body
    for path in paths(full):
        for value in WRONG:
            body = with_value(full, path, value)
            told = await _ask(house, operation, body)
            _check(told, {name for name in path if isinstance(name, str)}, (path, value))
    _is_closed(house)
    assert not [record for record in caplog.records if record.exc_info]
    house.plane.spool.close()


def _nested(depth: int, name: str | None) -> str:
    """As text: nothing writes as deep as orjson reads."""
    before, after = ("[", "]") if name is None else (f'{{"{name}":[', "]}")
    return before * depth + '"x"' + after * depth


@pytest.mark.parametrize("operation", sorted(FULL))
async def test_anything_nested_however_deep(tmp_path: Path, operation: str, caplog: pytest.LogCaptureFixture) -> None:
    house = house_of(tmp_path, operation, **GUARDED)
    full = FULL[operation]
    places = [path for path in paths(full) if len(path) <= 3]
    for path in places:
        for name in (None, "content", "parts", "items", "type"):
            for depth in (30, 120, 250, 253, 490, 1020):
                body = with_value(full, path, "the deep one")
                told = await _ask(house, operation, body, ('"the deep one"', _nested(depth, name)))
                assert told.status < 500, (path, name, depth)
    _is_closed(house)
    assert not [record for record in caplog.records if record.exc_info]
    house.plane.spool.close()


JSON = st.recursive(
    st.sampled_from(WRONG),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("type", "text", "content", "parts", "role",
    "id", "name", "input", "arguments", "function", "tool_calls", "source", "cache_control", "max_tokens")), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@pytest.mark.parametrize("operation", sorted(FULL))
def test_any_values_in_some_fields(tmp_path_factory: pytest.TempPathFactory, operation: str) -> None:
    places = list(paths(FULL[operation]))

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.sampled_from(places), JSON), min_size=1, max_size=4))
    def some(changes: list[tuple[tuple[str | int, ...], Any]]) -> None:
        body = FULL[operation]
        for path, value in sorted(changes, key=lambda change: -len(change[0])):
            try:
                body = with_value(body, path, value)
            except (KeyError, IndexError, TypeError):
                continue  # another change has taken the place away
        asyncio.run(once(body))

    async def once(body: dict[str, Any]) -> None:
        told = await _ask(house, operation, body)
        assert told.status < 500, body

    house = house_of(tmp_path_factory.mktemp("house"), operation, **GUARDED)
    some()
    _is_closed(house)
    house.plane.spool.close()


# Integers that a float would stand for

LONG = ["18446744073709551616", "-9223372036854775809", "123456789012345678901234567890", "99999999999999999999"]
EXACT = ["18446744073709551615", "-9223372036854775808", "1e30", "0.12345678901234567890", '"18446744073709551616"']


@pytest.mark.parametrize("operation", sorted(PATHS))
async def test_an_integer_of_more_than_64_bits_is_refused_by_name(tmp_path: Path, operation: str) -> None:
    house = house_of(tmp_path, operation, **GUARDED)
    for number in LONG:
        for value in ("@", {"a": ["@"]}, [[{"b": '1\\"', "c": "@"}]]):
            told = await _ask(house, operation, FULL[operation] | {"seed": value}, ('"@"', number))
            assert (told.status, b"`seed`" in told.body) == (400, True), told.body
    assert house.sent == []
    _is_closed(house)


@pytest.mark.parametrize("number", EXACT)
async def test_what_a_number_says_is_passed_on(tmp_path: Path, number: str) -> None:
    house = house_of(tmp_path, "chat", **GUARDED)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "seed": "@"}
    assert (await _ask(house, "chat", body, ('"@"', number))).status == 200
    assert house.sent[-1][1]["seed"] == json.loads(number)
