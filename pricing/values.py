"""Values that are made and read many times for each call: frozen for whoever writes code, and plain when it runs.

A named tuple's field takes ten times as long to read as a slot, and a frozen data class four times as long to make as a plain
one, eight times as long as a structure of msgspec's (`Value`). mypy refuses every assignment to a field of a `frozen` class
all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

from msgspec import Struct

from pricing.value import Linked, Value

__all__ = ("NOTHING", "Constant", "Linked", "Value", "frozen", "slotted")

T = TypeVar("T")
_STRUCTURE: Any = type(Struct)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(kind: type[T]) -> type[T]:
    """A data class with slots whose fields nobody changes: with an equality, a hash and a text that all of them have in common.

    `dataclass` writes and compiles six functions for each class, which was a ninth of all that a start imports.
    """
    made: type[T] = _structure(kind) if issubclass(kind, Value) else _with_slots(kind, _hash)
    return made


@dataclass_transform(field_specifiers=(field,))
def slotted(kind: type[T]) -> type[T]:
    """The same of which fields are changed, and which has no hash."""
    made: type[T] = _structure(kind) if issubclass(kind, Value) else _with_slots(kind, None)
    return made


def _structure(kind: type[Any]) -> Any:
    """The class without a constructor of Python's, and without a dictionary of names where it is called by them. It has no
    hash, and a default is one object for all. Without the collector one is made and let go in four fifths of the time."""
    if specified := [name for name, value in vars(kind).items() if isinstance(value, Field)]:
        raise TypeError(f"{kind.__name__}.{specified[0]}: a value of a call takes no `field`, thus no default_factory")
    own = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    own["__match_args__"] = tuple(own["__annotations__"])
    return _STRUCTURE(kind.__name__, (Struct, *kind.__bases__), own, gc=issubclass(kind, Linked))


def _with_slots(kind: type[Any], hash_of: Callable[[Any], int] | None) -> Any:
    if not kind.__doc__:
        kind.__doc__ = (
            kind.__name__
        )  # else `dataclass` has it state its constructor, which takes as long as to make one
    made: Any = dataclass(slots=True, repr=False, eq=False)(kind)
    compared = [each.name for each in fields(made) if each.compare]
    made.__compared__ = attrgetter(*compared) if compared else bool  # no function, so that it is no method either
    made.__eq__, made.__hash__, made.__repr__ = _equal, hash_of, _text
    return made


def _equal(self: Any, other: Any) -> Any:
    if self.__class__ is not other.__class__:
        return NotImplemented
    return self is other or self.__compared__(self) == self.__compared__(other)


def _hash(self: Any) -> int:
    return hash(self.__compared__(self))


def _text(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({shown})"


class Constant(dict[str, Any]):
    """A mapping that may be a field's default: one that nobody changes."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # what is equal has no equal hash: nobody looks it up
        return id(self)


NOTHING: Mapping[str, Any] = Constant()
