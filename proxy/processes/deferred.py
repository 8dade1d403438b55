"""A module that others import at their start and hardly ever use: it is imported when something of it is first asked for."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any


class _StandIn(ModuleType):
    def __getattr__(self, attribute: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), attribute)


@contextlib.contextmanager
def deferred(name: str) -> Iterator[None]:
    """What is imported meanwhile has a stand-in for the module of a package, which imports it in its turn; who imports it later
    imports it as ever. Not `importlib.util.LazyLoader`: of Python 3.11 that one shows other threads half a module."""
    if name in sys.modules:
        yield
        return
    package, _, attribute = name.rpartition(".")
    stand_in = sys.modules[name] = _StandIn(name)
    setattr(import_module(package), attribute, stand_in)
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
