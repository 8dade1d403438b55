"""Values that are made for each call: nobody changes them, and what is changed is a new one."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pricing.values import NOTHING, Constant, Linked, Value, frozen, slotted
from tests.support.native import IS_NATIVE
from tests.support.rows import each_row

if IS_NATIVE:
    pytest.skip(
        "machine code: no interpreted class, as those here, inherits from a native `Value`", allow_module_level=True
    )


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


def test_the_collector_looks_at_values_that_may_lead_back_to_themselves_alone() -> None:
    assert not gc.is_tracked(Point(1, notes={"a": "b"}))

    class Held:
        """What can be told when it is gone."""

    @slotted
    class Ring(Linked):
        held: Held
        itself: Any = None

    ring = Ring(Held())
    ring.itself, gone = ring, weakref.ref(ring.held)
    del ring
    gc.collect()
    assert gone() is None


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


def test_a_default_that_is_made_anew_each_time_would_be_one_object_for_all() -> None:
    with pytest.raises(TypeError, match="default_factory"):

        @frozen
        class Listed(Value):
            names: list[str] = field(default_factory=list)


class _Plain:
    """Of which `frozen` and `dataclass` make the same."""

    name: str
    secret: str = field(default="s", repr=False)
    seen: int = field(default=0, compare=False)
    parts: tuple[int, ...] = field(default_factory=tuple)


def _made_by(decorate: Any, *bases: type) -> Any:
    scope = {name: value for name, value in vars(_Plain).items() if name not in ("__dict__", "__weakref__")}
    return decorate(type("Thing", bases, scope))


REFERENCE, OURS, CHANGED = (
    _made_by(decorate) for decorate in (dataclass(frozen=True, slots=True), frozen, slotted)
)  # fmt: skip


@each_row(
    "one, other",
    [
        (("a",), ("a",)),
        (("a",), ("b",)),
        (("a", "x"), ("a", "y")),
        (("a", "x", 1), ("a", "x", 2)),
        (("a", "x", 1, (1,)), ("a", "x", 1, (2,))),
    ],
)
def test_values_are_equal_and_read_as_those_of_data_classes(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    theirs = REFERENCE(*one), REFERENCE(*other)
    for kind in (OURS, CHANGED):
        ours = kind(*one), kind(*other)
        assert (ours[0] == ours[1]) == (theirs[0] == theirs[1])
        assert [repr(value) for value in ours] == [repr(value) for value in theirs]
        assert replace(ours[0], name="z") == kind("z", *one[1:])
    assert len({OURS(*one), OURS(*other)}) == len(set(theirs))


def test_a_value_equals_none_of_another_class_and_what_changes_has_no_hash() -> None:
    below = frozen(type("Below", (OURS,), {"__annotations__": {"more": "int"}, "more": 0}))
    assert OURS("a") != CHANGED("a")
    assert OURS("a") != "a"
    assert below("a") != OURS("a")
    assert below("a", more=1) != below("a", more=2)
    assert below("a", more=1) == below("a", more=1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(CHANGED("a"))
