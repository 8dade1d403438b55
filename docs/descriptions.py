"""What the configuration's docstrings say, given to its schema: only who describes it has to read them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel


@cache
def described(model: type[BaseModel]) -> type[BaseModel]:
    """The same model; it and all that is in it know what each of their names means."""
    for field in model.model_fields.values():
        for section in _sections_in(field.annotation):
            described(section)
    for kind in model.__mro__:
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            for name, text in _docstrings(kind).items():
                if model.model_fields[name].description is None:
                    model.model_fields[name].description = text
    model.model_rebuild(force=True)
    return model


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)


def _docstrings(kind: type[BaseModel]) -> Mapping[str, str]:
    """Of each name of the class itself, the string that stands below it."""
    (written,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(written, ast.ClassDef)
    found = {}
    for name, below in pairwise(written.body):
        if (
            isinstance(name, ast.AnnAssign)
            and isinstance(name.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[name.target.id] = inspect.cleandoc(below.value.value)
    return found
