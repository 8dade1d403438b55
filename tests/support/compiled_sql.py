"""One cache of compiled statements for all of a worker's ledgers.

SQLAlchemy compiles a statement once for each engine, which is once in a server's life. Tests open a ledger each: of one that fills
it and asks a little, compiling is a fifth of the CPU. And it looks for each table whether it is there: SQLite's are made by the
statements that made them the first time (10 ms in place of 24 for a new ledger).
"""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.util import LRUCache

from proxy.ledger.schema import metadata

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


_create_all = metadata.create_all


def _created(bind: Engine | Connection, tables: Any = None, **settings: Any) -> None:
    if isinstance(bind, Engine):
        with bind.begin() as connection:
            _created(connection, tables, **settings)
    elif bind.dialect.name != "sqlite" or bind.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar():
        _create_all(bind, tables, **settings)
    else:
        for statement in _statements(None if tables is None else tuple(tables)):
            bind.exec_driver_sql(statement)


@functools.cache
def _statements(tables: tuple[sa.Table, ...] | None) -> list[str]:
    """Those that make the tables in an empty database."""
    engine = sa.create_engine("sqlite://")
    _create_all(engine, None if tables is None else list(tables))
    with engine.connect() as connection:
        made = connection.execute(
            sa.text("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY rowid")
        ).scalars()
        statements = list(made)
    engine.dispose()
    return statements


def install() -> None:
    """Have every engine that is made from now on take it."""
    Engine.__init__ = _made  # type: ignore[method-assign]
    metadata.create_all = _created  # type: ignore[method-assign]
