"""What a `frozen` class is made from (`values.py`): by itself, for mypyc compiles it, and no function that makes classes."""

from __future__ import annotations

from typing import Any, Self


class Value:
    """What a `frozen` class is made from. It refers to nothing that could refer to it: the garbage collector passes it over."""

    __slots__ = ()

    def _replace(self, **changes: Any) -> Self:
        """The same with some fields changed, as named tuples have it."""
        names = self.__match_args__  # type: ignore[attr-defined]  # of every data class: its fields
        return type(self)(*[changes.pop(name) if name in changes else getattr(self, name) for name in names], **changes)


class Linked(Value):
    """A value that what it refers to may lead back to, as a call's connection does: the collector looks at it."""

    __slots__ = ()
