"""pydantic, where a configuration is read. Values that were read are plain, so that who holds them does without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field
from functools import cache
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter

from proxy.config.plugins import use_none

use_none()

T = TypeVar("T")


@cache
def adapter(section: Any) -> TypeAdapter[Any]:
    """What reads a section, and writes it."""
    return TypeAdapter(section)


def read_section(section: type[T], tree: Any) -> T:
    """A section of this kind from what the file says. Raises pydantic's ValidationError."""
    kind: Any = section
    made: T = adapter(kind).validate_python(tree)
    return made


@cache
def settings_of(section: Any) -> Mapping[str, Any]:
    """What may stand in a section of this kind: the types, with their rules, by the names of its fields."""
    return get_type_hints(section, include_extras=True)


def is_required(field: Field[Any]) -> bool:
    """Whether there is no section without it."""
    return field.default is MISSING and field.default_factory is MISSING
