"""Values that are made and read many times for each call: frozen for whoever writes code, and plain when it runs.

A named tuple's field takes ten times as long to read as a slot, and a frozen data class four times as long to make as a plain
one. mypy refuses every assignment to a field of a `frozen` class all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from operator import attrgetter
from typing import Any, ParamSpec, TypeVar, dataclass_transform

from pricing.value import Value

__all__ = ("NOTHING", "Constant", "Value", "frozen", "maker", "slotted")

T = TypeVar("T")
P = ParamSpec("P")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(kind: type[T]) -> type[T]:
    """A data class with slots whose fields nobody changes: with an equality, a hash and a text that all of them have in common.

    `dataclass` writes and compiles six functions for each class, which was a ninth of all that a start imports.
    """
    made: type[T] = _with_slots(kind, _hash)
    return made


@dataclass_transform(field_specifiers=(field,))
def slotted(kind: type[T]) -> type[T]:
    """The same of which fields are changed, and which has no hash."""
    made: type[T] = _with_slots(kind, None)
    return made


def _with_slots(kind: type[Any], hash_of: Callable[[Any], int] | None) -> Any:
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


def maker(kind: Callable[P, T]) -> Callable[P, T]:
    """A function that makes such a value, by the same arguments and no others: for those that are made for each call by names.

    To call a class with names makes a dictionary of them first (Python 3.11): ten cost 0.40 µs, the function's 0.15.
    """
    made: Any = kind  # a data class
    scope: dict[str, Any] = {"_new": made.__new__, "_kind": made}
    arguments = []
    for each in fields(made):
        if each.default_factory is not MISSING:
            raise TypeError(f"{made.__name__}.{each.name} has a default that is made anew each time")
        arguments.append(each.name if each.default is MISSING else f"{each.name}=_default_{each.name}")
        scope[f"_default_{each.name}"] = each.default
    lines = [f"def make({', '.join(arguments)}):", "    _value = _new(_kind)"]
    lines += [f"    _value.{each.name} = {each.name}" for each in fields(made)]
    exec("\n".join([*lines, "    return _value"]), scope)  # noqa: S102 - of our own names only, as `dataclass` does
    made_by: Callable[P, T] = scope["make"]
    return made_by


class Constant(dict[str, Any]):
    """A mapping that may be a field's default: data classes take only what has a hash."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # what is equal has no equal hash: nobody looks it up
        return id(self)


NOTHING: Mapping[str, Any] = Constant()
