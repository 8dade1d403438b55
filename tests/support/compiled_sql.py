"""One cache of compiled statements for all of a worker's ledgers.

SQLAlchemy compiles a statement once for each engine, which is once in a server's life. Tests open a ledger each: of one that fills
it and asks a little, compiling is a fifth of the CPU.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.util import LRUCache

_make = Engine.__init__


class _Shared(LRUCache[Any, Any]):
    """Under the kind of database in place of the engine's own object for it, with which every key begins."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_all(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_all(key), value)


def _of_all(key: Any) -> tuple[Any, ...]:
    dialect, *statement = key
    return (type(dialect), dialect.server_version_info, *statement)


_CACHE = _Shared(2000)


def _made(engine: Engine, *arguments: Any, **settings: Any) -> None:
    _make(engine, *arguments, **settings)
    engine._compiled_cache = _CACHE


def install() -> None:
    """Have every engine that is made from now on take it."""
    Engine.__init__ = _made  # type: ignore[method-assign]
