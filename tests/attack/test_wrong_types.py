"""Any value in any field of any dialect: refused with the field's name, or accepted; never a 500, never an open INTENT.

Random bodies beside the systematic ones: `random_bodies.py`, and for an hour `make fuzz`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.attack.houses import PATHS, house_of
from tests.attack.random_bodies import GUARDED, Tally, any_values
from tests.attack.random_bodies import ask as _ask
from tests.flow.house import House, Told
from tests.support.bodies import FULL, WRONG, paths, with_value

EXAMPLES = 20
_NAMED_NOWHERE = ("deep", "JSON", "object", "URL", "has no bound")


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


# Of lists, and of objects with a name that parsers follow.
_DEPTHS: dict[str | None, tuple[int, ...]] = {None: (30, 120, 250, 253, 490, 1020)}
_DEPTHS |= dict.fromkeys(("content", "parts", "items", "type"), (120, 253, 1020))


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
        for name, depths in _DEPTHS.items():
            for depth in depths:
                body = with_value(full, path, "the deep one")
                told = await _ask(house, operation, body, ('"the deep one"', _nested(depth, name)))
                assert told.status < 500, (path, name, depth)
    _is_closed(house)
    assert not [record for record in caplog.records if record.exc_info]
    house.plane.spool.close()


@pytest.mark.parametrize("operation", sorted(FULL))
def test_any_values_in_some_fields(tmp_path: Path, operation: str) -> None:
    tally = Tally()
    any_values(tmp_path, EXAMPLES, tally, operation=operation)
    assert tally.tried >= EXAMPLES
    assert not tally.is_bad


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
