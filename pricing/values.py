"""Values that are made and read many times for each call: frozen for whoever writes code, and plain when it runs.

A named tuple's field takes ten times as long to read as a slot, and a frozen data class eight times as long to make as a
structure of msgspec's. mypy refuses every assignment to a field of a `frozen` class all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast, dataclass_transform

from msgspec import Struct

T = TypeVar("T")
_STRUCTURE: Any = type(Struct)


@dataclass_transform(frozen_default=True)
def frozen(kind: type[T]) -> type[T]:
    """A data class with slots whose fields nobody changes. A default is one object for all."""
    return _structure(kind)


@dataclass_transform()
def changing(kind: type[T]) -> type[T]:
    """As `frozen`, of what its own methods change."""
    return _structure(kind)


def _structure(kind: type[T]) -> type[T]:
    """The class, made in C: without a dictionary of names where it is called by them, and without a constructor of Python's."""
    own = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    own["__match_args__"] = tuple(own["__annotations__"])
    return cast(type[T], _STRUCTURE(kind.__name__, (Struct, *kind.__bases__), own))


class Value:
    """What such a class is made from."""

    __slots__ = ()

    def _replace(self, **changes: Any) -> Self:
        """The same with some fields changed, as named tuples have it."""
        names = self.__match_args__  # type: ignore[attr-defined]  # of every such class: its fields
        return type(self)(*[changes.pop(name) if name in changes else getattr(self, name) for name in names], **changes)


class Constant(dict[str, Any]):
    """A mapping that may be a field's default: one that nobody changes."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # what is equal has no equal hash: nobody looks it up
        return id(self)


NOTHING: Mapping[str, Any] = Constant()
