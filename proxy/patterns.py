"""Regular expressions that are compiled when one first looks for something with them.

A module compiles its own as it is imported: those of a data plane, 150 of which a start needs ten, took a seventh of its
imports, and PyYAML's most of that one's.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

_compile = re.compile
_NAMES = (
    "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer", "scanner", "pattern", "flags", "groups",
    "groupindex",
)  # fmt: skip


class _Later:
    """Stands for a compiled expression, and has all that it has once it is asked for any of it."""

    __slots__ = ("_made_of", *_NAMES)

    def __init__(self, pattern: Any, flags: Any = 0) -> None:
        self._made_of = pattern, flags

    def __getattr__(self, name: str) -> Any:  # of what is not there yet
        if name not in _NAMES:
            raise AttributeError(name)
        compiled = _compile(*self._made_of)
        for each in _NAMES:
            setattr(self, each, getattr(compiled, each))
        return getattr(compiled, name)


@contextlib.contextmanager
def compiled_later() -> Iterator[None]:
    """For modules that are imported meanwhile. They may only ask an expression: `re.sub(expression, …)` takes none of these."""
    compile_before = re.compile
    re.compile = _Later  # type: ignore[assignment]  # it stands for one that is called
    try:
        yield
    finally:
        re.compile = compile_before
