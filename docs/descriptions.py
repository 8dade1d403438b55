"""What the configuration's docstrings say, given to its schema: only who describes it has to read them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, get_args

from proxy.config.reading import adapter, settings_of
from proxy.config.rules import is_section, key_of


@cache
def described(section: Any) -> Mapping[str, str]:
    """What each name of a section means."""
    return {
        name: text for kind in reversed(section.__mro__) if is_section(kind) for name, text in _docstrings(kind).items()
    }


def described_schema(section: Any) -> dict[str, Any]:
    """The JSON Schema of a section and of all that is in it, with what each name means."""
    schema = adapter(section).json_schema()
    for kind in {section, *_sections_in(section)}:
        written = schema if kind is section else schema["$defs"][kind.__name__]
        written.pop("description", None)
        if about := _docstring(kind):
            written["description"] = about
        for name, text in described(kind).items():
            written["properties"][key_of(name)]["description"] = text
    return schema


def _sections_in(section: Any) -> Iterator[Any]:
    for setting in settings_of(section).values():
        for kind in _sections_of(setting):
            yield kind
            yield from _sections_in(kind)


def _sections_of(annotation: Any) -> Iterator[Any]:
    if is_section(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_of(part)


def _docstring(kind: Any) -> str | None:
    """None where there is none: a data class has its constructor for one then."""
    return ast.get_docstring(_written(kind))


def _docstrings(kind: Any) -> Mapping[str, str]:
    """Of each name of the class itself, the string that stands below it."""
    found = {}
    for name, below in pairwise(_written(kind).body):
        if (
            isinstance(name, ast.AnnAssign)
            and isinstance(name.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[name.target.id] = inspect.cleandoc(below.value.value)
    return found


@cache
def _written(kind: Any) -> ast.ClassDef:
    (written,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(written, ast.ClassDef)
    return written
