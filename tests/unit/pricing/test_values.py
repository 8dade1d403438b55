"""Values that are made for each call: nobody changes them, and what is changed is a new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pricing.values import NOTHING, Constant, Value, changing, frozen


@frozen
class Point(Value):
    x: int
    y: int = 2
    notes: Mapping[str, str] = NOTHING


def test_a_value_is_changed_by_making_another() -> None:
    one = Point(1, notes={"a": "b"})
    other = one._replace(y=5)
    assert (one.x, one.y, one.notes) == (1, 2, {"a": "b"})
    assert other == Point(1, 5, {"a": "b"}) != one
    with pytest.raises(TypeError, match="z"):
        one._replace(z=1)


def test_a_value_has_its_fields_and_no_others() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 3  # type: ignore[attr-defined]
    assert not hasattr(Point(1), "__dict__")


def test_type_checkers_are_told_that_nobody_sets_a_field() -> None:
    assert "frozen_default" in str(frozen.__dataclass_transform__)  # type: ignore[attr-defined]


def test_a_constant_is_a_mapping_that_may_be_a_default() -> None:
    assert Constant(request=1) == {"request": 1}
    assert dict(NOTHING) == {}
    assert hash(NOTHING) != hash(Constant())


@frozen
class Sized(Value):
    kind: str
    value: int = 3
    made: Mapping[str, int] = NOTHING


@pytest.mark.parametrize("arguments", [("a",), ("a", 4), ("a", 4, {"x": 1})])
def test_a_value_is_made_by_place_and_by_name(arguments: tuple[Any, ...]) -> None:
    names = dict(zip(("kind", "value", "made"), arguments, strict=False))
    assert Sized(*arguments) == Sized(**names)


def test_a_value_takes_no_other_arguments_than_its_fields() -> None:
    for wrong in ({}, {"kind": "a", "size": 1}):
        with pytest.raises(TypeError):
            Sized(**wrong)  # type: ignore[arg-type]


def test_what_changes_is_changed_in_place() -> None:
    @changing
    class Counter(Value):
        count: int = 0

        def add(self) -> None:
            self.count += 1

    counter = Counter()
    counter.add()
    assert counter.count == 1
    assert Counter().count == 0
    assert "frozen_default=True" not in str(changing.__dataclass_transform__)  # type: ignore[attr-defined]
