"""Values that are made and read many times for each call: frozen for whoever writes code, and plain when it runs.

A named tuple's field takes ten times as long to read as a slot, and a frozen data class four times as long to make as a plain
one. mypy refuses every assignment to a field of a `frozen` class all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def frozen(kind: type[T]) -> type[T]:
    """A data class with slots whose fields nobody changes."""
    return dataclass(slots=True)(kind)


class Value:
    """What a `frozen` class is made from."""

    __slots__ = ()

    def _replace(self, **changes: Any) -> Self:
        """The same with some fields changed, as named tuples have it."""
        names = self.__match_args__  # type: ignore[attr-defined]  # of every data class: its fields
        return type(self)(*[changes.pop(name) if name in changes else getattr(self, name) for name in names], **changes)


class Constant(dict[str, Any]):
    """A mapping that may be a field's default: data classes take only what has a hash."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # what is equal has no equal hash: nobody looks it up
        return id(self)


NOTHING: Mapping[str, Any] = Constant()
