"""What the values of a setting may be, said without pydantic, which is imported by who reads a configuration alone.

A rule stands in `Annotated`, and pydantic takes from it what it makes of it (annotated-types' `GroupedMetadata`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any


class Rule:
    """make: what pydantic has for it."""

    __is_annotated_types_grouped_metadata__ = True

    def __init__(self, make: Callable[[], Iterator[Any]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Any]:
        return iter(self._made)

    @cached_property
    def _made(self) -> tuple[Any, ...]:
        return tuple(self._make())


def within(**bounds: Any) -> Rule:
    """Bounds, by the names of pydantic's `Field`: `ge=0`, `min_length=1`, `strict=True`."""

    def made() -> Iterator[Any]:
        from pydantic import Field  # noqa: PLC0415 - see above

        yield from Field(**bounds).metadata

    return Rule(made)


def before(check: Callable[[Any], Any], *, written: Any = Any) -> Rule:
    """`check` makes of what is written what is looked at next, or raises ValueError. written: its type in the schema."""

    def made() -> Iterator[Any]:
        from pydantic import BeforeValidator  # noqa: PLC0415 - see above

        yield BeforeValidator(check) if written is Any else BeforeValidator(check, json_schema_input_type=written)

    return Rule(made)


def after(check: Callable[[Any], Any]) -> Rule:
    """`check` returns the value, or raises ValueError with what is wrong with it."""

    def made() -> Iterator[Any]:
        from pydantic import AfterValidator  # noqa: PLC0415 - see above

        yield AfterValidator(check)

    return Rule(made)


def key_of(name: str) -> str:
    """How a setting is called in the file: `from_` is `from`."""
    return name.removesuffix("_")


class Section:
    """A part of the configuration: a frozen value, of which pydantic reads the fields and refuses every other name."""

    __slots__ = ()
    __pydantic_config__ = {"extra": "forbid", "alias_generator": key_of}  # noqa: RUF012 - read as it stands, by its name


def is_section(kind: Any) -> bool:
    """Whether it is the class of one."""
    return isinstance(kind, type) and issubclass(kind, Section)
